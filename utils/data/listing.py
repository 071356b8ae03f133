"""Which images a split has: those in a folder, or those that a list file names."""

import os
from collections.abc import Sequence
from pathlib import Path

from utils.data.headers import SUFFIXES


def image_names(places: Sequence[Path], root: Path) -> list[str]:
    """All images of folders and list files, as paths below the root where they lie there, sorted within a folder."""
    names: list[str] = []
    for place in places:
        if place.is_dir():
            names += _in_folder(place, root)
        elif place.is_file():
            names += _in_list(place, root)
        else:
            raise ValueError(f"{place}: no such folder or list file; expected the images of the data set")
    return list(dict.fromkeys(names))


def _in_folder(folder: Path, root: Path) -> list[str]:
    names = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        start = below(parent, str(root)) + "/"
        names += [start.removeprefix("./") + name for name in sorted(files) if is_image(name)]
    return names


def is_image(name: str) -> bool:
    return "." in name and name[name.rindex(".") :].lower() in SUFFIXES


def _in_list(path: Path, root: Path) -> list[str]:
    """The lines of a list file: as they are, from the file's folder, from the root, or from here."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason}); expected one image path per line") from None
    lines = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{path}: the list is empty; expected one image path per line")
    start = str(_start_of(lines[0], path, root))
    return [below(join(start, line), str(root)) for line in lines]


def _start_of(line: str, path: Path, root: Path) -> Path:
    """The folder that a list's lines start from, found out with its first line."""
    for start in (path.parent, root, Path.cwd()):
        if (start / line).is_file():
            return start
    # Nothing matches: maybe the images are not there yet. `./` means the list's own folder, as it always did.
    return path.parent if line.startswith("./") else root


def join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118  as strings: this runs for every image at every start


def below(path: str, root: str) -> str:
    """The path below the root, else as it is; with forward slashes."""
    path = os.path.normpath(path).replace(os.sep, "/")
    return "." if path == root else path.removeprefix(root.rstrip("/") + "/")
