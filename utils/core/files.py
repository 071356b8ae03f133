"""Writing so that a failure names the file: a full disk does not say by itself what it had no room for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """What the system refuses while this file is written becomes an `OSError` with its name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def write_text(path: str | Path, text: str, errors: str = "strict") -> None:
    """In UTF-8."""
    with naming(path):
        Path(path).write_text(text, encoding="utf-8", errors=errors)
