"""Trains in a child that is killed at random moments, again and again; says after each what is left on the disk.

Run by test_recovery.py and by tests/reliability: `python -m tests.training.kill_storm FOLDER ROUNDS`.
"""

import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from tests.training.small import QUICK, Drawn, everything, spots, trainer
from utils.core import checkpoint
from utils.core.contract import PoseModel
from utils.core.poses import Batch
from utils.training.schedule import Moment
from utils.training.trainer import Trainer

BATCHES = 6
STEADY = replace(QUICK, lrf=1.0)  # the rate does not depend on how many epochs there will be
ENDLESS = 1_000_000


def save(path: Path, model: PoseModel, metrics: Mapping[str, float]) -> None:
    checkpoint.save(path, model.state_dict(), {"metrics": dict(metrics)})


class Diary:
    """Where a child is, in memory that outlives it: how many batches had been learned from after its last step and
    before it, and how many steps all children have done. Written before anything of a step is on the disk.
    """

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 24)
        self.seen = 0

    def keep(self, run: Trainer) -> None:
        learn = run.learner.learn
        before = run.progress.epoch * BATCHES + run.progress.index  # what this life began with

        def noted(batch: Batch, step: int) -> Moment:
            nonlocal before
            moment = learn(batch, step)
            if moment.completes:
                self.memory[:] = struct.pack("qqq", step + 1, before, self.entries[2] + 1)
                before = step + 1
            return moment

        run.learner.learn = noted

    def wait(self) -> None:
        """Until a step is done that nobody has seen yet."""
        while self.entries[2] == self.seen:
            time.sleep(0.001)
        self.seen = self.entries[2]

    @property
    def entries(self) -> tuple[int, int, int]:
        return struct.unpack("qqq", self.memory[:])


def train(folder: Path, epochs: int, diary: Diary | None = None) -> Trainer:
    """The run, from where it is; a child that keeps a diary writes a checkpoint after each step."""
    settings = replace(STEADY, epochs=epochs, checkpoint_every=1 if diary else 0)
    run = trainer(folder, settings, loader=Drawn(batches=BATCHES), model=spots(), save=save)
    if (folder / "weights" / "last.pt").exists():
        run.resume(folder / "weights" / "last.pt")
    if diary:
        diary.keep(run)
    run.fit()
    return run


def age(folder: Path, diary: Diary) -> int:
    """Steps that were done and are not in the checkpoint; more than one would be a promise broken."""
    progress = checkpoint.load_state(folder / "weights" / "last.pt")["progress"]
    saved = progress["epoch"] * BATCHES + progress["index"]
    last, before, _ = diary.entries
    return 0 if saved >= last else 1 if saved >= before else 2


def check(folder: Path) -> str:
    """Load every checkpoint; raises if one is not whole."""
    found = []
    for path in sorted((folder / "weights").glob("*.*")):
        if path.suffix == ".pt":
            state = checkpoint.load_state(path)["progress"]
            found.append(f"{path.name} epoch {state['epoch']} step {state['index']}")
        elif path.suffix == ".safetensors":
            checkpoint.load(path)
            found.append(path.name)
    return ", ".join(found)


def main(folder: Path, rounds: int) -> None:
    torch.set_num_threads(1)  # a process that forks must not have threads
    rng, diary = random.Random(4), Diary()
    train(folder / "warm", 1)  # before the first child, so that all of torch is in memory
    for number in range(rounds):
        child = os.fork()
        if child == 0:
            train(folder / "killed", ENDLESS, diary)
            os._exit(0)
        if number % 5:  # at work; every fifth is killed wherever it is, also while it begins
            diary.wait()
        time.sleep(rng.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"child {number} ended by itself"
        diary.seen = diary.entries[2]
        weights = folder / "killed" / "weights"
        old = age(folder / "killed", diary) if (weights / "last.pt").exists() else 0
        print(f"killed {number}, {old} steps behind, "
              f"{len(list(weights.glob('.*.part')))} half: {check(folder / 'killed')}", flush=True)  # fmt: skip
    epochs = checkpoint.load_state(folder / "killed" / "weights" / "last.pt")["progress"]["epoch"] + 2
    finished = everything(train(folder / "killed", epochs))
    whole = everything(train(folder / "whole", epochs))
    same = finished.keys() == whole.keys() and all(torch.equal(finished[name], whole[name]) for name in whole)
    leftovers = list((folder / "killed" / "weights").glob(".*.part"))
    print(f"finished: {check(folder / 'killed')}; same as unbroken: {same}; leftovers: {len(leftovers)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
