"""Poses onto pixels, for any skeleton: sides by colour, confidence by opacity, legible on light and on dark."""

import colorsys
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from utils.core.images import blank, resize
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema

Colour = tuple[int, int, int]  # RGB

LEFT, RIGHT, MIDDLE = (255, 159, 28), (46, 180, 241), (246, 246, 246)  # of the person, not of the picture
ALONE = (255, 92, 122)  # a skeleton of one keypoint
INK = (22, 24, 28)  # the rim around everything, and the letters
PAPER = (250, 250, 250)
PALETTE = (
    (123, 211, 137), (255, 209, 102), (239, 131, 158), (133, 169, 255), (255, 159, 104), (102, 217, 208),
    (201, 160, 240), (196, 214, 90), (240, 120, 120), (150, 206, 245), (222, 184, 135), (180, 190, 200),
)  # fmt: skip
LEVELS = (0.4, 0.6, 0.8, 1.0)  # opacities; a person is drawn in one layer for each
SURE = 0.8  # from this score on, a keypoint is opaque
SHIFT = 4  # coordinates are drawn in sixteenths of a pixel


@dataclass(frozen=True)
class Style:
    """How people are drawn. A line width of None follows the size of the picture and of each person."""

    boxes: bool = True
    labels: bool = True  # class, if there are several, and id, in a tag above the box
    scores: bool = True  # in the same tag
    bones: bool = True
    keypoints: bool = True
    names: bool = False  # of keypoints
    classes: tuple[str, ...] = ()
    keypoint_threshold: float = 0.3
    line_width: int | None = None
    colour: Colour | None = None  # one for all bones and keypoints, instead of one for each side
    point_colour: Colour | None = None  # another one for keypoints
    radius: float | None = None  # of keypoints, pixels; None follows the line width

    def width(self, size: tuple[int, int]) -> int:
        """Line width for a picture of (height, width)."""
        return self.line_width or max(1, round(0.0022 * (size[0] + size[1])))


def draw_poses(image: np.ndarray, poses: Poses, schema: KeypointSchema, style: Style = Style()) -> np.ndarray:
    """A copy of an RGB image with its people on it, the best in front."""
    canvas, poses = image.copy(), poses.numpy()
    width = style.width(image.shape[:2])
    behind = range(len(poses) - 1, -1, -1)
    colours = [_person_colour(poses, i) for i in range(len(poses))]
    if style.boxes:
        for i in behind:
            _box(canvas, poses.boxes[i], colours[i], max(1, round(width / 2)))
    for i in behind:
        _person(canvas, poses.keypoints[i], poses.keypoint_scores[i], schema, style, _own_width(poses, i, width, style))
    if style.boxes and (style.labels or style.scores):
        for i in behind:
            _tag(canvas, _label(poses, i, style), poses.boxes[i], colours[i], _text_size(width))
    return canvas


def grid(
    pictures: Sequence[np.ndarray], *, columns: int | None = None, tile: tuple[int, int] = (320, 320)
) -> np.ndarray:
    """Pictures side by side, each scaled to fit a tile of (height, width), on a light ground."""
    columns = columns or max(1, math.ceil(math.sqrt(len(pictures))))
    rows = max(1, math.ceil(len(pictures) / columns))
    gap = max(2, min(tile) // 60)
    page = blank((rows * (tile[0] + gap) + gap, columns * (tile[1] + gap) + gap), PAPER)
    for place, picture in enumerate(pictures):
        scale = min(tile[0] / picture.shape[0], tile[1] / picture.shape[1])
        small = resize(picture, tuple(max(1, round(side * scale)) for side in picture.shape[:2]))
        top = gap + place // columns * (tile[0] + gap) + (tile[0] - small.shape[0]) // 2
        left = gap + place % columns * (tile[1] + gap) + (tile[1] - small.shape[1]) // 2
        page[top : top + small.shape[0], left : left + small.shape[1]] = small
    return page


def caption(image: np.ndarray, text: str, size: float = 1.0) -> None:
    """Words into the upper left corner of a picture, in place; size 1 suits a video of 480 lines."""
    height = max(9, round(20 * size))
    _words(image, text, np.array([5 * size + 2, 1.3 * height]), height)


# ---------------------------------------------------------------------------------------------- one person


def _person(
    canvas: np.ndarray, points: np.ndarray, scores: np.ndarray, schema: KeypointSchema, style: Style, width: int
) -> None:
    """Bones and keypoints in one layer for each opacity, the faintest at the bottom."""
    reach = 4 * max(canvas.shape[:2])  # a keypoint may be far outside; beyond this only its direction matters
    shown = (scores >= style.keypoint_threshold) & np.isfinite(points).all(-1)
    if not shown.any():
        return
    points = np.where(shown[:, None], points, 0).clip(-reach, reach)
    opacities = _opacities(scores, style.keypoint_threshold)
    bones = [(a, b) for a, b in schema.skeleton if style.bones and shown[a] and shown[b]]
    dots = np.flatnonzero(shown) if style.keypoints else ()
    colours = point_colours(schema) if style.colour is None else (style.colour,) * schema.count
    dot_colours = colours if style.point_colour is None else (style.point_colour,) * schema.count
    # Larger where there are too few keypoints to make a figure.
    radius = style.radius or width * (1.0 if schema.count > 4 else 1.8) + 0.5
    for level in LEVELS:
        lines = [(a, b) for a, b in bones if min(opacities[a], opacities[b]) == level]
        circles = [k for k in dots if opacities[k] == level]
        touched = sorted({*circles, *(end for bone in lines for end in bone)})
        room = _room(points[touched], 1.5 * max(width, radius), canvas.shape) if touched else None
        if room is not None:
            region, shifted = canvas[room], points - (room[1].start, room[0].start)
            layer = region if level == 1 else region.copy()
            _lines(layer, shifted, lines, colours, width)
            _circles(layer, shifted, circles, dot_colours, radius, _rim(width))
            if level < 1:
                cv2.addWeighted(layer, level, region, 1 - level, 0, dst=region)
    if style.names:
        for k in np.flatnonzero(shown):
            _words(canvas, schema.names[k], points[k] + (width + 3, -width - 1), max(9, _text_size(width) - 3))


def _lines(
    layer: np.ndarray, points: np.ndarray, bones: Sequence[tuple[int, int]], colours: Sequence[Colour], width: int
) -> None:
    """All rims first: a person has one outline, not one for each bone."""
    ends = [(_fixed(points[a]), _fixed(points[b]), _bone_colour(colours[a], colours[b])) for a, b in bones]
    for a, b, _ in ends:
        cv2.line(layer, a, b, INK, width + 2 * _rim(width), cv2.LINE_AA, SHIFT)
    for a, b, colour in ends:
        cv2.line(layer, a, b, colour, width, cv2.LINE_AA, SHIFT)


def _circles(
    layer: np.ndarray, points: np.ndarray, chosen: Sequence[int], colours: Sequence[Colour], radius: float, rim: int
) -> None:
    """A filled circle with a rim; a large one has a light middle."""
    for k in chosen:
        centre = _fixed(points[k])
        cv2.circle(layer, centre, _sixteenths(radius + rim), INK, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(layer, centre, _sixteenths(radius), colours[k], -1, cv2.LINE_AA, SHIFT)
        if radius >= 3:
            cv2.circle(layer, centre, _sixteenths(radius * 0.45), PAPER, -1, cv2.LINE_AA, SHIFT)


def _opacities(scores: np.ndarray, threshold: float) -> np.ndarray:
    share = np.clip((scores - threshold) / max(SURE - threshold, 1e-6), 0, 1)
    return np.take(LEVELS, np.round(np.nan_to_num(share) * (len(LEVELS) - 1)).astype(int))


def _room(points: np.ndarray, reach: float, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """The part of the picture that a person's lines can touch, or None when all are outside."""
    margin = 2 * reach + 4
    left, top = np.floor(points.min(0) - margin).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(points.max(0) + margin).astype(int), (shape[1], shape[0]))
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _own_width(poses: Poses, index: int, width: int, style: Style) -> int:
    """Thinner lines for people who are small in the picture, unless a width was asked for."""
    if style.line_width is not None:
        return width
    left, top, right, bottom = poses.boxes[index]
    return round(float(np.clip(0.022 * np.nan_to_num(max(right - left, bottom - top)), 1, width)))


# ---------------------------------------------------------------------------------------------- boxes and words


def _box(canvas: np.ndarray, box: np.ndarray, colour: Colour, width: int) -> None:
    (left, top), (right, bottom) = _whole(box, canvas.shape)
    beyond = width // 2 + 1  # the rim is on the outside only: people stay as they are
    cv2.rectangle(canvas, (left - beyond, top - beyond), (right + beyond, bottom + beyond), INK, 1)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, width)


def _label(poses: Poses, index: int, style: Style) -> str:
    """What the tag of a person says: 'rider 3 0.87', each part only where it tells something."""
    parts = []
    if style.labels and len(style.classes) > 1:
        parts.append(style.classes[int(poses.classes[index])])
    if style.labels and poses.ids is not None:
        parts.append(f"#{int(poses.ids[index])}" if not parts else f"{int(poses.ids[index])}")
    if style.scores:
        parts.append(f"{poses.scores[index]:.2f}")
    return " ".join(parts)


def _tag(canvas: np.ndarray, text: str, box: np.ndarray, colour: Colour, size: int) -> None:
    """A filled tag on the upper left corner of a box, inside the picture."""
    if not text:
        return
    (left, top), _ = _whole(box, canvas.shape)
    height, width = size + 5, _text_width(text, size) + 8
    left = max(0, min(left - 1, canvas.shape[1] - width))
    top = top - height if top >= height else top
    cv2.rectangle(canvas, (left, top), (left + width - 1, top + height - 1), colour, -1)
    _write(canvas, text, (left + 4, top + height - 5), INK, size, 600)


def _words(canvas: np.ndarray, text: str, place: np.ndarray, size: int) -> None:
    """Small words with a rim, for keypoint names."""
    x, y = (int(value) for value in np.round(place))
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        _write(canvas, text, (x + dx, y + dy), INK, size, 500)
    _write(canvas, text, (x, y), PAPER, size, 500)


def _write(canvas: np.ndarray, text: str, place: tuple[int, int], colour: Colour, size: int, weight: int) -> None:
    cv2.putText(canvas, text, place, colour, _font(), size, weight)


@lru_cache(maxsize=512)
def _text_width(text: str, size: int) -> int:
    return int(cv2.getTextSize((0, 0), text, (0, 0), _font(), size, 600)[2])


@lru_cache(maxsize=1)
def _font() -> "cv2.FontFace":
    return cv2.FontFace("sans")


def _text_size(width: int) -> int:
    return max(8, 5 * width + 3)


# ---------------------------------------------------------------------------------------------- colours and numbers


@lru_cache(maxsize=16)
def _point_colours(names: tuple[str, ...], swap: tuple[int, ...]) -> tuple[Colour, ...]:
    if all(mirror == k for k, mirror in enumerate(swap)):
        return _rainbow(len(names))
    return tuple(
        MIDDLE if mirror == k else LEFT if _is_left(names[k], first=k < mirror) else RIGHT
        for k, mirror in enumerate(swap)
    )


def point_colours(schema: KeypointSchema) -> tuple[Colour, ...]:
    """One colour for each keypoint: by its side, or around the circle of colours where nothing has a side."""
    return _point_colours(schema.names, schema.swap)


def _is_left(name: str, *, first: bool) -> bool:
    """By the name; the first of a pair where the name does not say."""
    said = re.search(r"(?P<left>left|(?<![a-z])l(?![a-z]))|right|(?<![a-z])r(?![a-z])", name.lower())
    return bool(said["left"]) if said else first


def _rainbow(count: int) -> tuple[Colour, ...]:
    if count == 1:
        return (ALONE,)
    shares = (colorsys.hls_to_rgb(0.95 * k / count, 0.62, 0.95) for k in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shares)


def _bone_colour(first: Colour, second: Colour) -> Colour:
    """The side that a bone belongs to; a bone between both sides is in the middle."""
    if {first, second} == {LEFT, RIGHT}:
        return MIDDLE
    return first if second == MIDDLE else second


def _person_colour(poses: Poses, index: int) -> Colour:
    """By id when people are followed, else by class."""
    number = poses.classes[index] if poses.ids is None else poses.ids[index]
    return PALETTE[int(number) % len(PALETTE)]


def _rim(width: int) -> int:
    return max(1, round(width / 4))


def _whole(box: np.ndarray, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last pixel of a box."""
    limits = np.array([shape[1], shape[0]] * 2) - 1
    left, top, right, bottom = np.clip(np.round(np.nan_to_num(box) - (0, 0, 1, 1)), 0, limits).astype(int).tolist()
    return (left, top), (right, bottom)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """A point for OpenCV, which counts from the centre of the first pixel, in fractions of a pixel."""
    return _sixteenths(float(point[0]) - 0.5), _sixteenths(float(point[1]) - 0.5)


def _sixteenths(value: float) -> int:
    return round(value * (1 << SHIFT))
