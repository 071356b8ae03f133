"""Trains in a child that is killed at random moments, again and again; says after each what is left on the disk.

Run by test_recovery.py: `python -m tests.training.kill_storm FOLDER ROUNDS`.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from tests.training.small import QUICK, Drawn, everything, spots, trainer
from utils.core import checkpoint
from utils.core.contract import PoseModel
from utils.training.trainer import Trainer

SETTINGS = replace(QUICK, epochs=30, checkpoint_every=1)


def save(path: Path, model: PoseModel, metrics: Mapping[str, float]) -> None:
    checkpoint.save(path, model.state_dict(), {"metrics": dict(metrics)})


def train(folder: Path) -> Trainer:
    """The run, from where it is."""
    run = trainer(folder, SETTINGS, loader=Drawn(batches=6), model=spots(), save=save)
    if (folder / "weights" / "last.pt").exists():
        run.resume(folder / "weights" / "last.pt")
    run.fit()
    return run


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
    rng = random.Random(4)
    whole = everything(train(folder / "whole"))  # before the first child, so that all of torch is in memory
    for number in range(rounds):
        child = os.fork()
        if child == 0:
            train(folder / "killed")
            os._exit(0)
        time.sleep(rng.uniform(0.02, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(f"killed {number}: {check(folder / 'killed')}", flush=True)
    finished = everything(train(folder / "killed"))
    same = finished.keys() == whole.keys() and all(torch.equal(finished[name], whole[name]) for name in whole)
    leftovers = list((folder / "killed" / "weights").glob(".*.part"))
    print(f"finished: {check(folder / 'killed')}; same as unbroken: {same}; leftovers: {len(leftovers)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
