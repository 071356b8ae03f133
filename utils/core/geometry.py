"""Boxes, points and the 3x3 matrices that move them; the one place that knows where a pixel's centre is.

Coordinates are continuous: an image of width W spans 0..W, pixel i covers i..i+1 and its centre is i + 0.5. A mirror
image is therefore `W - x`. OpenCV's `warpAffine` counts from pixel centres instead; `in_pixel_indices` translates.
Every function that moves points or boxes takes numpy arrays and torch tensors alike. Matrices are numpy float64.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)
Matrix = np.ndarray  # (3, 3) float64
Coding = Literal["published", "unbiased"]  # how person crops are measured: as in HRNet, or as in UDP


# ---------------------------------------------------------------------------------------------- matrices


def identity() -> Matrix:
    return np.eye(3)


def scaling(x: float, y: float) -> Matrix:
    return np.diag([float(x), float(y), 1.0])


def translation(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def rotation(degrees: float) -> Matrix:
    """Turn about the origin; positive turns x towards y, clockwise on a screen."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def mirror(width: float) -> Matrix:
    """Left becomes right in an image of this width."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def upside_down(height: float) -> Matrix:
    return np.array([[1.0, 0.0, 0.0], [0.0, -1.0, height], [0.0, 0.0, 1.0]])


def chain(*matrices: Matrix) -> Matrix:
    """One matrix that does these one after another, the first one first."""
    product = matrices[0] if matrices else identity()
    for matrix in matrices[1:]:
        product = matrix @ product
    return product


def inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(matrix)


def in_pixel_indices(matrix: Matrix) -> Matrix:
    """The same movement for a library whose pixel i has its centre at i, not at i + 0.5 (cv2.warpAffine)."""
    return chain(translation(0.5, 0.5), matrix, translation(-0.5, -0.5))


def from_pixel_indices(matrix: Matrix) -> Matrix:
    """The way back: a movement between pixel indices, for us who count from the pixels' corners."""
    return chain(translation(-0.5, -0.5), matrix, translation(0.5, 0.5))


def shearing(x_degrees: float, y_degrees: float) -> Matrix:
    """Slant: x grows with y by the tangent of the first angle, y with x by that of the second."""
    x, y = np.tan(np.deg2rad([x_degrees, y_degrees]))
    return np.array([[1.0, x, 0.0], [y, 1.0, 0.0], [0.0, 0.0, 1.0]])


def tilting(x: float, y: float) -> Matrix:
    """Perspective: depth grows by these per pixel."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [x, y, 1.0]])


def magnification(matrix: Matrix) -> float:
    """By how much lengths grow at most, perspective aside."""
    (a, b), (c, d) = (matrix[:2, :2] / matrix[2, 2]).tolist()
    # The larger singular value in closed form: a sample asks for it once per image.
    half = (a * a + b * b + c * c + d * d) / 2
    return float(np.sqrt(half + np.sqrt(max(half * half - (a * d - b * c) ** 2, 0.0))))


def is_scale_and_shift(matrix: Matrix) -> bool:
    """True when the axes stay axes and nothing is mirrored: a resize and a border can do it."""
    (x, slant, _), (rise, y, _), (tilt_x, tilt_y, depth) = matrix.tolist()
    return max(abs(slant), abs(rise), abs(tilt_x), abs(tilt_y)) < 1e-9 and x > 0 and y > 0 and depth == 1


def is_affine(matrix: Matrix) -> bool:
    """True when parallel lines stay parallel."""
    return matrix[2].tolist() == [0.0, 0.0, 1.0]


@dataclass(frozen=True)
class Fit:
    """How an image is put into a rectangle. The defaults are YOLO's; the families' published pipelines differ."""

    # Of the copy's sides. "none" keeps the ratio exact, and pixels are counted from their centres, as mmpose does.
    rounding: Literal["nearest", "down", "none"] = "nearest"
    place: Literal["centre", "corner"] = "centre"  # "corner": padding only on the right and below
    smooth: bool = True  # average when shrinking, instead of sampling


def letterbox(
    source: tuple[int, int], target: tuple[int, int], fit: Fit | None = None, *, longest: int | None = None
) -> tuple[Matrix, tuple[float, float]]:
    """The largest copy of an image inside a target; sizes are (height, width), no side exceeds `longest`.

    Returns the matrix and the size of the copy. The copy has whole pixels and starts on a whole pixel, so its two
    scales can differ in the last digit: the matrix is what really happens to a point. Without rounding the matrix is
    the published one, as for person crops, and `images.fit` goes with it.
    """
    fit = fit or Fit()
    ratio = min(target[0] / source[0], target[1] / source[1])
    if longest is not None:
        ratio = min(ratio, longest / max(source))
    whole = {"nearest": round, "down": int, "none": float}[fit.rounding]
    height, width = (whole(side * ratio) if fit.rounding == "none" else max(whole(side * ratio), 1) for side in source)
    if fit.place == "corner":
        top, left = 0, 0
    elif fit.rounding == "none":
        top, left = (target[0] - height) / 2, (target[1] - width) / 2
    else:  # with an odd rest the smaller half comes first, as in the published preprocessing
        top, left = (target[0] - height) // 2, (target[1] - width) // 2
    return chain(scaling(width / source[1], height / source[0]), translation(left, top)), (height, width)


# ---------------------------------------------------------------------------------------------- person crops
# Published top-down pipelines count from pixel centres, in images, crops and heat maps alike; so do these matrices,
# and weights trained elsewhere get the pixels and give the numbers that they always did. `images.crop` goes with them.

CROP_MARGIN = 1.25  # room around a person, as in the HRNet paper


def person_extent(box: np.ndarray, size: tuple[int, int], margin: float = CROP_MARGIN) -> tuple[np.ndarray, np.ndarray]:
    """Centre and (width, height) of the crop of (height, width) pixels that shows the person in a box with room."""
    sides = np.asarray(box[2:] - box[:2], np.float64)
    aspect = size[1] / size[0]
    width = max(sides[0], sides[1] * aspect)
    return (box[:2] + box[2:]) / 2.0, np.array([width, width / aspect]) * margin


def person_crop(centre: np.ndarray, extent: np.ndarray, size: tuple[int, int], degrees: float = 0.0) -> Matrix:
    """From the image to a crop of (height, width), turned by -degrees about its centre: HRNet's convention."""
    scale = size[1] / extent[0]
    return chain(
        translation(-centre[0], -centre[1]),
        rotation(-degrees),
        scaling(scale, scale),
        translation(size[1] / 2, size[0] / 2),
    )


def unbiased_person_crop(centre: np.ndarray, extent: np.ndarray, size: tuple[int, int], degrees: float = 0.0) -> Matrix:
    """The same for UDP, which measures in intervals between pixels; positive degrees turn the other way there."""
    return chain(
        translation(-centre[0], -centre[1]),
        rotation(degrees),
        translation(extent[0] / 2, extent[1] / 2),
        scaling((size[1] - 1) / extent[0], (size[0] - 1) / extent[1]),
    )


def crop_matrix(
    centre: np.ndarray, extent: np.ndarray, size: tuple[int, int], degrees: float = 0.0, coding: Coding = "published"
) -> Matrix:
    """The crop as a family's weights expect it."""
    make = person_crop if coding == "published" else unbiased_person_crop
    return make(centre, extent, size, degrees)


# ---------------------------------------------------------------------------------------------- points


def move_points(points: Array, matrix: Matrix) -> Array:
    """Points (..., 2) under a matrix."""
    if isinstance(points, torch.Tensor) and not points.is_floating_point():
        points = points.float()  # a half pixel has no place in whole numbers
    m = _like(matrix, points)
    moved = points @ m[:2, :2].T + m[:2, 2]  # (..., 2)
    if is_affine(matrix):
        return moved
    depth = points @ m[2, :2] + m[2, 2]  # (...)
    return moved / depth[..., None]


def inside(points: Array, size: tuple[int, int]) -> Array:
    """Which points (..., 2) lie in an image of (height, width)."""
    height, width = size
    x, y = points[..., 0], points[..., 1]
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def area_factors(points: Array, matrix: Matrix) -> Array:
    """By how much a small area around each of the points (..., 2) grows under a matrix."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    growth = abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))  # the determinant
    depth = points[..., 0] * g + points[..., 1] * h + i  # (...)
    return growth / abs(depth) ** 3


# ---------------------------------------------------------------------------------------------- boxes


def cxcywh_to_xyxy(boxes_cxcywh: Array) -> Array:
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return _join(centre - half, centre + half)


def xyxy_to_cxcywh(boxes: Array) -> Array:
    low, high = boxes[..., :2], boxes[..., 2:]
    return _join((low + high) / 2, high - low)


def xywh_to_xyxy(boxes_xywh: Array) -> Array:
    """COCO's left, top, width, height."""
    return _join(boxes_xywh[..., :2], boxes_xywh[..., :2] + boxes_xywh[..., 2:])


def xyxy_to_xywh(boxes: Array) -> Array:
    return _join(boxes[..., :2], boxes[..., 2:] - boxes[..., :2])


def box_areas(boxes: Array) -> Array:
    sides = boxes[..., 2:] - boxes[..., :2]
    return sides[..., 0] * sides[..., 1]


def move_boxes(boxes: Array, matrix: Matrix) -> Array:
    """The upright boxes around the moved corners of boxes (..., 4)."""
    if is_scale_and_shift(matrix):
        low, high = move_points(boxes[..., :2], matrix), move_points(boxes[..., 2:], matrix)
        return _join(low, high)
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]]
    corners = move_points(corners.reshape(*boxes.shape[:-1], 4, 2), matrix)  # (..., 4, 2)
    if isinstance(corners, torch.Tensor):
        return _join(corners.amin(-2), corners.amax(-2))
    return _join(corners.min(-2), corners.max(-2))


def box_corners(box: np.ndarray) -> np.ndarray:
    """The corners of one box (4), clockwise: (4, 2)."""
    return box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)


def clip_boxes(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes (..., 4) cut to an image of (height, width)."""
    limits = _like(np.array([size[1], size[0], size[1], size[0]]), boxes)
    if isinstance(boxes, torch.Tensor):
        return torch.minimum(boxes.clamp(min=0), limits)
    return np.minimum(boxes.clip(min=0), limits)


def pairwise_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """IoU of every box (N, 4) with every other (M, 4): (N, M)."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])  # (N, M, 2)
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])  # (N, M, 2)
    shared = (high - low).clamp(min=0).prod(-1)  # (N, M)
    return shared / (box_areas(first)[:, None] + box_areas(second)[None] - shared).clamp(min=1e-9)


def _join(first: Array, second: Array) -> Array:
    if isinstance(first, torch.Tensor):
        return torch.cat((first, second), -1)
    return np.concatenate((first, second), -1)


def _like(values: np.ndarray, array: Array) -> Array:
    """The values as the same kind of array, on the same device, with the same precision."""
    if isinstance(array, torch.Tensor):
        return torch.as_tensor(values, dtype=array.dtype, device=array.device)
    return values.astype(array.dtype if array.dtype.kind == "f" else np.float64)
