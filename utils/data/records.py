"""Records: the annotations of one split in packed arrays, and the problems that were met while reading them.

A Python object per sample would be copied into every worker as its reference count is touched, so memory would grow
over an epoch. A dozen arrays stay shared, however many records they hold.
"""

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data set: where, what was found, what was expected; counted by its kind."""

    kind: str  # two or three words, for instance "wrong columns"
    where: str  # a file, with its line or the annotation's id
    found: str
    expected: str

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}; expected {self.expected}"
        return text.encode("utf-8", "backslashreplace").decode()  # file names need not be UTF-8, what is printed must


class Digest(Protocol):
    """Grows with the bytes that are read; as hashlib makes them."""

    def update(self, data: bytes) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Wanted:
    """What a reader needs to know about the data set."""

    classes: tuple[str, ...]
    keypoint_count: int
    boxes_from_keypoints: bool = False  # make one where an annotation has none


@dataclass(frozen=True)
class Persons:
    """The persons of one image: views into the packed arrays, in pixels of the original image."""

    boxes: np.ndarray  # (N, 4) float32
    keypoints: np.ndarray  # (N, K, 2) float32
    visibility: np.ndarray  # (N, K) uint8: 0 not labelled, 1 hidden, 2 seen
    areas: np.ndarray  # (N) float32, of the person's mask, else of the box
    classes: np.ndarray  # (N) int64
    crowd: np.ndarray  # (N) bool: a region with many people, not one person
    ids: np.ndarray  # (N) int64, of the annotations
    scores: np.ndarray  # (N) float32, of the detections; 1 for annotations

    def __len__(self) -> int:
        return len(self.ids)


PERSON_FIELDS = tuple(field.name for field in fields(Persons))


@dataclass(frozen=True)
class Records:
    """One split: its images and their persons, flat; `persons(i)` are those between two `person_ends`."""

    root: str  # the folder that relative image names start from
    names: np.ndarray  # (bytes) uint8: all image names in UTF-8, one after another
    name_ends: np.ndarray  # (I + 1) int64, starting with 0
    sizes: np.ndarray  # (I, 2) int32 height and width of the upright image
    image_ids: np.ndarray  # (I) int64
    person_ends: np.ndarray  # (I + 1) int64, starting with 0
    boxes: np.ndarray  # (P, 4) float32
    keypoints: np.ndarray  # (P, K, 2) float32; where visibility is 0 the numbers mean nothing
    visibility: np.ndarray  # (P, K) uint8
    areas: np.ndarray  # (P) float32
    classes: np.ndarray  # (P) int64
    crowd: np.ndarray  # (P) bool
    ids: np.ndarray  # (P) int64
    scores: np.ndarray  # (P) float32
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        """Read-only, so that an augmentation that forgets to copy is an error and not a changed data set."""
        for field in fields(self):
            if isinstance(values := getattr(self, field.name), np.ndarray):
                values.flags.writeable = False

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def person_count(self) -> int:
        return len(self.ids)

    def name(self, i: int) -> str:
        """The image's name as the annotations give it."""
        return self.names[self.name_ends[i] : self.name_ends[i + 1]].tobytes().decode("utf-8", "surrogateescape")

    def path(self, i: int) -> str:
        """The image's file."""
        return os.path.join(self.root, self.name(i))  # noqa: PTH118  os.path: called for every sample, ten times faster

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of the upright image."""
        return int(self.sizes[i, 0]), int(self.sizes[i, 1])

    def image_id(self, i: int) -> int:
        return int(self.image_ids[i])

    def persons(self, i: int) -> Persons:
        """The persons in one image, crowd regions among them; views, nothing is copied."""
        part = slice(self.person_ends[i], self.person_ends[i + 1])
        return Persons(*(getattr(self, name)[part] for name in PERSON_FIELDS))

    def image_of_person(self) -> np.ndarray:
        """The image index of every person: (P) int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.person_ends))

    def chosen(self, images: np.ndarray | Sequence[int]) -> "Records":
        """Some of the images, by index or mask, with all their persons."""
        images = np.asarray(images)
        images = np.flatnonzero(images) if images.dtype == bool else images.astype(np.int64)
        return replace(
            self,
            names=self.names[_inside(self.name_ends, images)],
            name_ends=_ends(np.diff(self.name_ends)[images]),
            sizes=self.sizes[images],
            image_ids=self.image_ids[images],
        )._with_persons(_inside(self.person_ends, images), np.diff(self.person_ends)[images])

    def chosen_persons(self, persons: np.ndarray) -> "Records":
        """All of the images with some of their persons, by mask (P)."""
        counts = np.bincount(self.image_of_person()[persons], minlength=len(self))
        return self._with_persons(np.flatnonzero(persons), counts)

    def _with_persons(self, persons: np.ndarray, counts: np.ndarray) -> "Records":
        values = {name: getattr(self, name)[persons] for name in PERSON_FIELDS}
        return replace(self, person_ends=_ends(counts), **values)


def _ends(counts: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


def _inside(ends: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The positions that lie between the ends of the chosen stretches, stretch by stretch."""
    counts = np.diff(ends)[chosen]
    first = np.repeat(ends[:-1][chosen] - _ends(counts)[:-1], counts)
    return first + np.arange(counts.sum())


class Packer:
    """Takes images and, after each, its persons; gives Records. Compact while it grows: no object per number."""

    def __init__(self, keypoint_count: int) -> None:
        self.keypoint_count = keypoint_count
        self.names, self.name_lengths = bytearray(), array("q")
        self.sizes, self.image_ids, self.person_counts = array("i"), array("q"), array("q")
        self.boxes, self.points, self.areas, self.scores = array("f"), array("f"), array("f"), array("f")
        self.classes, self.ids, self.crowd = array("q"), array("q"), array("B")

    def image(self, name: str, size: tuple[int, int], image_id: int) -> None:
        encoded = name.encode("utf-8", "surrogateescape")
        self.names += encoded
        self.name_lengths.append(len(encoded))
        self.sizes.extend(size)
        self.image_ids.append(image_id)
        self.person_counts.append(0)

    def person(
        self,
        box: Sequence[float],
        points: Iterable[float],  # x, y and visibility of every keypoint, one after another
        *,
        area: float,
        kind: int,
        annotation_id: int,
        crowd: bool = False,
        score: float = 1.0,
    ) -> None:
        """One more person in the image that was added last."""
        self.boxes.extend(box)
        self.points.extend(points)
        self.areas.append(area)
        self.classes.append(kind)
        self.ids.append(annotation_id)
        self.crowd.append(crowd)
        self.scores.append(score)
        self.person_counts[-1] += 1

    def records(self, root: str | Path, problems: Iterable[Problem] = ()) -> Records:
        points = np.array(self.points, np.float32).reshape(len(self.ids), self.keypoint_count, 3)
        visibility = points[..., 2].astype(np.uint8)
        return Records(
            root=str(root),
            names=np.frombuffer(bytes(self.names), np.uint8),
            name_ends=_ends(np.array(self.name_lengths, np.int64)),
            sizes=np.array(self.sizes, np.int32).reshape(-1, 2),
            image_ids=np.array(self.image_ids, np.int64),
            person_ends=_ends(np.array(self.person_counts, np.int64)),
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            keypoints=np.ascontiguousarray(points[..., :2]),
            visibility=visibility,
            areas=np.array(self.areas, np.float32),
            classes=np.array(self.classes, np.int64),
            crowd=np.array(self.crowd, bool),
            ids=np.array(self.ids, np.int64),
            scores=np.array(self.scores, np.float32),
            problems=tuple(problems),
        )
