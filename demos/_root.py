"""Lets `python demos/image.py` find the house; only a file of this name touches sys.path."""

import sys
from pathlib import Path


def reach_the_house() -> None:
    """Put the repository first among the places where Python looks for modules."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
