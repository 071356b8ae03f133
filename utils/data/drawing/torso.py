"""The torso: cross-sections along the spine, strips of cloth between them, what is printed there, and skirts."""

from dataclasses import dataclass

import numpy as np

from utils.data.drawing.body import PARTS, SITES, People
from utils.data.drawing.canvas import CORNERS, Patches, Tubes, hull
from utils.data.drawing.poses import JOINTS
from utils.data.drawing.view import scale_at
from utils.data.drawing.wardrobe import MATERIALS

NEARER = 0.050  # painted as if this much nearer: over the thighs, under the arms that hang beside it
RING_POINTS = 12  # of a cross-section; the first is at the left, a quarter on is the front
STRIPS = 2  # of cloth between two cross-sections


@dataclass(frozen=True)
class Ring:
    """A cross-section of the torso, in statures."""

    joint: str
    centre: tuple[float, float, float]
    half_width: float
    half_depth: float


RINGS = (
    Ring("pelvis", (0, -0.062, -0.004), 0.062, 0.050),
    Ring("pelvis", (0, -0.034, -0.006), 0.104, 0.074),
    Ring("pelvis", (0, 0.010, -0.004), 0.102, 0.072),
    Ring("belly", (0, 0.030, 0.002), 0.088, 0.061),
    Ring("chest", (0, 0.000, 0.004), 0.091, 0.062),
    Ring("chest", (0, 0.070, 0.002), 0.102, 0.068),
    Ring("chest", (0, 0.125, -0.004), 0.108, 0.060),
    Ring("chest", (0, 0.160, -0.008), 0.078, 0.044),
    Ring("chest", (0, 0.182, -0.008), 0.034, 0.032),
)
_LAST = len(RINGS) - 1
_HEM, _WAIST, _HIPS = 1, 2, 3  # the top reaches down to the first, trousers up to the second; three rings are hips
_ANGLES = 2 * np.pi * np.arange(RING_POINTS) / RING_POINTS
_JOINTS = np.array([JOINTS.index(ring.joint) for ring in RINGS])
_CENTRES = np.array([ring.centre for ring in RINGS])[:, None]  # (R, 1, 3)
_RADII = np.array([(ring.half_width, 0.0, ring.half_depth) for ring in RINGS])[:, None]
_OFFSETS = _CENTRES + _RADII * np.stack((np.cos(_ANGLES), 0 * _ANGLES, np.sin(_ANGLES)), -1)  # (R, RING_POINTS, 3)

# What may be on a top: (from ring, to ring, middle and half width in twelfths of the way round).
_SIGNS = (
    (1.0, 1.0, 3.0, 0.0),
    (1.0, 7.6, 3.0, 0.10),
    (4.7, 5.9, 3.0, 0.95),
    (4.4, 6.0, 9.0, 1.2),
    (1.0, 7.7, 3.0, 0.7),
)
_BACK_OF_TOP = 3  # the sign that only the back shows


def draw_torsos(people: People) -> Patches:
    """Hips and chest in their clothes."""
    rings = _rings(people)
    strips = _strips(people, *rings)
    nearest = np.full(len(people.places), np.inf)
    np.minimum.at(nearest, strips.owners, strips.keys)
    return Patches.joined((strips, _signs(people, *rings, nearest), _skirts(people, *rings)))


def _rings(people: People) -> tuple[np.ndarray, np.ndarray]:
    """The cross-sections' pixels (N, R, RING_POINTS, 2) and depths (N, R, RING_POINTS)."""
    shape = people.shape
    width = np.stack([shape.hips] * _HIPS + [shape.shoulders] * (len(RINGS) - _HIPS), 1)  # (N, R)
    width = width * np.sqrt(shape.girth)[:, None]
    factors = np.stack((width, np.ones_like(width), np.ones_like(width) * shape.girth[:, None]), -1)  # (N, R, 3)
    turned = (_OFFSETS * factors[:, :, None]) @ np.swapaxes(people.turns[:, _JOINTS], -1, -2)
    points = people.places[:, _JOINTS, None] + turned  # (N, R, RING_POINTS, 3)
    pixels, depths = people.view.seen(points.reshape(len(points), -1, 3))
    return pixels.reshape(*points.shape[:-1], 2), depths.reshape(points.shape[:-1])


def _between(values: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Values (N, R, ...) at rings that may lie between two others."""
    lower = np.minimum(rings.astype(int), _LAST - 1)
    share = (rings - lower).reshape(-1, *[1] * (values.ndim - 2))
    return values[:, lower] + share * (values[:, lower + 1] - values[:, lower])


def _strips(people: People, pixels: np.ndarray, depths: np.ndarray) -> Patches:
    """Belts of cloth from the hips up; each is the hull around its two edges."""
    levels = np.linspace(0, _LAST, _LAST * STRIPS + 1)
    pixels, depths = _between(pixels, levels), _between(depths, levels)  # (N, L, RING_POINTS, ...)
    centre, depth = pixels.mean(2), depths.mean(2)  # (N, L, 2), (N, L)
    axis = centre[:, -1] - centre[:, 0]
    axis = axis / np.maximum(np.hypot(*axis.T), 1e-3)[:, None]  # (N, 2)
    across = np.stack((-axis[:, 1], axis[:, 0]), 1)[:, None, None]  # (N, 1, 1, 2)
    half_width = np.maximum(abs(((pixels - centre[:, :, None]) * across).sum(-1)).max(2) * 1.04, 0.5)  # (N, L)
    who, level = (grid.ravel() for grid in np.indices((len(pixels), len(levels) - 1)))  # (M,)
    edges, both = (who[:, None], np.stack((level, level + 1), 1)), np.ones((len(who), 2))
    start = centre[who, level]
    along = ((centre[who, level + 1] - start) * axis[who]).sum(1)
    end = start + axis[who] * np.maximum(along, 0.05)[:, None]
    material = people.wardrobe.cloth(len(levels) - 1, STRIPS * _HEM)[who, level]
    # From above the upper strips are nearer, from below the lower ones: paint in the order of their own depth.
    keys = 0.3 * depth[who, level] + 0.7 * depth.mean(1)[who] - NEARER - 1e-5 * level
    return Patches(
        outlines=np.stack([hull(pair) for pair in _pairs(pixels)]),
        layers=people.layers(who),
        keys=keys,
        colours=people.colours(who, material),
        owners=who,
        parts=np.full(len(who), PARTS.index("torso")),
        tubes=Tubes(start, end, half_width[edges], 0 * both, depth[edges], (depth - depths.min(2))[edges]),
    )


def _pairs(pixels: np.ndarray) -> np.ndarray:
    """Every ring's points together with those of the ring above: (N * (L - 1), 2 * RING_POINTS, 2)."""
    pairs = np.concatenate((pixels[:, :-1], pixels[:, 1:]), 2).astype(np.float32)
    return pairs.reshape(-1, 2 * RING_POINTS, 2)


def _signs(people: People, pixels: np.ndarray, depths: np.ndarray, nearest: np.ndarray) -> Patches:
    """Zips, open jackets and prints, on the side that the camera sees."""
    kinds = people.wardrobe.sign
    middle = np.array([kind[2] for kind in _SIGNS]).astype(int)[kinds]  # (N,)
    chest = depths[:, _LAST - 3]  # (N, RING_POINTS)
    away = chest[np.arange(len(chest)), middle] - chest.mean(1)
    facing = np.flatnonzero((kinds > 0) & (away < -0.3 * (chest.max(1) - chest.mean(1))))
    outlines, middles = np.zeros((len(facing), CORNERS, 2)), np.zeros((len(facing), 2, 2))
    for row, person in enumerate(facing):
        low, high, around, half = _SIGNS[kinds[person]]
        edge = _between(pixels[person : person + 1], np.linspace(low, high, CORNERS // 2))[0]  # (C / 2, RING_POINTS, 2)
        left, right = (_on_ring(edge, around + side * half) for side in (-1, 1))
        outlines[row] = np.concatenate((left, right[::-1]))
        middles[row] = (left[0] + right[0]) / 2, (left[-1] + right[-1]) / 2
    wide = np.repeat(np.ptp(pixels[facing, _LAST - 3], axis=1).max(1)[:, None] * 0.55 + 0.5, 2, 1)
    depth = np.repeat(chest.mean(1)[facing][:, None], 2, 1)
    thickness = depth - chest.min(1)[facing][:, None]
    material = np.full(len(facing), MATERIALS.index("trim"))
    return Patches(
        outlines=outlines,
        layers=people.layers(facing),
        keys=nearest[facing] - 1e-4,
        colours=people.colours(facing, material),
        owners=facing,
        parts=np.full(len(facing), PARTS.index("torso")),
        tubes=Tubes(middles[:, 0], middles[:, 1], wide, 0 * wide, depth, thickness),
    )


def _on_ring(points: np.ndarray, around: float) -> np.ndarray:
    """The points (n, 2) so many twelfths round rings (n, RING_POINTS, 2)."""
    before = int(around)
    share = around - before
    return (1 - share) * points[:, before % RING_POINTS] + share * points[:, (before + 1) % RING_POINTS]


def _skirts(people: People, pixels: np.ndarray, depths: np.ndarray) -> Patches:
    """From the hips round both thighs, wherever these are."""
    who = np.flatnonzero(people.pieces["skirt"])
    joints = [[SITES.index(f"{side}_{joint}") for side in ("left", "right")] for joint in ("hip", "knee")]
    (hip, knee), (hip_depth, knee_depth) = (
        [values[who][:, index] for index in joints] for values in (people.pixels, people.depths)
    )  # (M, 2, 2) and (M, 2) each
    hem, hem_depth = hip + 0.82 * (knee - hip), hip_depth + 0.82 * (knee_depth - hip_depth)
    placement = people.view.placement
    radius = 0.074 * scale_at(hem_depth, placement.statures[who, None], placement)  # (M, 2)
    circle = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), -1)
    round_legs = hem[:, :, None] + radius[..., None, None] * circle  # (M, 2, RING_POINTS, 2)
    cloth = np.concatenate((pixels[who, _WAIST, None], round_legs), 1).reshape(len(who), 3 * RING_POINTS, 2)
    outlines = np.stack([hull(points) for points in cloth]) if len(who) else np.zeros((0, CORNERS, 2))
    start, end = pixels[who, _WAIST].mean(1), hem.mean(1)
    spread = np.hypot(*(hem[:, 0] - hem[:, 1]).T) / 2 + radius.mean(1)
    top = np.ptp(pixels[who, _WAIST], axis=1).max(1) / 2
    depth = np.stack((depths[who, _WAIST].mean(1), hem_depth.mean(1)), 1)
    return Patches(
        outlines=outlines,
        layers=people.layers(who),
        keys=np.minimum(hip_depth + knee_depth, (hip_depth + knee_depth)[:, ::-1]).min(1) / 2 + 0.015,
        colours=people.colours(who, np.full(len(who), MATERIALS.index("bottom"))),
        owners=who,
        parts=np.full(len(who), PARTS.index("torso")),
        tubes=Tubes(start, end, np.stack((top, spread), 1) + 0.5, 0 * depth, depth, 0.07 + 0 * depth),
    )
