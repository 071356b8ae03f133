"""One of two processes on the CPU, started by test_ranks.py: `python -m tests.training.two_ranks MODE FOLDER`."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch

from tests.training.small import QUICK, Drawn, everything, spots, tiny_model, trainer
from tests.training.test_ranks import JOINED, gradients_of
from utils.core.distributed import join_processes, leave_processes, rank, world_size
from utils.core.poses import Batch

PATIENCE = timedelta(seconds=30)


class Dying(Drawn):
    """Rank 1 falls dead in the middle of the first epoch."""

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            if index == 2 and self.rank == 1:
                os._exit(9)
            yield self.batch(number, index)


class Stopped(Drawn):
    """Only rank 1 hears the signal."""

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            if index == 2 and self.rank == 1:
                os.kill(os.getpid(), 15)
            yield self.batch(number, index)


def main(mode: str, folder: Path) -> None:
    torch.set_num_threads(1)
    join_processes(torch.device("cpu"), PATIENCE)
    share = {"batch_size": JOINED, "rank": rank(), "world": world_size()}
    if mode == "gradients":
        found = gradients_of(tiny_model(), rank(), world_size())
        torch.save(found, folder / f"gradients{rank()}.pt")
    elif mode == "fit":
        run = trainer(folder, replace(QUICK, batch_size=JOINED), model=spots(), loader=Drawn(**share))
        run.fit()
        torch.save(everything(run), folder / f"trained{rank()}.pt")
    elif mode == "dying":
        trainer(folder, QUICK, model=spots(), loader=Dying(**share)).fit()
    elif mode == "stopped":
        outcome = trainer(folder, QUICK, model=spots(), loader=Stopped(**share)).fit()
        print("reason", outcome.reason, time.time())
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
