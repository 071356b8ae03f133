"""The steps of the image recipes: mosaics of 4 and 9, one random movement, mixup, colour and flips.

A step composes matrices and touches pixels once: every image is decoded once and warped once, straight into the
network's input. There is no large canvas in between, although the matrices go through one as in the publications.
"""

from dataclasses import replace

import cv2
import numpy as np

from utils.core import images
from utils.core.geometry import (
    Fit,
    Matrix,
    box_corners,
    chain,
    identity,
    inverse,
    letterbox,
    magnification,
    mirror,
    move_boxes,
    move_points,
    scaling,
    translation,
)
from utils.core.schema import KeypointSchema
from utils.data.recipe import Augment, Movement, draw_movement
from utils.data.sample import Limits, People, Pixels, Sample, Size, joined, kept, sample_of


def augmented(
    pixels: Pixels,
    index: int,
    *,
    size: Size,
    augment: Augment,
    schema: KeypointSchema,
    rng: np.random.Generator,
    fit: Fit | None = None,
) -> Sample:
    """One training sample of (height, width), as the recipe says."""
    if rng.random() < augment.mosaic:
        sample = draw_mosaic(pixels, index, size=size, augment=augment, rng=rng)
        if rng.random() < augment.mixup:
            sample = mix(pixels, sample, augment=augment, schema=schema, rng=rng)
    else:
        sample = single(pixels, index, size=size, movement=draw_movement(augment, rng), augment=augment, fit=fit)
    sample = coloured(sample, draw_tables(augment, rng))
    if rng.random() < augment.flipud:
        sample = sample.upended()
    if rng.random() < augment.fliplr:
        sample = sample.flipped(schema)
    return sample


# ---------------------------------------------------------------------------------------------- one image


def single(
    pixels: Pixels, index: int, *, size: Size, movement: Movement, augment: Augment, fit: Fit | None = None
) -> Sample:
    """One image, letterboxed and moved, by a single matrix."""
    boxed, _ = letterbox(pixels.size(index), size, fit)
    # A movement that does nothing must not cost the exact resize: floating point would make it a warp.
    matrix = boxed if _is_still(movement) else chain(boxed, movement.matrix(size, size))
    image, reduction = pixels.image(index, magnification(matrix))
    if _is_still(movement):
        canvas = images.warp(image, chain(inverse(reduction), matrix), size)
    else:
        canvas = images.blank(size)
        corners = move_points(box_corners(_frame(pixels.size(index))), matrix)
        matrix = chain(reduction, images.paint(canvas, image, chain(inverse(reduction), matrix), corners))
    people = pixels.people(index)
    before = move_boxes(people.boxes, chain(boxed, _as_scaling(movement.scale)))
    people = people.carried(matrix).cut_to(size)
    people = people.chosen(kept(people, before, augment.limits))
    return sample_of(canvas, people, pixels.origin(index).under(matrix))


def _frame(size: Size) -> np.ndarray:
    """The whole image as a box (4)."""
    return np.array([0.0, 0.0, size[1], size[0]])


def _is_still(movement: Movement) -> bool:
    return movement == Movement(about=movement.about)


def _as_scaling(scale: float) -> Matrix:
    return scaling(scale, scale)


# ---------------------------------------------------------------------------------------------- mosaics


def draw_mosaic(pixels: Pixels, index: int, *, size: Size, augment: Augment, rng: np.random.Generator) -> Sample:
    """A mosaic of this image and three or eight others, at a drawn place and under a drawn movement."""
    nine = rng.random() < augment.mosaic9
    others = rng.integers(len(pixels), size=8 if nine else 3)
    where = rng.uniform(size=2)
    chosen = (index, *(int(other) for other in others))
    movement = draw_movement(augment, rng)
    matrices = place_nine if nine else place_four
    tiles = matrices([pixels.size(i) for i in chosen], size, (float(where[0]), float(where[1])))
    return mosaic(pixels, chosen, tiles, size=size, movement=movement, augment=augment)


def place_four(sizes: list[Size], size: Size, where: tuple[float, float]) -> list[Matrix]:
    """Four images around one point of a canvas of twice the size; `where` (x, y) in 0..1 is the point.

    The matrices lead from each original to the canvas: top left, top right, bottom left, bottom right.
    """
    x, y = int(size[1] * (0.5 + where[0])), int(size[0] * (0.5 + where[1]))
    matrices = []
    for i, source in enumerate(sizes):
        boxed, (height, width) = letterbox(source, size, Fit(rounding="down", place="corner"))
        left, top = (x, x - width)[i % 2 == 0], (y, y - height)[i < 2]
        matrices.append(chain(boxed, translation(left, top)))
    return matrices


def place_nine(sizes: list[Size], size: Size, where: tuple[float, float]) -> list[Matrix]:
    """Nine images in a grid of three by three around the first; `where` says which part of it the canvas shows.

    Each touches the middle cell or lies in the middle of its own, so that the people of one are close to another's.
    """
    column_row = [(1, 1), (0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    matrices = []
    for (column, row), source in zip(column_row, sizes, strict=True):
        boxed, (height, width) = letterbox(source, size, Fit(rounding="down", place="corner"))
        left = (size[1] - width, size[1] + (size[1] - width) // 2, 2 * size[1])[column]
        top = (size[0] - height, size[0] + (size[0] - height) // 2, 2 * size[0])[row]
        window = translation(-int(where[0] * size[1]), -int(where[1] * size[0]))
        matrices.append(chain(boxed, translation(left, top), window))
    return matrices


def mosaic(
    pixels: Pixels,
    chosen: tuple[int, ...],
    tiles: list[Matrix],
    *,
    size: Size,
    movement: Movement,
    augment: Augment,
) -> Sample:
    """Several images on a canvas of twice the size, moved into the input; each is warped once, straight into place."""
    canvas_size = (2 * size[0], 2 * size[1])
    move = movement.matrix(canvas_size, size)
    canvas = images.blank(size)
    groups, placed = [], []
    for index, tile in zip(chosen, tiles, strict=True):
        matrix = _paint_tile(canvas, pixels, index, tile, move)
        groups.append(pixels.people(index).carried(chain(matrix, inverse(move))).cut_to(canvas_size))
        placed.append(matrix)
    people = moved(joined(groups), movement, canvas=canvas_size, size=size, limits=augment.limits)
    return sample_of(canvas, people, pixels.origin(chosen[0]).under(placed[0]))


def _paint_tile(canvas: np.ndarray, pixels: Pixels, index: int, tile: Matrix, move: Matrix) -> Matrix:
    """Paint what shows of one image, if anything does; returns the matrix from its pixels to the canvas."""
    size, matrix = canvas.shape[:2], chain(tile, move)
    corners = _covered(pixels.size(index), tile, (2 * size[0], 2 * size[1]))
    if corners is None:
        return matrix
    corners = move_points(corners, move)
    if (corners.max(0) <= 0).any() or (corners.min(0) >= size[::-1]).any():
        return matrix
    image, reduction = pixels.image(index, magnification(matrix))
    return chain(reduction, images.paint(canvas, image, chain(inverse(reduction), matrix), corners))


def _covered(source: Size, tile: Matrix, canvas: Size) -> np.ndarray | None:
    """The corners (4, 2) of the part of the canvas that an image covers; None where it misses the canvas."""
    box = move_boxes(_frame(source), tile)
    box = np.concatenate((box[:2].clip(0), np.minimum(box[2:], canvas[::-1])))
    return box_corners(box) if (box[2:] > box[:2]).all() else None


def moved(people: People, movement: Movement, *, canvas: Size, size: Size, limits: Limits) -> People:
    """The people of a canvas in the input, without those of whom too little is left."""
    before = move_boxes(people.boxes, _as_scaling(movement.scale))
    people = people.carried(movement.matrix(canvas, size)).cut_to(size)
    return people.chosen(kept(people, before, limits))


# ---------------------------------------------------------------------------------------------- mixup


def mix(
    pixels: Pixels, sample: Sample, *, augment: Augment, schema: KeypointSchema, rng: np.random.Generator
) -> Sample:
    """Two samples in one picture: YOLO-Pose blends in a second mosaic, YOLOX a single image half and half."""
    other = int(rng.integers(len(pixels)))
    if augment.mixup_style == "mosaic":
        second = draw_mosaic(pixels, other, size=sample.size, augment=augment, rng=rng)
        return blend(sample, second, float(rng.beta(8, 8)))
    scale, flip, where = rng.uniform(*augment.mixup_scale), rng.random() > 0.5, rng.random(2)
    if not len(pixels.people(other)):
        return sample
    matrix = place_mixed(pixels.size(other), sample.size, scale=scale, flip=flip, where=(where[0], where[1]))
    second = alone(pixels, other, matrix, sample.size, augment.limits)
    return blend(sample, second.renamed(schema) if flip else second, 0.5)


def place_mixed(source: Size, size: Size, *, scale: float, flip: bool, where: tuple[float, float]) -> Matrix:
    """YOLOX: letterboxed into the corner, scaled, mirrored, and a window of the input's size cut out of it."""
    boxed, _ = letterbox(source, size, Fit(rounding="down", place="corner"))
    height, width = int(size[0] * scale), int(size[1] * scale)
    scaled = scaling(width / size[1], height / size[0])
    left, top = int(max(width - size[1], 0) * where[0]), int(max(height - size[0], 0) * where[1])
    return chain(boxed, scaled, mirror(width) if flip else identity(), translation(-left, -top))


def alone(pixels: Pixels, index: int, matrix: Matrix, size: Size, limits: Limits) -> Sample:
    """One image under a matrix; grey where it does not reach."""
    image, reduction = pixels.image(index, magnification(matrix))
    canvas = images.warp(image, chain(inverse(reduction), matrix), size)
    before = pixels.people(index).carried(matrix)
    people = before.cut_to(size)
    people = people.chosen(kept(people, before.boxes, limits))
    return sample_of(canvas, people, pixels.origin(index).under(matrix))


def blend(first: Sample, second: Sample, share: float) -> Sample:
    """Both pictures at once, the first with this share, and everybody in them."""
    image = cv2.addWeighted(first.image, share, second.image, 1 - share, 0)
    return sample_of(image, joined((first.labels, second.labels)), first.origin)


# ---------------------------------------------------------------------------------------------- colour


def draw_tables(augment: Augment, rng: np.random.Generator) -> np.ndarray | None:
    """What every hue, saturation and value becomes: (256, 3) uint8; None when the recipe leaves colours alone."""
    spread = np.array([augment.hsv_h, augment.hsv_s, augment.hsv_v])
    gains = rng.uniform(-1, 1, 3) * spread + 1
    steps = rng.uniform(-1, 1, 3) * augment.hsv_add * (rng.random(3) < 0.5)
    if not spread.any() and not any(augment.hsv_add):
        return None
    return colour_tables(gains, steps)


def colour_tables(gains: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Tables for hue, saturation and value; OpenCV's hue is half of an angle and wraps at 180."""
    values = np.arange(256)[:, None] * gains + np.trunc(steps)  # (256, 3)
    values[:, 0] %= 180
    return values.clip(0, 255).astype(np.uint8)


def coloured(sample: Sample, tables: np.ndarray | None) -> Sample:
    if tables is None:
        return sample
    hsv = cv2.cvtColor(sample.image, cv2.COLOR_RGB2HSV)
    hsv = cv2.LUT(hsv, tables[None], dst=hsv)
    return replace(sample, image=cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=hsv))
