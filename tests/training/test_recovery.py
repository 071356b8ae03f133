"""Killed at random moments a run leaves only whole files, and goes on to the same end."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from utils.core.config import ROOT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_every_checkpoint_loads_after_each_of_ten_kills_and_the_end_is_the_same(tmp_path: Path) -> None:
    """tests/reliability/test_02_kill_storm.py does it two hundred times."""
    rounds = 10
    command = [sys.executable, "-m", "tests.training.kill_storm", str(tmp_path), str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    killed = re.findall(r"killed \d+, .*?: (.*)", done.stdout)
    assert len(killed) == rounds
    assert sum("last.pt epoch" in line for line in killed) >= rounds // 2  # most of them while it was training
    assert re.search(r"finished: best.safetensors, last.pt epoch \d+ step 0, last.safetensors", done.stdout)
    assert "same as unbroken: True; leftovers: 0" in done.stdout


def test_a_write_that_fails_half_way_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    """A real failure of the system: no file may grow beyond a few kilobytes."""
    program = """
import resource, signal, sys, torch
from pathlib import Path
from utils.core import checkpoint
path = Path(sys.argv[1])
checkpoint.save_state(path, {"step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for write in (
    lambda: checkpoint.save_state(path, {"weights": torch.zeros(100_000)}),
    lambda: checkpoint.save(path, {"weights": torch.zeros(100_000)}, {}),
):
    try:
        write()
    except OSError as error:
        print("refused:", error)
print(checkpoint.load_state(path), [file.name for file in path.parent.iterdir()])
"""
    assert resource.RLIMIT_FSIZE is not None
    path = tmp_path / "last.pt"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused: ") == 2
    assert "{'step': 1} ['last.pt']" in done.stdout
