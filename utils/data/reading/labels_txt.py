"""YOLO-pose txt labels: one file per image, one row per person, normalised by the image's width and height.

A row is `class cx cy w h` and then x, y and visibility of every keypoint, or x and y only.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.core.geometry import cxcywh_to_xyxy
from utils.core.poses import person_areas
from utils.data.reading.boxes import box_around
from utils.data.reading.headers import upright_size
from utils.data.reading.listing import join
from utils.data.records import Digest, Packer, Problem, Records, Wanted

ROUNDING = 1e-3  # how far outside 0..1 still counts as a rounding error
SEEN = 2.0


@dataclass(frozen=True)
class Row:
    """One person of a label file, in pixels."""

    line: int
    kind: int
    box: np.ndarray  # (4) float64
    points: np.ndarray  # (K, 3) float64


class _Unusable(ValueError):
    """Why a row or a file cannot be used; becomes a Problem when its place is known."""

    def __init__(self, kind: str, found: str, expected: str, where: str = "") -> None:
        super().__init__(found)
        self.problem = Problem(kind, where, found, expected)


def label_path(image: str) -> str:
    """Where an image's labels lie: its last folder `images` becomes `labels`, its suffix txt."""
    parts = image.replace("\\", "/").split("/")
    folders, name = parts[:-1], parts[-1]
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return "/".join([*folders, (name.rpartition(".")[0] or name) + ".txt"])


def image_ids(names: Sequence[str]) -> list[int]:
    """The numbers that the files are called by, as in COCO, where each has one of its own; else 1, 2, 3, ..."""
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in names]
    if all(stem.isascii() and stem.isdigit() and len(stem) < 19 for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(names) + 1))


def parse(names: Sequence[str], root: Path, wanted: Wanted, digest: Digest) -> Records:
    """The images, given by their names below the root, with the persons in their label files.

    What was read is added to the digest, as `add_to` does it.
    """
    packer, problems = Packer(wanted.keypoint_count), []
    annotation_id = 0
    for name, image_id in zip(names, image_ids(names), strict=True):
        path = join(str(root), name)
        label = label_path(path)
        try:
            size, data = add_to(digest, path)
            text = as_text(data, label)
        except _Unusable as error:
            problems.append(error.problem)
            continue
        packer.image(name, size, image_id)
        for row in rows(text, label, size, wanted, problems):
            annotation_id += 1
            area = float(person_areas(row.box))
            packer.person(row.box, row.points.ravel(), area=area, kind=row.kind, annotation_id=annotation_id)
    return packer.records(root, problems)


def digest_of(names: Sequence[str], root: Path, digest: Digest) -> str:
    """The digest that `parse` would arrive at."""
    for name in names:
        with contextlib.suppress(_Unusable):  # it is part of the digest nevertheless
            add_to(digest, join(str(root), name))
    return digest.hexdigest()


def add_to(digest: Digest, image: str) -> tuple[tuple[int, int], bytes]:
    """An image's (height, width) and the bytes of its label file, all that its records are made from."""
    try:
        size = upright_size(image)
        data = read_bytes(label_path(image))
    except _Unusable as error:
        digest.update(str(error.problem).encode("utf-8", "surrogateescape"))
        raise
    except ValueError as error:
        reason = str(error).removeprefix(f"{image}: ")
        digest.update(reason.encode("utf-8", "surrogateescape"))
        raise _Unusable("unreadable image", reason, "an image file", image) from None
    digest.update(f"{size} {len(data)}\n".encode() + data)
    return size, data


def read_bytes(label: str) -> bytes:
    """A label file; nothing when there is none: an image without people."""
    try:
        return Path(label).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        raise _Unusable("unreadable labels", found, "rows of numbers", label) from None


def as_text(data: bytes, label: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"not a text file ({error.reason} at byte {error.start})"
        raise _Unusable("unreadable labels", found, "rows of numbers", label) from None
    if "\0" in text:
        found = f"not a text file (a zero byte at character {text.index(chr(0))})"
        raise _Unusable("unreadable labels", found, "rows of numbers", label)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def rows(text: str, label: str, size: tuple[int, int], wanted: Wanted, problems: list[Problem]) -> Iterator[Row]:
    """The usable rows of the labels of an image of (height, width); what is wrong with others goes to problems."""
    seen: dict[bytes, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{label}:{number}"
        if not (words := line.split()):
            continue
        try:
            values = _numbers(words)
            if (first := seen.setdefault(values.tobytes(), number)) != number:
                raise _Unusable("duplicate row", f"the same as line {first}", "one row per person")
            kind, box_cxcywh, points = _columns(values, wanted)
            outside = _hide_outside(points)
            yield Row(number, kind, _pixel_box(box_cxcywh, points, size), points * (size[1], size[0], 1))
        except _Unusable as error:
            problems.append(replace(error.problem, where=where))
            continue
        if outside:
            problems.append(Problem("keypoint outside", where, outside, "0 to 1; counted as not labelled"))


def _numbers(words: Sequence[str]) -> np.ndarray:
    try:
        values = np.array(words, np.float64)
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        raise _Unusable("not a number", f"'{word[:20]}'", "numbers only") from None
    if not np.isfinite(values).all():
        column = int(np.flatnonzero(~np.isfinite(values))[0])
        raise _Unusable("not a number", f"'{words[column]}' in column {column + 1}", "finite numbers")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _columns(values: np.ndarray, wanted: Wanted) -> tuple[int, np.ndarray | None, np.ndarray]:
    """Class, box and keypoints (K, 3) of a row, checked but still normalised."""
    count = wanted.keypoint_count
    layouts = {5 + 2 * count: (5, 2), 5 + 3 * count: (5, 3)}
    if wanted.boxes_from_keypoints and count:
        layouts = {1 + 2 * count: (1, 2), 1 + 3 * count: (1, 3)} | layouts
    if len(values) not in layouts:
        expected = " or ".join(str(columns) for columns in sorted(layouts, reverse=True))
        raise _Unusable("wrong columns", f"{len(values)} columns", f"{expected} for {count} keypoints")
    first, dimensions = layouts[len(values)]
    if values[0] not in range(len(wanted.classes)):
        raise _Unusable("unknown class", f"class {values[0]:g}", f"0 to {len(wanted.classes) - 1}")
    points = values[first:].reshape(count, dimensions) if count else np.zeros((0, 3))
    if dimensions == 2:  # without a visibility, 0 0 is how such files say "not labelled"
        points = np.column_stack((points, np.where((points != 0).any(1), SEEN, 0.0)))  # (K, 3)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        wrong = points[~np.isin(points[:, 2], (0, 1, 2)), 2][0]
        raise _Unusable("wrong visibility", f"visibility {wrong:g}", "0 not labelled, 1 hidden or 2 seen")
    box_cxcywh = values[1:5] if first == 5 else np.zeros(4)
    if wanted.boxes_from_keypoints and not box_cxcywh.any():
        return int(values[0]), None, points.copy()
    return int(values[0]), box_cxcywh, points.copy()


def _hide_outside(points: np.ndarray) -> str:
    """Take back the label of keypoints (K, 3) that lie outside the image; says which, if any do."""
    beyond = (points[:, :2] < -ROUNDING) | (points[:, :2] > 1 + ROUNDING)
    outside = np.flatnonzero(beyond.any(1) & (points[:, 2] > 0))
    if not len(outside):
        return ""
    x, y = points[outside[0], :2]
    _refuse_pixels(points[outside, :2])
    points[outside, 2] = 0
    return f"{len(outside)} labelled keypoints outside the image, the first is number {outside[0] + 1} at {x:g} {y:g}"


def _pixel_box(box_cxcywh: np.ndarray | None, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scale = np.array((size[1], size[0], size[1], size[0]))
    if box_cxcywh is None:
        box = box_around(points * (*scale[:2], 1), size)
        if box is None:
            raise _Unusable("empty box", "no labelled keypoint to make a box from", "at least two labelled keypoints")
        return box
    _refuse_pixels(box_cxcywh)
    if (box_cxcywh < -ROUNDING).any() or (box_cxcywh > 1 + ROUNDING).any():
        found = "box " + " ".join(f"{value:g}" for value in box_cxcywh)
        raise _Unusable("box outside", found, "centre, width and height between 0 and 1")
    if (box_cxcywh[2:] <= 0).any():
        raise _Unusable("empty box", f"box of {box_cxcywh[2]:g} x {box_cxcywh[3]:g}", "a width and a height above 0")
    return cxcywh_to_xyxy(box_cxcywh) * scale  # (4)


def _refuse_pixels(coordinates: np.ndarray) -> None:
    if coordinates.max() > 2:
        found = f"coordinates up to {coordinates.max():g}"
        raise _Unusable("not normalised", found, "0 to 1: divided by the image's width and height")
