"""One method family per file, found by name: the `family:` of a YAML is the name of the file."""

import importlib
from pathlib import Path

from utils.core.config import did_you_mean
from utils.core.contract import PoseModel


def names() -> tuple[str, ...]:
    """The families there are."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


def find(name: str) -> type[PoseModel]:
    """The class of a family; a name that is not there is told with those that are."""
    if name not in names():
        raise ValueError(f"no family '{name}' in models/families ({', '.join(names())}){did_you_mean(name, names())}")
    return importlib.import_module(f"models.families.{name}").Model
