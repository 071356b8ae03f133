"""Which program a command line runs, and whether it reads the flags."""

import argparse
import importlib
import shlex
import sys

import pytest

from utils.core.config import ROOT


def program(line: str) -> str:
    """The script or the module that a line runs."""
    words = shlex.split(line)
    scripts = [word for word in words if word.endswith((".py", ".sh"))]
    return scripts[0] if scripts else words[words.index("-m") + 1] if "-m" in words else ""


def read(line: str, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace | None:
    """Have the program of this repository that a line names read the line's flags, where it can do so by itself."""
    name, words = program(line), shlex.split(line)
    path = name if name.endswith((".py", ".sh")) else f"{name.replace('.', '/')}.py"
    assert (ROOT / path).is_file() or (ROOT / "onnx_inference" / path).is_file(), f"{name}: no program here"
    module = path.removesuffix(".py").replace("/", ".")
    if name.startswith("data/scripts") or not (ROOT / path).is_file():  # they are no modules of the house
        return None
    door = importlib.import_module({"test": "val"}.get(module, module))  # test.py runs val.py
    if not hasattr(door, "parse"):
        return None
    monkeypatch.setattr(sys, "argv", words[words.index(name) :])
    return door.parse()
