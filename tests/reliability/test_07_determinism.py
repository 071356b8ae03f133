"""7, determinism: the same seed gives the same losses to the last digit, with however many workers."""

import hashlib
from pathlib import Path

import pytest
import torch

from models.build import load
from tests.reliability.makers import EXAMPLE_WEIGHTS, SMALL, Here, people
from utils.core.checkpoint import load_state
from utils.core.config import ROOT
from utils.data.annotations import DataSpec
from utils.data.loader import Loading, training_loader
from utils.data.recipe import Augment
from utils.training.log import RunLog

RICH = {"mosaic": 1.0, "mixup": 0.5, "fliplr": 0.5, "hsv_h": 0.02, "hsv_s": 0.5, "scale": 0.5, "translate": 0.1,
        "degrees": 10.0}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return people(tmp_path_factory.mktemp("data"), train=10, val=2)


def stream(data: Path, workers: int, seed: int = 0) -> list[str]:
    """A fingerprint of every batch of two epochs: pixels, labels, names, in order."""
    records, model = DataSpec.read(data).records("train"), load(ROOT / EXAMPLE_WEIGHTS)
    augment = Augment.from_values(RICH, "here")
    batches = training_loader(records, model.spec, augment, Loading(4, workers, seed))
    prints = []
    for epoch in range(2):
        for batch in batches.epoch(epoch):
            digest = hashlib.sha256(batch.images.numpy().tobytes())
            for value in vars(batch.targets).values():
                digest.update(value.numpy().tobytes())
            prints.append(digest.hexdigest() + " ".join(origin.path for origin in batch.origins))
    return prints


@pytest.mark.slow
def test_the_stream_of_samples_is_the_same_with_no_one_and_four_workers(data: Path) -> None:
    alone = stream(data, 0)
    assert len(set(alone)) == len(alone) == 6
    assert stream(data, 1) == alone and stream(data, 4) == alone
    assert stream(data, 0) == alone and stream(data, 0, seed=1) != alone
    print(f"{len(alone)} batches, fingerprints equal with 0, 1 and 4 workers")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_losses_with_no_one_and_four_workers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here = Here(monkeypatch, capfd)
    recipe = tmp_path / "hyp.yaml"
    recipe.write_text("".join(f"{key}: {value}\n" for key, value in RICH.items()) + "nominal_batch: 4\nlr0: 0.001\n")
    start = ("train.py", "--weights", ROOT / EXAMPLE_WEIGHTS, "--data", data, "--hyp", recipe, "--epochs", 2, *SMALL)
    seen: list[dict[str, float]] = []
    add = RunLog.add
    monkeypatch.setattr(RunLog, "add", lambda log, row: (seen.append(dict(row)), add(log, row))[1])  # all digits
    losses, states = [], []
    for name, workers in (("none", 0), ("again", 0), ("one", 1), ("four", 4)):
        status, _, log = here(*start, "--workers", workers, "--project", tmp_path, "--name", name, "--noval")
        assert status == 0, log
        losses.append([f"{row[key]:.17g}" for row in seen for key in sorted(row) if key.startswith("train/")])
        seen.clear()
        states.append(load_state(tmp_path / name / "weights" / "last.pt")["model"])
    assert len(losses[0]) >= 10 and all(found == losses[0] for found in losses)
    assert all(torch.equal(state[key], states[0][key]) for state in states for key in state)
    print(f"4 runs of 2 epochs, workers 0, 0, 1, 4: {len(losses[0])} losses equal to 17 digits, weights bit for bit")
