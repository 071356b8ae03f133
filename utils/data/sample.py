"""People and Sample: what the steps of the data path hand to one another, and how it moves, flips and is cut."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar

import numpy as np

from utils.core import images
from utils.core.geometry import (
    Matrix,
    area_factors,
    box_areas,
    clip_boxes,
    inside,
    mirror,
    move_boxes,
    move_points,
    upside_down,
)
from utils.core.poses import Origin
from utils.core.schema import KeypointSchema

Size = tuple[int, int]  # (height, width)
Labels = TypeVar("Labels", bound="People")


@dataclass(frozen=True)
class People:
    """The persons of one image, in pixels of that image. Where visibility is 0, a coordinate means nothing."""

    boxes: np.ndarray  # (N, 4) float32
    keypoints: np.ndarray  # (N, K, 2) float32
    visibility: np.ndarray  # (N, K) uint8: 0 not labelled or out of the image, 1 hidden, 2 seen
    areas: np.ndarray  # (N) float32
    classes: np.ndarray  # (N) int64

    def __len__(self) -> int:
        return len(self.boxes)

    def chosen(self: Labels, persons: np.ndarray) -> Labels:
        """Some of the persons, by mask or index."""
        return replace(self, **{name: getattr(self, name)[persons] for name in PERSON_FIELDS})

    def carried(self: Labels, matrix: Matrix) -> Labels:
        """The labels under a matrix; nobody is cut or dropped."""
        centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2  # (N, 2)
        return replace(
            self,
            boxes=move_boxes(self.boxes, matrix),
            keypoints=move_points(self.keypoints, matrix),
            areas=self.areas * area_factors(centres, matrix).astype(np.float32),
        )

    def cut_to(self: Labels, size: Size) -> Labels:
        """Boxes are cut to an image of (height, width); a keypoint outside becomes invisible and stays where it is."""
        return replace(
            self,
            boxes=clip_boxes(self.boxes, size),
            visibility=np.where(inside(self.keypoints, size), self.visibility, np.uint8(0)),
        )

    def renamed(self: Labels, schema: KeypointSchema) -> Labels:
        """Every keypoint under the name of its mirror image."""
        swap = list(schema.swap)
        return replace(self, keypoints=self.keypoints[:, swap], visibility=self.visibility[:, swap])

    @property
    def labels(self) -> "People":
        """The labels alone."""
        return People(*(getattr(self, name) for name in PERSON_FIELDS))


PERSON_FIELDS = tuple(field.name for field in fields(People))


def nobody(keypoints: int) -> People:
    """No person at all."""
    return People(
        boxes=np.zeros((0, 4), np.float32),
        keypoints=np.zeros((0, keypoints, 2), np.float32),
        visibility=np.zeros((0, keypoints), np.uint8),
        areas=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int64),
    )


def joined(groups: Sequence[People]) -> People:
    """Everybody in several images, in order."""
    return People(*(np.concatenate([getattr(group, name) for group in groups]) for name in PERSON_FIELDS))


@dataclass(frozen=True)
class Sample(People):
    """One image and everybody in it; `origin.to_input` leads from the original's pixels to these."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    origin: Origin

    @property
    def size(self) -> Size:
        return self.image.shape[0], self.image.shape[1]

    def with_people(self, people: People) -> "Sample":
        """The same image with other labels."""
        return replace(self, **{name: getattr(people, name) for name in PERSON_FIELDS})

    def flipped(self, schema: KeypointSchema) -> "Sample":
        """The mirror image: a left wrist becomes a right wrist."""
        moved = self.carried(mirror(self.size[1])).renamed(schema)
        return replace(moved, image=images.mirrored(self.image), origin=self.origin.under(mirror(self.size[1])))

    def upended(self) -> "Sample":
        """Upside down; left stays left."""
        matrix = upside_down(self.size[0])
        return replace(self.carried(matrix), image=images.upended(self.image), origin=self.origin.under(matrix))


def sample_of(image: np.ndarray, people: People, origin: Origin) -> Sample:
    return Sample(*(getattr(people, name) for name in PERSON_FIELDS), image, origin)


class Pixels(Protocol):
    """What the steps ask of a source of images; the sizes and labels are known before anything is decoded."""

    def __len__(self) -> int: ...

    def size(self, index: int) -> Size:
        """(height, width) of the upright image."""

    def people(self, index: int) -> People:
        """Everybody in it, in its pixels."""

    def origin(self, index: int) -> Origin:
        """Where it comes from; its matrix is the identity."""

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        """Its pixels and the matrix that leads to them; at a small `scale` they may be a reduced copy."""


@dataclass(frozen=True)
class Limits:
    """Which persons stay after a warp."""

    side: float = 2.0  # pixels that width and height must exceed
    area: float = 0.1  # share of the person's box that must be left
    aspect: float = 20.0  # longer to shorter side at most
    seen: bool = False  # at least one keypoint must be left


def kept(people: People, boxes_before: np.ndarray, limits: Limits) -> np.ndarray:
    """Who stays: (N) bool. `boxes_before` are the uncut boxes at the scale of the new ones."""
    width, height = (people.boxes[:, 2:] - people.boxes[:, :2]).T
    stays = (width > limits.side) & (height > limits.side)
    if limits.area > 0:
        stays &= box_areas(people.boxes) > limits.area * box_areas(boxes_before)
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    stays &= longer < limits.aspect * np.maximum(shorter, 1e-9)
    if limits.seen:
        stays &= (people.visibility > 0).any(1)
    return stays
