"""What the twelve share: drawn people as a data set, and commands as they are typed."""

import shlex
from pathlib import Path

from tests.test_val import command
from utils.core.flags import EXAMPLE_WEIGHTS
from utils.data.drawing.files import write_split
from utils.data.people import SceneSettings, draw

__all__ = ["EXAMPLE_WEIGHTS", "PATIENCE", "SMALL", "command", "people", "run", "typed"]

SMALL = ("--img", 64, "--batch-size", 4, "--device", "cpu")


PATIENCE = 1800  # seconds, for machines that have much else to do


def run(*words: object, door: str) -> tuple[int, str, str]:
    """A command as a user runs it: status, what was printed, what was logged."""
    process = command(*words, door=door)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def people(folder: Path, *, train: int = 8, val: int = 4, side: int = 96, seed: int = 0) -> Path:
    """A folder that every command takes for a data set."""
    settings = SceneSettings((side, side), "person", "easy")
    for split, count, own in (("train", train, seed), ("val", val, (seed, 1))):
        scenes = (draw(own, index, settings) for index in range(count))
        write_split(folder, split=split, scenes=scenes, figure="person")
    return folder


def typed(line: str, **places: object) -> tuple[int, str, str]:
    """A command line with {places} filled in, run: its status, what it printed, what it logged."""
    words = [word.format(**places) for word in shlex.split(line)]
    return run(*words[1:], door=words[0])
