"""1, exact resume: killed in the middle of an epoch and resumed, a run ends with the very bits of an unbroken one.

Everything that a state holds is compared: weights, average, momenta, scaler, settings, the generators of Python, numpy
and torch, the sums of the epoch, and where in the data the run is. tests/training/test_resume.py holds the same for
signals at four places of an epoch, for AdamW, bfloat16 and changing sizes.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.reliability.makers import EXAMPLE_WEIGHTS, PATIENCE, SMALL, command, people, run
from utils.core.checkpoint import load_state
from utils.training.log import read_results

pytestmark = pytest.mark.slow
CLOCKS = {"seconds", "waited", "before", "made"}  # how long things took, and what was typed
EPOCHS, BATCHES = 2, 6


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, word and tensor of a state, by its place."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in CLOCKS:
                yield from leaves(entry, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from leaves(entry, f"{path}/{index}")
    else:
        yield path, value


def bits(value: Any) -> Any:
    return value.contiguous().flatten().view(torch.uint8).tolist() if isinstance(value, torch.Tensor) else value


def unlike(first: Path, second: Path) -> tuple[int, list[str]]:
    """How many leaves two states have, and the places where they differ in a bit."""
    ours, theirs = (dict(leaves(load_state(path))) for path in (first, second))
    assert ours.keys() == theirs.keys()
    return len(ours), [place for place in ours if bits(ours[place]) != bits(theirs[place])]


def position(state: Path) -> tuple[int, int]:
    """Epoch and batch, also while the file is being exchanged."""
    try:
        progress = load_state(state)["progress"]
    except ValueError:
        return (-1, -1)
    return progress["epoch"], progress["index"]


def test_killed_in_the_middle_of_an_epoch_and_resumed_no_bit_differs(tmp_path: Path) -> None:
    data = people(tmp_path / "data", train=4 * BATCHES)
    recipe = tmp_path / "hyp.yaml"  # steps of one batch, a checkpoint after each; mosaics, colours, movement
    recipe.write_text("nominal_batch: 4\ncheckpoint_every: 1\nmosaic: 1.0\nmixup: 0.5\nfliplr: 0.5\nhsv_h: 0.01\n"
                      "scale: 0.5\ntranslate: 0.1\nwarmup_least: 5\nwarmup_epochs: 1\nlr0: 0.001\n")  # fmt: skip
    start = ("--weights", EXAMPLE_WEIGHTS, "--data", data, "--hyp", recipe, "--epochs", EPOCHS, *SMALL)
    start = (*start, "--workers", 2, "--project", tmp_path, "--noautoanchor", "--noval")
    status, _, log = run(*start, "--name", "whole", door="train.py")
    assert status == 0, log
    state = tmp_path / "parts" / "weights" / "last.pt"
    process = command(*start, "--name", "parts", door="train.py")
    kills = []
    for epoch, batch in ((0, 3), (1, 2)):
        deadline = time.monotonic() + PATIENCE
        while not state.exists() or position(state) < (epoch, batch):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills.append(position(state))
        process = command("--resume", state, "--device", "cpu", door="train.py")
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, log
    assert any(batch for _, batch in kills), kills  # in the middle of an epoch
    count, differing = unlike(tmp_path / "whole" / "weights" / "last.pt", state)
    assert not differing, f"{len(differing)} of {count} differ, the first is {differing[0]}"
    print(f"killed at {kills}; {count} leaves of the state, 0 differ")
    whole, parts = (read_results(tmp_path / name / "results.csv") for name in ("whole", "parts"))
    losses = [[(name, row[name]) for name in row if name.startswith("train/")] for row in whole]
    assert losses == [[(name, row[name]) for name in row if name.startswith("train/")] for row in parts]
