"""Person crops for top-down families: which part of the image shows a person, and what a recipe does to it."""

from dataclasses import dataclass

import numpy as np

from utils.core import images
from utils.core.geometry import (
    Coding,
    Matrix,
    chain,
    crop_matrix,
    in_pixel_indices,
    inverse,
    magnification,
    mirror,
    person_extent,
)
from utils.core.schema import KeypointSchema
from utils.data.augment import coloured, draw_tables
from utils.data.recipe import Augment
from utils.data.sample import People, Pixels, Sample, Size, sample_of

HALF_BODY_MARGIN = 1.5  # room around half a person, as in the HRNet code
UPPER_BELOW = 0.5  # a normal draw below this takes the upper half: 69 %, as in the HRNet code
FEWEST = 2  # a half with no more labelled keypoints than this is not worth a crop
LOWER_BODY = ("hip", "knee", "ankle", "foot", "heel", "toe")


@dataclass(frozen=True)
class Framing:
    """Where a crop lies in its image, and how it is turned and mirrored."""

    centre: np.ndarray  # (2)
    extent: np.ndarray  # (2) width and height
    degrees: float = 0.0
    mirrored: bool = False

    def matrix(self, source: Size, size: Size, coding: Coding = "published") -> Matrix:
        """From an image of (height, width) to a crop; as published, it counts from pixel centres."""
        if not self.mirrored:
            return crop_matrix(self.centre, self.extent, size, self.degrees, coding)
        # The image is mirrored before it is turned; between pixel centres it is one pixel less wide.
        flip = mirror(source[1] - 1)
        centre = np.array([source[1] - 1 - self.centre[0], self.centre[1]])
        return chain(flip, crop_matrix(centre, self.extent, size, self.degrees, coding))


def trimmed_box(box: np.ndarray, source: Size) -> np.ndarray:
    """An annotated box cut to its image as the HRNet code does it, one pixel narrower and lower."""
    low = np.maximum(box[:2], 0.0)
    sides = np.maximum(box[2:] - box[:2] - 1, 0.0)
    high = np.minimum(low + sides, (source[1] - 1, source[0] - 1))
    return np.concatenate((low, high))


def lower_body(schema: KeypointSchema) -> np.ndarray:
    """Which keypoints belong to the lower half: the group `lower_body`, else those named after its joints."""
    if "lower_body" in schema.groups:
        return np.isin(np.arange(schema.count), schema.groups["lower_body"])
    return np.array([any(part in name.lower() for part in LOWER_BODY) for name in schema.names], bool)


def draw_framing(
    box: np.ndarray,
    person: People,
    *,
    size: Size,
    augment: Augment,
    schema: KeypointSchema,
    rng: np.random.Generator,
) -> Framing:
    """A crop around a person, sometimes half of one, at a drawn scale and angle."""
    centre, extent = person_extent(box, size)
    labelled = person.visibility[0] > 0  # (K)
    halved, upper_first = rng.random() < augment.half_body, rng.standard_normal() < UPPER_BELOW
    if halved and labelled.sum() > augment.half_body_over:
        half = choose_half(labelled, lower_body(schema), upper_first=upper_first)
        if half is not None:
            centre, extent = half_body_extent(person.keypoints[0][half], size)
    spread = augment.crop_scale
    extent = extent * (1 + np.clip(rng.standard_normal() * spread, -spread, spread))
    turned, angle = rng.random() < augment.rotation_chance, rng.standard_normal() * augment.rotation
    degrees = float(np.clip(angle, -2 * augment.rotation, 2 * augment.rotation)) if turned else 0.0
    return Framing(centre, extent, degrees, mirrored=rng.random() < augment.fliplr)


def choose_half(labelled: np.ndarray, lower: np.ndarray, *, upper_first: bool) -> np.ndarray | None:
    """The labelled keypoints (K) of the half to show; None where it has too few."""
    halves = labelled & ~lower, labelled & lower
    chosen = halves[0] if (upper_first and halves[0].sum() > FEWEST) or halves[1].sum() <= FEWEST else halves[1]
    return chosen if chosen.sum() >= FEWEST else None


def half_body_extent(points: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Centre and extent of a crop around some keypoints (N, 2): their mean, and the room they take."""
    box = np.concatenate((points.min(0), points.max(0)))
    return points.mean(0), person_extent(box, size, HALF_BODY_MARGIN)[1]


def cropped(
    pixels: Pixels, index: int, person: People, framing: Framing, *, size: Size, coding: Coding = "published"
) -> Sample:
    """The crop that a framing shows, with its one person; in a mirrored one the names are still to be exchanged."""
    matrix = framing.matrix(pixels.size(index), size, coding)
    image, reduction = pixels.image(index, magnification(matrix))
    crop = images.crop(image, _between_centres(reduction, matrix), size)
    # Keypoints beyond the edge stay labelled: a bell may reach in, and each family has its own rule for them.
    return sample_of(crop, person.carried(matrix), pixels.origin(index).under(matrix))


def _between_centres(reduction: Matrix, matrix: Matrix) -> Matrix:
    """The crop's matrix for a reduced copy; the reduction counts from corners, the crop from centres."""
    return chain(in_pixel_indices(inverse(reduction)), matrix)


def draw_crop(
    pixels: Pixels,
    index: int,
    person: People,
    *,
    size: Size,
    augment: Augment,
    schema: KeypointSchema,
    rng: np.random.Generator,
    coding: Coding = "published",
) -> Sample:
    """A training crop of one person."""
    box = trimmed_box(person.boxes[0], pixels.size(index))
    framing = draw_framing(box, person, size=size, augment=augment, schema=schema, rng=rng)
    sample = cropped(pixels, index, person, framing, size=size, coding=coding)
    sample = sample.renamed(schema) if framing.mirrored else sample
    return coloured(sample, draw_tables(augment, rng))
