"""Memory for frames stays with the process."""

import subprocess
import sys

import pytest

from utils.core.config import ROOT

TOUCH = """
import resource, numpy
from utils.inference.media.memory import keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
frame = numpy.ones(25_000_000, numpy.uint8); del frame
before = faults()
for _ in range(20):
    frames = [numpy.ones(25_000_000, numpy.uint8) for _ in range(3)]
    del frames
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a question of glibc")
def test_memory_that_is_kept_is_not_new_again_and_again() -> None:
    counts = [
        int(subprocess.run([sys.executable, "-c", TOUCH.format(keep=keep)], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout)
        for keep in (False, True)
    ]  # fmt: skip
    assert counts[1] < 0.5 * counts[0]
