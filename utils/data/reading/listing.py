"""Which images a split has: those in a folder, or those that a list file names."""

import os
from collections.abc import Sequence
from pathlib import Path

from utils.data.reading.headers import SUFFIXES


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
    names, seen = [], set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        # A link may lead back to where we came from.
        folders[:] = sorted(name for name in folders if os.path.realpath(join(parent, name)) not in seen)
        start = below(parent, str(root)) + "/"
        names += [start.removeprefix("./") + name for name in sorted(files) if is_image(name)]
    return names


def is_image(name: str) -> bool:
    return "." in name and name[name.rindex(".") :].lower() in SUFFIXES


def _in_list(path: Path, root: Path) -> list[str]:
    """The images that a list file names, one per line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason}); expected one image path per line") from None
    lines = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{path}: the list is empty; expected one image path per line")
    return [below(line, str(root)) for line in _found(lines, path.parent, root)]


def _found(lines: list[str], home: Path, root: Path) -> list[str]:
    """The lines as paths: from the list's own folder, the root or here, whichever has the first of them."""
    # CVAT's older exports begin every line with a folder `data` that the archive does not have.
    for rest in (lines, [line.partition("/")[2] for line in lines]):
        for start in (home, root, Path.cwd()):
            if (start / rest[0]).is_file():
                return [join(str(start), line) for line in rest]
    # Nothing there: maybe the images are yet to come. `./` means the list's own folder, as it always did.
    start = home if lines[0].startswith("./") else root
    return [join(str(start), line) for line in lines]


def join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118  as strings: this runs for every image at every start


def below(path: str, root: str) -> str:
    """The path below the root, else as it is; with forward slashes."""
    path, root = os.path.normpath(path).replace(os.sep, "/"), root.replace(os.sep, "/")
    return "." if path == root else path.removeprefix(root.rstrip("/") + "/")
