"""What several tests lean on: the folder of fixtures beside the repository, and a quiet, single-minded torch."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LIMBER_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Fixtures and photographs that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED}: the original programs' numbers and the photographs are not here")
    return SHARED
