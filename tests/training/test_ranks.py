"""Two processes learn what one would have learned from the joined batch, and neither waits for the dead."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.small import QUICK, Drawn, batch_of, draw_scene, everything, spots, tiny_model, trainer
from utils.core import checkpoint
from utils.core.config import ROOT
from utils.core.contract import PoseModel
from utils.core.poses import Batch
from utils.training.learner import Learner
from utils.training.ranks import Ranks

JOINED = 4


def alike(number: int, rank: int, world: int) -> Batch:
    """A rank's share of a batch of different images whose people stand alike.

    The published loss is a mean over the matches, times the batch: halves add up to the whole where they have equally
    many matches.
    """
    import numpy as np

    rng = np.random.default_rng(number)
    _, joints = draw_scene(rng)
    images = [draw_scene(rng)[0] for _ in range(JOINED)][rank::world]
    return batch_of(images, [joints] * len(images), [f"{number}_{rank}_{i}.jpg" for i in range(len(images))])


def gradients_of(model: PoseModel, rank: int, world: int) -> dict[str, torch.Tensor]:
    """After two batches that make one step: the first without exchange, the second with. In float64, where the order
    of a sum does not matter.
    """
    settings = replace(QUICK, batch_size=JOINED, nominal_batch=2 * JOINED, timing="epoch", warmup_epochs=0)
    learner = Learner(model.double(), settings, device=torch.device("cpu"), steps_per_epoch=4, ranks=Ranks())
    learner.network.eval()  # batch statistics are those of a rank's own images
    for step in range(2):
        moment = learner.schedule.at(step)
        assert moment.completes == (step == 1)
        images, targets = learner.inputs(alike(step, rank, world), step)
        with learner.exchange(moment):
            learner.backward(learner.losses(learner.forward(images.double()), targets, step), moment)
    return {name: p.grad for name, p in learner.model.named_parameters()}


def start(mode: str, folder: Path) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_ranks", mode, str(folder)],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def finished(processes: list[subprocess.Popen], timeout: float = 120) -> list[str]:
    outputs = []
    for process in processes:
        out, error = process.communicate(timeout=timeout)
        assert process.returncode == 0, error
        outputs.append(out)
    return outputs


def test_the_gradients_of_two_processes_are_those_of_one_with_the_joined_batch(tmp_path: Path) -> None:
    finished(start("gradients", tmp_path))
    expected = gradients_of(tiny_model(), 0, 1)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for rank in range(2):
        found = torch.load(tmp_path / f"gradients{rank}.pt")
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert (found[name] - gradient).abs().max() <= 1e-6 * largest, name


def test_both_processes_end_with_the_same_weights_and_one_run_folder(tmp_path: Path) -> None:
    finished(start("fit", tmp_path))
    first, second = (torch.load(tmp_path / f"trained{rank}.pt") for rank in range(2))
    for name in first:
        if not name.endswith(("running_mean", "running_var")):  # of a rank's own images, until they are broadcast
            assert torch.equal(first[name], second[name]), name
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    alone = trainer(
        tmp_path / "alone", replace(QUICK, batch_size=JOINED), model=spots(), loader=Drawn(batch_size=JOINED)
    )
    alone.fit()
    assert everything(alone).keys() == first.keys()
    assert alone.run.rows[0]["train/near"] == pytest.approx(float(rows[1].split(",")[5]), rel=0.2)


def test_a_process_that_dies_ends_the_other_with_an_error_and_not_with_waiting(tmp_path: Path) -> None:
    processes = start("dying", tmp_path)
    before = time.monotonic()
    _, error = processes[0].communicate(timeout=90)
    assert processes[1].wait(timeout=10) == 9
    assert processes[0].returncode not in (0, None)
    assert "Connection" in error or "closed" in error or "Timed out" in error, error
    assert time.monotonic() - before < 80
    checkpoint.load_state(tmp_path / "weights" / "last.pt")


def test_a_signal_that_one_process_hears_stops_both_after_the_same_step(tmp_path: Path) -> None:
    outputs = finished(start("stopped", tmp_path))
    assert all(out.startswith("reason ") for out in outputs)
    state = checkpoint.load_state(tmp_path / "weights" / "last.pt")
    assert (state["progress"]["epoch"], state["progress"]["index"]) == (0, 3)
    assert len(state["ranks"]) == 2
