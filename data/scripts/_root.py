"""Lets `python data/scripts/get_coco.py` find the house, as demos/_root.py does for the demos."""

import sys
from pathlib import Path


def reach_the_house() -> None:
    """Put the repository first among the places where Python looks for modules."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
