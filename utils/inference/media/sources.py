"""What a user calls a source: a file, a folder, a pattern, a list, an address, a camera or the screen; then frames."""

import glob
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from utils.core import images
from utils.core.config import did_you_mean
from utils.inference.media import files, live
from utils.inference.media.frames import Clip, Faults, Frame

LARGEST_DOWNLOAD = 200 << 20  # bytes of one picture


class Source:
    """Frames of everything that a user named, in order: `for frame in Source("holiday/")`."""

    def __init__(self, where: str, *, stride: int = 1) -> None:
        if stride < 1:
            raise ValueError(f"--vid-stride {stride}: expected 1 (every frame) or more")
        self.where = where
        self.faults = Faults()
        self.stride = stride
        self.items = items_of(where)
        self.is_live = len(self.items) == 1 and is_live(self.items[0])
        self._stop = threading.Event()

    @property
    def total(self) -> int | None:
        """How many frames to expect, where that can be known without opening many files."""
        if all(_kind(item) == "image" for item in self.items):
            return len(self.items)
        if len(self.items) == 1 and _kind(self.items[0]) == "video":
            capture = files.open_capture(self.items[0])
            count = files.count_frames(capture) if capture.isOpened() else 0
            capture.release()
            return -(-count // self.stride) or None
        return None

    def __iter__(self) -> Iterator[Frame]:
        for item in self.items:
            if self._stop.is_set():
                return
            yield from self._frames(item)

    def close(self) -> None:
        """End a stream, also while it waits for a lost connection."""
        self._stop.set()

    def _frames(self, item: str) -> Iterator[Frame]:
        if item.isdecimal():
            return live.stream(int(item), self._stop, stride=self.stride)
        if _is_screen(item):
            return live.screen(item, self._stop, stride=self.stride)
        if is_live(item):
            return live.stream(item, self._stop, stride=self.stride)
        if _kind(item) == "video":
            return files.video(item, self.faults, stride=self.stride, name=live.without_password(item))
        if "://" in item:
            return _downloaded(item, self.faults)
        return files.picture(item, self.faults)


def items_of(where: str) -> list[str]:
    """The files, addresses or devices that a source stands for."""
    where = where.strip()
    if where.isdecimal() or _is_screen(where) or "://" in where:
        return [where]
    path = Path(where).expanduser()
    if path.is_dir():
        return _usable([str(file) for file in sorted(path.iterdir(), key=_natural)], f"{where}: the folder")
    if path.is_file():
        return _listed(path) if path.suffix.lower() == ".txt" else _known(str(path))
    if glob.has_magic(where):
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207 (the pattern may be absolute)
        return _usable(sorted(found, key=_natural), f"{where}: the pattern")
    near = [str(path.parent / file.name) for file in path.parent.glob("*")] if path.parent.is_dir() else []
    raise ValueError(f"--source {where}: no such file or folder{did_you_mean(where, near)}")


def is_live(item: str) -> bool:
    """True for what has no end of its own: a camera, the screen, an address that names no file."""
    return item.isdecimal() or _is_screen(item) or ("://" in item and _kind(item) == "")


def _is_screen(item: str) -> bool:
    return re.fullmatch(r"screen( \d+)?", item) is not None


def _kind(item: str) -> str:
    """'image' or 'video' by the suffix of a path or of an address, else nothing."""
    scheme = item.partition("://")[0].lower() if "://" in item else ""
    if scheme not in ("", "http", "https", "file"):
        return ""
    suffix = PurePosixPath(urlsplit(item).path).suffix.lower() if scheme else Path(item).suffix.lower()
    return "image" if suffix in files.IMAGES else "video" if suffix in files.VIDEOS else ""


def _known(item: str) -> list[str]:
    if not _kind(item):
        endings = ", ".join(sorted(ending[1:] for ending in files.IMAGES | files.VIDEOS))
        raise ValueError(f"--source {item}: neither a picture nor a video by its name ({endings}), nor a .txt list")
    return [item]


def _usable(found: list[str], what: str) -> list[str]:
    """Pictures and videos among the files found."""
    usable = [item for item in found if _kind(item) and not Path(item).is_dir()]
    if not usable:
        raise ValueError(f"--source {what} holds no pictures and no videos ({len(found)} other entries)")
    return usable


def _listed(path: Path) -> list[str]:
    """The entries of a list file: one to a line, seen from the list's folder or from here."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--source {path}: cannot be read as a list of files: {error}") from None
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    alive = [entry for entry in entries if is_live(entry)]
    if alive:
        raise ValueError(f"{path}: '{live.without_password(alive[0])}' never ends; start one command for each stream")
    if not entries:
        raise ValueError(f"--source {path}: the list is empty")
    beside = [path.parent / entry for entry in entries]
    return [
        str(near) if "://" not in entry and near.exists() else entry
        for entry, near in zip(entries, beside, strict=True)
    ]


def _natural(path: str | Path) -> list[object]:
    """frame 2 before frame 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", str(path))]


def _downloaded(address: str, faults: Faults) -> Iterator[Frame]:
    """The picture at an address."""
    name = live.without_password(address)
    try:
        with urllib.request.urlopen(address, timeout=live.ANSWER / 1000) as answer:
            data = answer.read(LARGEST_DOWNLOAD + 1)
        if len(data) > LARGEST_DOWNLOAD:
            raise ValueError(f"{name}: more than {LARGEST_DOWNLOAD >> 20} MiB for one picture")
        image = images.decode(np.frombuffer(data, np.uint8), name)
    except (urllib.error.URLError, OSError) as error:
        faults.file(f"{name}: cannot be fetched: {getattr(error, 'reason', error)}")
        return
    except ValueError as error:
        faults.file(str(error))
        return
    yield Frame(image, Clip(name, "image", count=1))
