"""COCO's JSON, and CrowdPose's: annotation files to Records, detection-result files to Records, and back to COCO."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.console import log
from utils.core.geometry import xywh_to_xyxy
from utils.core.poses import person_areas
from utils.data.reading.boxes import box_around
from utils.data.reading.headers import upright_size
from utils.data.records import Packer, Problem, Records, Wanted

LARGEST = 1e9  # of any coordinate or area, in pixels; more is a mistake
LONGEST_QUOTE = 60  # characters of a user's file in a message
LONGEST_CATEGORIES = 1 << 20  # bytes; a category takes about a thousand


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a JSON file, packed with gzip or not."""
    path = Path(path)
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_json(path: str | Path) -> Any:
    """The values in a JSON file; a syntax error names its line."""
    return as_json(read_bytes(path), path)


def as_json(data: bytes, path: str | Path) -> Any:
    """The values in the bytes of a JSON file; the path is for the error message."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason} at byte {error.start}); expected JSON") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not valid JSON: {error.msg}; is the file complete?") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested brackets
        raise ValueError(f"{path}: not usable JSON: {error}; expected COCO's layout") from None


def read_categories(path: str | Path) -> list[dict[str, Any]]:
    """The categories of an annotation file, without parsing the rest of it where that can be avoided."""
    data = read_bytes(path)
    start = data.find(b'"categories"')
    if start >= 0:
        try:
            part = data[data.index(b"[", start) :][:LONGEST_CATEGORIES].decode(errors="replace")
            found, _ = json.JSONDecoder().raw_decode(part)
            if found and all(_is_category(entry) for entry in found):
                return found
        except ValueError:  # the word stood somewhere else: look at the whole file
            pass
    return check_layout(as_json(data, path), path)["categories"]


def check_layout(values: Any, path: str | Path) -> dict[str, Any]:
    """The file's top level, if it is that of an annotation file."""
    if not isinstance(values, dict) or not isinstance(values.get("images"), list):
        raise ValueError(f"{path}: no list 'images' found; expected COCO's JSON with images, annotations, categories")
    for key in ("annotations", "categories"):
        if not isinstance(values.setdefault(key, []), list):
            raise ValueError(f"{path}: '{key}' is {type(values[key]).__name__}; expected a list")
    for entry in values["categories"]:
        if not _is_category(entry):
            raise ValueError(f"{path}: category {short(entry)} found; expected an object with id and name")
    return values


def _is_category(entry: Any) -> bool:
    return isinstance(entry, dict) and is_whole(entry.get("id")) and isinstance(entry.get("name"), str)


def category_classes(
    categories: Sequence[Mapping[str, Any]], classes: Sequence[str], path: str | Path
) -> dict[Any, int]:
    """Which category id is which of our classes: by name, or the only one with keypoints when we have one class."""
    by_name = {entry.get("id"): classes.index(entry["name"]) for entry in categories if entry.get("name") in classes}
    if by_name:
        return by_name
    candidates = [entry for entry in categories if entry.get("keypoints")] or list(categories)
    if len(candidates) == 1 and len(classes) == 1:
        return {candidates[0].get("id"): 0}
    found = ", ".join(str(entry.get("name")) for entry in categories) or "none"
    raise ValueError(f"{path}: categories {found} found; expected {', '.join(classes)}, as the data set's classes say")


def parse(values: Mapping[str, Any], path: Path, root: Path, wanted: Wanted) -> Records:
    """The images of an annotation file with their persons, in the file's order."""
    if values["annotations"]:
        kinds = category_classes(values["categories"], wanted.classes, path)
    else:  # an image list, as COCO publishes it for its test sets
        kinds = {}
    reader = _Reader(path, root, wanted, kinds, {entry.get("id") for entry in values["categories"]})
    reader.take_images(values["images"])
    for annotation in values["annotations"]:
        reader.take_annotation(annotation)
    if reader.left_out:
        names = {entry.get("id"): entry.get("name") for entry in values["categories"]}
        counts = ", ".join(f"{count} of '{names[kind]}'" for kind, count in reader.left_out.items())
        log.info("%s: left out annotations of other categories: %s", path, counts)
    return reader.records()


def says_sizes(values: Mapping[str, Any]) -> bool:
    """True when every image entry has its height and width."""
    return all(_is_size((row.get("height"), row.get("width"))) for row in values["images"] if isinstance(row, Mapping))


class _Reader:
    """Collects images, their persons and the problems on the way; every annotation ends in one of the last two."""

    def __init__(self, path: Path, root: Path, wanted: Wanted, kinds: dict[Any, int], categories: set[Any]) -> None:
        self.path, self.root, self.wanted = path, root, wanted
        self.kinds, self.categories = kinds, categories
        self.images: dict[int, tuple[str, tuple[int, int]]] = {}
        self.persons: dict[int, list[dict[str, Any]]] = {}
        self.without_size: set[int] = set()  # images that were named once; their persons need not be
        self.used_ids: set[int] = set()
        self.left_out: Counter[Any] = Counter()
        self.problems: list[Problem] = []

    def problem(self, kind: str, where: str, found: str, expected: str) -> None:
        self.problems.append(Problem(kind, f"{self.path}: {where}", found, expected))

    def take_images(self, rows: Sequence[Any]) -> None:
        repeated = 0
        for number, row in enumerate(rows):
            where = f"images[{number}]"
            if not isinstance(row, Mapping) or not is_whole(row.get("id")) or not isinstance(row.get("file_name"), str):
                self.problem("wrong image entry", where, f"found {short(row)}", "an object with id and file_name")
                continue
            name, image_id = row["file_name"], row["id"]
            if image_id in self.images:
                if self.images[image_id][0] == name:
                    repeated += 1
                else:
                    found = f"image id {image_id} is that of '{self.images[image_id][0]}' and of '{name}'"
                    self.problem("image id used twice", where, found, "an id of its own")
                continue
            if size := self._size(row, where):
                self.images[image_id] = (name, size)
                self.persons[image_id] = []
        if repeated:
            self.problem("image listed twice", "images", f"{repeated} entries repeat an earlier one", "one entry each")

    def _size(self, row: Mapping[str, Any], where: str) -> tuple[int, int] | None:
        size = (row.get("height"), row.get("width"))
        if _is_size(size):
            return size
        try:
            return upright_size(self.root / row["file_name"])
        except ValueError as error:
            self.problem("no image size", where, f"height and width {size}, and {error}", "height and width in pixels")
            self.without_size.add(row["id"])
            return None

    def take_annotation(self, row: Any) -> None:
        where = f"annotation {row.get('id')}" if isinstance(row, Mapping) else "annotations"
        if not isinstance(row, Mapping) or not is_whole(row.get("id")):
            self.problem("wrong annotation", where, f"found {short(row)}", "an object with a whole number as id")
        elif is_whole(row.get("image_id")) and row["image_id"] in self.without_size:
            return
        elif not is_whole(row.get("image_id")) or row["image_id"] not in self.images:
            self.problem(
                "unknown image", where, f"image_id {short(row.get('image_id'))}", "the id of one of the images"
            )
        elif not is_whole(row.get("category_id")) or row["category_id"] not in self.kinds:
            self._other_category(row, where)
        elif (box := self._box(row, where)) is not None and (points := self._points(row, where)) is not None:
            if row["id"] in self.used_ids:
                found, expected = f"annotation id {row['id']} is used twice", "an id of its own"
                self.problem("annotation id used twice", where, found, expected)
                return
            self.used_ids.add(row["id"])
            area = row.get("area")
            usable = isinstance(area, (int, float)) and 0 < area < LARGEST
            self.persons[row["image_id"]].append(
                {
                    "box": box,
                    "points": points.ravel(),
                    "area": area if usable else float(person_areas(box)),
                    "kind": self.kinds[row["category_id"]],
                    "annotation_id": row["id"],
                    "crowd": bool(row.get("iscrowd", 0)),
                }
            )

    def _other_category(self, row: Mapping[str, Any], where: str) -> None:
        category = row.get("category_id")
        if is_whole(category) and category in self.categories:
            self.left_out[category] += 1
        else:
            self.problem("unknown category", where, f"category_id {short(category)}", "one of the categories")

    def _box(self, row: Mapping[str, Any], where: str) -> np.ndarray | None:
        values = row.get("bbox")
        if self.wanted.boxes_from_keypoints and values in (None, [0, 0, 0, 0]):
            return self._box_around(row, where)
        box = numbers(values)
        if box is None or box.shape != (4,):
            self.problem("wrong box", where, f"bbox {short(values)}", "left, top, width and height in pixels")
        elif box[2] <= 0 or box[3] <= 0:
            self.problem("empty box", where, f"bbox {short(values)}", "a width and a height above 0")
        else:
            return xywh_to_xyxy(box)
        return None

    def _box_around(self, row: Mapping[str, Any], where: str) -> np.ndarray | None:
        points = self._points(row, where)
        box = None if points is None else box_around(points, self.images[row["image_id"]][1])
        if points is not None and box is None:
            found = "no box, and no labelled keypoints to make one from"
            self.problem("empty box", where, found, "at least two labelled keypoints")
        return box

    def _points(self, row: Mapping[str, Any], where: str) -> np.ndarray | None:
        """Keypoints (K, 3); an annotation with a box only is a person of whom no keypoint is labelled."""
        count = self.wanted.keypoint_count
        values = row.get("keypoints")
        if not count or values is None:
            return np.zeros((count, 3))
        points = numbers(values)
        if points is None:
            self.problem("wrong keypoints", where, f"keypoints {short(values)}", "finite numbers x, y, v, x, y, v, ...")
        elif len(points) != 3 * count:
            expected = f"{3 * count}: x, y and v of {count} keypoints"
            self.problem("wrong keypoint count", where, f"{len(points)} numbers under keypoints", expected)
        elif not np.isin(points[2::3], (0, 1, 2)).all():
            wrong = points[2::3][~np.isin(points[2::3], (0, 1, 2))][0]
            self.problem("wrong visibility", where, f"visibility {wrong:g}", "0 not labelled, 1 hidden or 2 seen")
        else:
            return points.reshape(count, 3)
        return None

    def records(self) -> Records:
        packer = Packer(self.wanted.keypoint_count)
        for image_id, (name, size) in self.images.items():
            packer.image(name, size, image_id)
            for person in self.persons[image_id]:
                packer.person(**person)
        return packer.records(self.root, self.problems)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_size(size: tuple[Any, Any]) -> bool:
    return all(is_whole(side) and 0 < side < 2**31 for side in size)


def numbers(values: Any) -> np.ndarray | None:
    """A flat list as finite numbers, or nothing."""
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):  # words, holes or a ragged list: the caller says which record
        return None
    return found if found.ndim == 1 and (np.abs(found) < LARGEST).all() else None


def short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."
