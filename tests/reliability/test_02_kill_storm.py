"""2, kill storm: SIGKILL at 200 random instants of a trainer that writes a checkpoint after each step."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from utils.core.config import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")]
ROUNDS = 200


def test_after_each_of_two_hundred_kills_the_checkpoint_is_whole_and_at_most_a_step_old(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.training.kill_storm", str(tmp_path), str(ROUNDS)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr  # a checkpoint that does not load ends the storm with an error
    found = re.findall(r"killed \d+, (\d+) steps behind, (\d+) half: (.*)", done.stdout)
    assert len(found) == ROUNDS
    ages, halves = (Counter(int(row[column]) for row in found) for column in (0, 1))
    assert max(ages) <= 1, ages
    assert max(halves) <= 1, halves  # each start removes what the one before has left
    assert sum("last.pt epoch" in names for *_, names in found) > 0.9 * ROUNDS  # they came far enough to write one
    assert "same as unbroken: True; leftovers: 0" in done.stdout
    reached = re.findall(r"last\.pt epoch (\d+)", found[-1][-1])
    print(f"{ROUNDS} kills: {ages[0]} up to date, {ages[1]} one step behind; {halves[1]} left a hidden half file, all "
          f"gone after the next start; epoch {reached[0]} at the last kill")  # fmt: skip
