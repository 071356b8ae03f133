"""Patches of colour with depth become pixels: who is painted where, smooth edges, and soft light on round parts.

Everything visible is a patch: an outline, a colour, an owner, and the tapered tube whose roundness it shows. Patches
are painted from far to near, as numbers, into one buffer of twice the image's size. That buffer is then read in three
ways: as colours (averaged 2 x 2, which smooths the edges), as owners (masks, boxes, occlusion) and as tubes (light).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

CORNERS = 24  # of every outline; shorter ones repeat their last point
NOBODY = -1  # owner of what is painted but belongs to no figure
OVERSAMPLING = 2
SUBPIXEL_BITS = 4  # outlines are rounded to 1/16 of a sample before painting: the same on every machine
CHUNK = 8192  # pixels lit at once: what is computed for them stays in the cache
STRIP = 16  # rows of pixels
NEUTRAL = 128  # the light that leaves a colour as it is


@dataclass(frozen=True)
class Tubes:
    """The round bodies behind patches, in the picture's plane; each field is (M,) or (M, 2).

    `start` and `end` are pixels; `radius` at either end. `caps` says how much either end is rounded off: 0 where a
    limb goes on, 1 where it ends. `depth` (either end) and `thickness` (towards the camera) share the keypoints' unit.
    """

    start: np.ndarray  # (M, 2)
    end: np.ndarray  # (M, 2)
    radius: np.ndarray  # (M, 2)
    caps: np.ndarray  # (M, 2)
    depth: np.ndarray  # (M, 2)
    thickness: np.ndarray  # (M, 2)

    def chosen(self, index: np.ndarray) -> "Tubes":
        """Some tubes, in the order of the index."""
        return Tubes(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True)
class Patches:
    """Painted shapes; `key` orders those of one layer, the largest (farthest) first."""

    outlines: np.ndarray  # (M, CORNERS, 2) pixels
    layers: np.ndarray  # (M,) painted in this order; figures and objects at one distance share a layer
    keys: np.ndarray  # (M,)
    colours: np.ndarray  # (M, 3) uint8
    owners: np.ndarray  # (M,) index of the figure, or NOBODY
    parts: np.ndarray  # (M,) which part of the figure
    tubes: Tubes

    @classmethod
    def joined(cls, groups: Sequence["Patches"]) -> "Patches":
        """All patches of several groups."""
        tubes = [np.concatenate([getattr(group.tubes, f.name) for group in groups]) for f in fields(Tubes)]
        names = [f.name for f in fields(cls)][:-1]
        return cls(*(np.concatenate([getattr(group, name) for group in groups]) for name in names), Tubes(*tubes))

    def chosen(self, index: np.ndarray) -> "Patches":
        """Some patches, in the order of the index."""
        return Patches(*(getattr(self, f.name)[index] for f in fields(self)[:-1]), self.tubes.chosen(index))

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Canvas:
    """What was painted: `top` holds for every pixel 1 + the patch that is on top there, 0 for the background."""

    patches: Patches  # in painted order
    top: np.ndarray  # (H, W) uint16
    colours: np.ndarray  # (H, W, 4) uint8: colour times coverage, and coverage

    def owners(self) -> np.ndarray:
        """(H, W) int16: the figure on top of every pixel, or NOBODY."""
        return np.append(np.int16(NOBODY), self.patches.owners.astype(np.int16))[self.top]


def capsules(start: np.ndarray, end: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Outlines (M, CORNERS, 2) of two circles each and the lines that touch both; `radius` is (M, 2)."""
    axis = end - start  # (M, 2)
    length = np.maximum(np.hypot(axis[:, 0], axis[:, 1]), 1e-3)
    lean = np.arcsin(np.clip((radius[:, 0] - radius[:, 1]) / length, -1, 1))  # (M,) tilt of the touching lines
    heading = np.arctan2(axis[:, 1], axis[:, 0])
    steps = np.linspace(0, 1, CORNERS // 2)
    front = (heading - np.pi / 2 + lean)[:, None] + steps * (np.pi - 2 * lean)[:, None]  # (M, CORNERS / 2)
    back = (heading + np.pi / 2 - lean)[:, None] + steps * (np.pi + 2 * lean)[:, None]
    around_end = end[:, None] + radius[:, 1, None, None] * np.stack((np.cos(front), np.sin(front)), -1)
    around_start = start[:, None] + radius[:, 0, None, None] * np.stack((np.cos(back), np.sin(back)), -1)
    return np.concatenate((around_end, around_start), 1)


def padded(outline: np.ndarray) -> np.ndarray:
    """An outline of any length as CORNERS points: the last one repeated, or evenly thinned out."""
    if len(outline) > CORNERS:
        return outline[np.linspace(0, len(outline) - 1, CORNERS).astype(int)]
    return np.concatenate((outline, np.repeat(outline[-1:], CORNERS - len(outline), 0)))


def hull(points: np.ndarray) -> np.ndarray:
    """The convex outline (CORNERS, 2) around points (n, 2)."""
    return padded(cv2.convexHull(points.astype(np.float32))[:, 0])


def paint(patches: Patches, size: tuple[int, int]) -> Canvas:
    """Paint all patches, far ones first, for an image of (height, width)."""
    patches = patches.chosen(np.lexsort((-patches.keys, patches.layers)))
    fixed = (patches.outlines * OVERSAMPLING - 0.5) * (1 << SUBPIXEL_BITS)  # cv2 counts from the samples' centres
    fixed = np.rint(np.clip(fixed, -(2**24), 2**24)).astype(np.int32)
    buffer = np.zeros((size[0] * OVERSAMPLING, size[1] * OVERSAMPLING), np.uint16)
    for number, outline in enumerate(fixed, 1):
        cv2.fillPoly(buffer, [outline], number, cv2.LINE_8, SUBPIXEL_BITS)
    palette = np.zeros((len(patches) + 1, 4), np.uint8)
    palette[1:, :3], palette[1:, 3] = patches.colours, 255
    return Canvas(patches, np.ascontiguousarray(buffer[::OVERSAMPLING, ::OVERSAMPLING]), _averaged(buffer, palette))


def _averaged(buffer: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The buffer's numbers as colours, 2 x 2 of them to a pixel; strip by strip, to stay in the processor's cache."""
    height, width = buffer.shape[0] // OVERSAMPLING, buffer.shape[1] // OVERSAMPLING
    colours = np.zeros((height, width, 4), np.uint8)
    packed = palette.view(np.uint32)[:, 0]
    for top in range(0, height, STRIP):
        numbers = buffer[top * OVERSAMPLING : (top + STRIP) * OVERSAMPLING]
        if numbers.any():
            fine = np.take(packed, numbers, mode="clip").view(np.uint8).reshape(*numbers.shape, 4)
            strip = colours[top : top + STRIP]
            cv2.resize(fine, (width, len(strip)), dst=strip, interpolation=cv2.INTER_AREA)
    return colours


def lit(canvas: Canvas, light: np.ndarray) -> np.ndarray:
    """How bright every pixel is (H, W) uint8, NEUTRAL for unchanged; `light` points to the lamp, towards the camera."""
    height, width = canvas.top.shape
    table, axis = _table(canvas.patches.tubes), _directions(canvas.patches.tubes)
    sideways = axis[:, 0] * light[1] - axis[:, 1] * light[0]
    gains = np.stack((sideways, axis @ light[:2])).astype(np.float32)  # (2, M)
    bright = np.full(height * width, 255, np.uint8)
    covered = np.flatnonzero(canvas.top.ravel() > 0)
    for first in range(0, len(covered), CHUNK):
        pixels = covered[first : first + CHUNK]
        patch = canvas.top.ravel()[pixels].astype(np.intp) - 1
        rows = pixels // width
        points = np.stack((pixels - rows * width, rows)).astype(np.float32) + np.float32(0.5)
        across, beyond, facing, _ = _roundness(table, patch, points)
        aside, along = np.take(gains, patch, axis=1)
        glow = across * aside + beyond * along - facing * np.float32(light[2])
        bright[pixels] = np.clip(88 + 58 * glow, 20, 160).astype(np.uint8)
    bright = bright.reshape(height, width)
    # Where only the rim of a part covers a pixel the sample may show the background: take the rim's darker light.
    return cv2.min(bright, np.where(canvas.top > 0, np.uint8(255), cv2.erode(bright, np.ones((3, 3), np.uint8))))


def composed(canvas: Canvas, light: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The painted patches in their light on a background (H, W, 3)."""
    bright, (*colours, coverage) = lit(canvas, light), cv2.split(canvas.colours)
    uncovered = cv2.bitwise_not(coverage)
    channels = []
    for colour, behind in zip(colours, cv2.split(background), strict=True):
        shaded = cv2.min(cv2.multiply(colour, bright, scale=1 / NEUTRAL), coverage)
        channels.append(cv2.add(shaded, cv2.multiply(behind, uncovered, scale=1 / 255)))
    return cv2.merge(channels)


def on_top(canvas: Canvas, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, part and depth of the surface at points (n, 2) inside the image; NOBODY and 0 on the background."""
    columns, rows = np.floor(points).astype(int).T
    patch = canvas.top[rows, columns].astype(np.intp) - 1
    seen = patch >= 0
    patch = np.maximum(patch, 0)
    *_, depth = _roundness(_table(canvas.patches.tubes), patch, points.T)
    owners, parts = canvas.patches.owners[patch], canvas.patches.parts[patch]
    return np.where(seen, owners, NOBODY), np.where(seen, parts, NOBODY), np.where(seen, depth, 0)


def _directions(tubes: Tubes) -> np.ndarray:
    axis = tubes.end - tubes.start  # (M, 2)
    return axis / np.maximum(np.hypot(axis[:, 0], axis[:, 1]), 1e-3)[:, None]


def _table(tubes: Tubes) -> np.ndarray:
    """All that the light needs to know of each tube: (13, M) float32."""
    axis = tubes.end - tubes.start
    length = np.maximum(np.hypot(axis[:, 0], axis[:, 1]), 1e-3)
    columns = (*tubes.start.T, *(axis / length[:, None]).T, length, *tubes.radius.T, *tubes.caps.T)
    return np.stack((*columns, *tubes.depth.T, *tubes.thickness.T)).astype(np.float32)


def _roundness(table: np.ndarray, patch: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """The surface normal on each point's tube (across, lengthways, towards the camera) and its depth; all (n,)."""
    table = np.take(table, patch, axis=1)
    x0, y0, dx, dy, length, r0, r1, cap0, cap1, z0, z1, thick0, thick1 = table  # (n,) each
    x, y = points[0] - x0, points[1] - y0
    along = x * dx + y * dy
    part = np.clip(along / length, 0, 1)
    radius = r0 + (r1 - r0) * part
    across = np.clip((y * dx - x * dy) / radius, -1, 1)
    beyond = along - part * length
    beyond = np.clip(beyond * np.where(beyond < 0, cap0, cap1) / radius, -1, 1)
    facing = np.sqrt(np.maximum(1 - across * across - beyond * beyond, 0))
    depth = z0 + (z1 - z0) * part - facing * (thick0 + (thick1 - thick0) * part)
    return across, beyond, facing, depth
