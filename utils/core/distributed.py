"""Which device a command runs on, and how several processes of one run find and hear each other."""

import os
import re
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from utils.core.console import log


def rank() -> int:
    return _number("RANK", "SLURM_PROCID")


def local_rank() -> int:
    return _number("LOCAL_RANK", "SLURM_LOCALID")


def world_size() -> int:
    """How many processes share this run: started by torchrun or by srun, not merely inside a slurm allocation."""
    return _number("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", default=1)


def _number(*names: str, default: int = 0) -> int:
    """The first of these environment variables that is set: torchrun's, else slurm's."""
    for name in names:
        if name in os.environ:
            return int(os.environ[name])
    return default


def choose_device(wanted: str = "") -> torch.device:
    """The device for `--device`: '' the best there is, 'cpu', 'mps', a GPU number, or several as in '0,1'."""
    wanted = wanted.strip().lower().removeprefix("cuda:")
    if wanted == "":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        # Slurm may show each process its own GPU only.
        return torch.device("cuda", local_rank() % torch.cuda.device_count())
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("--device mps: this machine has no Apple GPU that torch can use; try --device cpu")
        return torch.device("mps")
    return _choose_gpu(wanted)


def _choose_gpu(wanted: str) -> torch.device:
    names = "0" if wanted == "cuda" else wanted
    if not all(name.strip().isdecimal() for name in names.split(",")):
        raise ValueError(f"--device {wanted}: expected cpu, mps, a GPU number such as 0, or several as in 0,1")
    gpus = [int(name) for name in names.split(",")]
    there = torch.cuda.device_count()
    missing = [gpu for gpu in gpus if gpu >= there]
    if missing:
        have = f"this machine has {there} GPU{'s' * (there != 1)}" if there else "torch sees no GPU on this machine"
        raise ValueError(f"--device {wanted}: there is no GPU {missing[0]}, {have}; try --device cpu")
    if len(gpus) > 1 and world_size() == 1:
        log.warning("--device %s: using GPU %d; for all of them start with torchrun", wanted, gpus[0])
    return torch.device("cuda", gpus[local_rank() % len(gpus)])


def join_processes(device: torch.device, patience: timedelta = timedelta(minutes=30)) -> None:
    """Meet the other processes of this run, if there are any. A rank that dies ends the others after `patience`."""
    if world_size() == 1 or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if "MASTER_ADDR" not in os.environ:
        _meet_on_slurm()
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, rank=rank(), world_size=world_size(), timeout=patience)


def _meet_on_slurm() -> None:
    """The meeting point that torchrun announces and srun does not: the first machine of the step, a port by job."""
    machines = os.environ.get("SLURM_STEP_NODELIST", "localhost")
    first = re.match(r"([^\[,]+)(?:\[(\d+))?", machines)  # gpu[03-07,12] begins with gpu03
    os.environ["MASTER_ADDR"] = "".join(part or "" for part in first.groups()) if first else "localhost"
    os.environ.setdefault("MASTER_PORT", str(20_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 20_000))


def leave_processes() -> None:
    """Part from the others, all at the same time: their threads may still be talking to one that leaves early."""
    if distributed.is_initialized():
        wait_for_all()
        distributed.destroy_process_group()


def gather(values: Any) -> list[Any]:
    """What each rank has, in rank order, on every rank."""
    if not distributed.is_initialized():
        return [values]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, values)
    return gathered


def mean_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """A number averaged over all processes; without others it is what it is."""
    if not distributed.is_initialized():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def wait_for_all() -> None:
    if distributed.is_initialized():
        distributed.barrier()
