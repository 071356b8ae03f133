"""6, several processes: two with half a batch each learn what one learns from the whole, and count the same AP.

Not with everything: the published loss of YOLO-Pose is a mean over matched anchors, so halves add up to the whole where
both have equally many. Where they have not, the test says by how much the two differ, and that both ranks agree. Two of
its terms are computed in float32 whatever the network's numbers are, which bounds the comparison in float64.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.evaluation import ranks
from tests.evaluation.test_evaluator import in_processes
from tests.reliability.ddp_ranks import CASES, difference, learned
from utils.core.config import ROOT

pytestmark = pytest.mark.slow
LIMITS = {  # of the loss and of the gradient, relative
    ("spots", torch.float64): (1e-12, 1e-12),
    ("spots", torch.float32): (1e-6, 1e-5),  # another order of the images in one process: the same
    ("yolo_pose", torch.float64): (1e-7, 1e-8),
    ("yolo_pose", torch.float32): (1e-6, 1e-5),
}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes with the gloo backend have found."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    words = [sys.executable, "-m", "tests.reliability.ddp_ranks", str(folder)]
    both = [
        subprocess.Popen(words, cwd=ROOT, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, text=True,
                         stderr=subprocess.PIPE)
        for rank in range(2)
    ]  # fmt: skip
    for process in both:
        _, error = process.communicate(timeout=1200)
        assert process.returncode == 0, error
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(together: Path, name: str, dtype: torch.dtype) -> None:
    files = [together / f"{name} {dtype} {rank}.pt".replace("torch.", "") for rank in range(2)]
    first, second = (torch.load(file) for file in files)
    assert all(torch.equal(first[key], second[key]) for key in first)  # both ranks have the same
    whole = learned(CASES[name], dtype, 0, 1)
    loss, gradient = difference(first, whole)
    _, order = difference(learned(CASES[name], dtype, 0, 1, backwards=True), whole)
    print(f"{name}, {dtype}: loss {loss:.1e}, gradients {gradient:.1e}; one process, images backwards {order:.1e}")
    if name.startswith("mean over matches"):
        return  # what was printed is what docs/reliability.md says
    largest = LIMITS[CASES[name].family, dtype]
    assert loss <= largest[0] and gradient <= largest[1]


def test_the_ap_is_the_same_for_one_two_and_three_processes() -> None:
    """Bit for bit; eleven images in batches of two, some without people, whole images and crops."""
    alone = [ranks.as_values(ranks.evaluated(crops=crops)) for crops in (False, True)]
    for world in (2, 3):
        assert in_processes(world) == [alone] * world  # each of them has both
