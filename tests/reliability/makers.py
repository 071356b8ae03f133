"""What the twelve share: drawn people as a data set, and commands as they are typed."""

import runpy
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_val import command
from utils.core.config import ROOT
from utils.core.flags import EXAMPLE_WEIGHTS
from utils.data.drawing.files import write_split
from utils.data.people import SceneSettings, draw

__all__ = ["EXAMPLE_WEIGHTS", "PATIENCE", "SMALL", "Here", "command", "people", "run"]

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


@dataclass
class Here:
    """Commands within this process, which has imported everything once: status, what was printed, what was logged."""

    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *words: object) -> tuple[int, str, str]:
        door, *flags = map(str, words)
        self.monkeypatch.setattr(sys, "argv", [door, *flags])
        before = dict(signal_handlers())
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            if door.endswith(".py"):
                runpy.run_path(str(ROOT / door), run_name="__main__")
            else:
                runpy.run_module(door, run_name="__main__", alter_sys=True)
            raise SystemExit(0)  # a script that ends by reaching its end
        assert dict(signal_handlers()) == before
        return int(ended.value.code or 0), *self.capfd.readouterr()

    def refused(self, *words: object, status: int | None = None) -> str:
        """The one line of a command that could not do its work."""
        code, _, log = self(*words)
        assert code in ((1, 2) if status is None else (status,)), log
        [line] = [line for line in log.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in log
        return line


def signal_handlers() -> list[tuple[int, object]]:
    return [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
