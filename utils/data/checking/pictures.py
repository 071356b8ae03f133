"""What is wrong with the image files of a split, as Problems: unreadable, cut short, of another size, double."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core import images
from utils.core.console import progress
from utils.data.reading.headers import is_cut_short, upright_size
from utils.data.records import Problem, Records


@dataclass(frozen=True)
class Look:
    """What a look at one image file found."""

    problem: Problem | None
    digest: bytes = b""  # of the file's bytes; empty where they were not read


def look_at_images(records: Records, *, quick: bool) -> list[Look]:
    """Decode every image, or only read its header when quick; one Look each, in order."""
    look = _header if quick else _whole

    def at(i: int) -> Look:
        return look(records.path(i), records.size(i))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(progress(pool.map(at, range(len(records))), "images", len(records)))


def _whole(path: str, size: tuple[int, int]) -> Look:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return Look(Problem("unreadable image", path, f"cannot be read: {error.strerror or error}", "an image file"))
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if is_cut_short(data):
        found = f"the end of the file is missing after {len(data)} bytes"
        return Look(Problem("image cut short", path, found, "a complete image; fetch it again"), digest)
    try:
        found_size = images.decode(np.frombuffer(data, np.uint8), path).shape[:2]
    except ValueError as error:
        return Look(Problem("unreadable image", path, str(error).removeprefix(f"{path}: "), "an image file"), digest)
    return Look(_size_problem(path, found_size, size), digest)


def _header(path: str, size: tuple[int, int]) -> Look:
    try:
        return Look(_size_problem(path, upright_size(path), size))
    except ValueError as error:
        return Look(Problem("unreadable image", path, str(error).removeprefix(f"{path}: "), "an image file"))


def _size_problem(path: str, found: tuple[int, int], expected: tuple[int, int]) -> Problem | None:
    """The annotations' height and width must be those of the upright image."""
    if tuple(found) == tuple(expected):
        return None
    hint = " (exchanged: an EXIF rotation?)" if tuple(found) == tuple(expected)[::-1] else ""
    was, wanted = (f"{width} x {height}" for height, width in (found, expected))
    return Problem("image size", path, f"{was} pixels", f"{wanted} as the annotations say{hint}")


def double_images(looks: Mapping[str, list[Look]], records: Mapping[str, Records]) -> Iterator[Problem]:
    """Files with the same bytes: twice in a split is odd, in two splits it makes the evaluation worthless."""
    first: dict[bytes, tuple[str, str]] = {}
    for split, found in looks.items():
        for i, look in enumerate(found):
            if not look.digest:
                continue
            path = records[split].path(i)
            other_split, other = first.setdefault(look.digest, (split, path))
            if other == path:
                continue
            if other_split == split:
                yield Problem("same picture", path, f"the same bytes as {other}", "every picture once")
            else:
                found_text = f"the same picture as {other} in {other_split}"
                yield Problem("picture in two splits", path, found_text, f"pictures of {split} in {split} only")
