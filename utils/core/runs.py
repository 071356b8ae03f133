"""The folder that a run writes into: numbered, so that nothing is overwritten, and the same in all its processes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.core.distributed import gather, rank


def new_run(project: str | Path, name: str, *, exist_ok: bool = False) -> Path:
    """exp, exp2, exp3, ...: the first that does not exist, made by the first process and known to all."""
    problem, folder = "", Path(project) / name
    if rank() == 0:
        number = 1
        while not exist_ok and folder.exists():
            number += 1
            folder = Path(project) / f"{name}{number}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"{folder}: cannot be made: {error.strerror}; choose another folder with --project"
    folder_name, problem = gather((str(folder), problem))[0]
    if problem:
        raise ValueError(problem)
    return Path(folder_name)


@contextmanager
def run_folder(project: str | Path, name: str, *, exist_ok: bool = False) -> Iterator[Path]:
    """A new run's folder, which is taken away again where nothing was written into it."""
    folder = new_run(project, name, exist_ok=exist_ok)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
