"""Which device a command runs on, and what several processes of one run know of each other."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from utils.core import distributed
from utils.core.config import ROOT
from utils.core.console import is_main_process
from utils.core.distributed import choose_device

VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS",
    "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


# ---------------------------------------------------------------------------------------------- devices


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_best_there_is_is_the_cpu() -> None:
    assert choose_device() == choose_device("cpu") == choose_device(" CPU ") == torch.device("cpu")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("wanted", ["3", "cuda:3", "0,3", "cuda"])
def test_a_gpu_that_is_not_there_is_one_sentence_with_the_remedy(wanted: str) -> None:
    with pytest.raises(ValueError) as error:
        choose_device(wanted)
    first = {"3": 3, "cuda:3": 3}.get(wanted, 0)
    assert str(error.value) == (
        f"--device {wanted.removeprefix('cuda:')}: there is no GPU {first}, torch sees no GPU on this machine; "
        "try --device cpu"
    )


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_there_are_is_told_how_many_there_are() -> None:
    with pytest.raises(ValueError, match="there is no GPU 2, this machine has 2 GPUs; try --device cpu"):
        choose_device("0,2")


@pytest.mark.parametrize("wanted", ["gpu", "-1", "0;1", "0,", "cpu,0", "²", "1.0"])
def test_what_is_no_device_is_one_sentence_with_what_is_one(wanted: str) -> None:
    with pytest.raises(ValueError, match="expected cpu, mps, a GPU number such as 0, or several as in 0,1"):
        choose_device(wanted)


def test_an_apple_gpu_that_is_not_there_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"--device mps: .*; try --device cpu"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps").type == "mps"


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_is_taken_where_several_are_named_for_one_process(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "limber"):
        assert choose_device("1,0") == torch.device("cuda", 1)
    assert "--device 1,0: using GPU 1; for all of them start with torchrun" in caplog.text
    assert choose_device("cuda") == choose_device("0") == choose_device() == torch.device("cuda", 0)


@pytest.mark.usefixtures("two_gpus")
def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device() == choose_device("0,1") == torch.device("cuda", 1)
    assert choose_device("1,0") == torch.device("cuda", 0)


def test_a_process_that_sees_only_its_own_gpu_takes_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """slurm's --gpus-per-task=1: local process 3 sees one GPU, and it is number 0."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_LOCALID", "3")
    assert choose_device() == torch.device("cuda", 0)


# ---------------------------------------------------------------------------------------------- processes


def test_a_process_alone_is_the_first_of_one() -> None:
    assert (distributed.rank(), distributed.local_rank(), distributed.world_size()) == (0, 0, 1)
    assert is_main_process()
    distributed.join_processes(torch.device("cpu"))
    assert distributed.gather({"a": 1}) == [{"a": 1}]
    distributed.wait_for_all()
    distributed.leave_processes()


@pytest.mark.parametrize(
    "names", [("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")]
)
def test_ranks_are_those_of_torchrun_or_slurm(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    for name, value in zip(names, ("5", "1", "8"), strict=True):
        monkeypatch.setenv(name, value)
    assert (distributed.rank(), distributed.local_rank(), distributed.world_size()) == (5, 1, 8)
    assert not is_main_process()


def test_torchrun_within_slurm_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("SLURM_PROCID", "3"), ("WORLD_SIZE", "2"), ("SLURM_STEP_NUM_TASKS", "1")):
        monkeypatch.setenv(name, value)
    assert distributed.rank() == 0 and distributed.world_size() == 2 and is_main_process()


PROGRAM = """
import json, torch
from utils.core import distributed
distributed.join_processes(torch.device("cpu"))
mine = {"rank": distributed.rank(), "rows": list(range(distributed.rank() * 2))}
everybody = distributed.gather(mine)
distributed.wait_for_all()
print(json.dumps(everybody))
distributed.leave_processes()
"""


def test_two_processes_hear_each_other_in_the_order_of_their_ranks() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in (1, 0)
    ]  # fmt: skip
    try:
        printed = [process.communicate(timeout=60)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    expected = [{"rank": 0, "rows": []}, {"rank": 1, "rows": [0, 1]}]
    assert [json.loads(text) for text in printed] == [expected, expected]


@pytest.mark.parametrize(
    ("machines", "first"),
    [("gpu[03-07,12]", "gpu03"), ("node1,node2", "node1"), ("single", "single"), ("a-b[1,3]", "a-b1")],
)
def test_slurms_processes_meet_on_the_first_machine(monkeypatch: pytest.MonkeyPatch, machines: str, first: str) -> None:
    monkeypatch.setenv("MASTER_ADDR", "")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.setenv("SLURM_STEP_NODELIST", machines)
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    distributed._meet_on_slurm()
    assert os.environ["MASTER_ADDR"] == first
    assert os.environ["MASTER_PORT"] == str(20_000 + 123_456 % 20_000)


def test_a_slurm_allocation_without_srun_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert distributed.world_size() == 1
