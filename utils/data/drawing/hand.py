"""Hands with twenty-one points: the wrist and four for each finger, from its root to its tip.

Left and right hands are drawn. The points' names do not say which: a mirrored left hand is a right hand whose thumb is
still the thumb, so every point is its own mirror image.
"""

from dataclasses import replace

import numpy as np

from utils.data.drawing.canvas import NOBODY, Patches, Tubes, capsules, hull
from utils.data.drawing.view import UPRIGHT, Figures, Placement, rotations, scale_at

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
PARTS = ("palm", *FINGERS)
# In lengths of a hand: x towards the thumb, y towards the fingertips, z out of the back of the hand.
_ROOTS = np.array([(0.13, 0.13, -0.04), (0.155, 0.50, 0.01), (0.05, 0.53, 0.02), (-0.055, 0.505, 0.01),
                   (-0.15, 0.445, -0.01)])  # fmt: skip
_BONES = np.array([(0.21, 0.17, 0.14), (0.225, 0.135, 0.11), (0.25, 0.15, 0.115), (0.23, 0.14, 0.11),
                   (0.175, 0.105, 0.095)])  # fmt: skip
_RADII = np.array([(0.078, 0.060, 0.052, 0.042), (0.058, 0.050, 0.043, 0.036), (0.058, 0.051, 0.044, 0.037),
                   (0.056, 0.048, 0.042, 0.035), (0.050, 0.042, 0.036, 0.031)])  # fmt: skip
_ARM = np.array([(0.0, -0.30, 0.0), (0.0, -0.95, 0.0)])  # where the sleeve begins and ends
_MIDDLE = np.array([0.0, 0.42, 0.0])
_BENDS = np.deg2rad([(14.0, 32, 44), (82, 100, 62), (82, 102, 62), (82, 102, 62), (82, 98, 62)])  # of a fist
_SPLAY = np.deg2rad([48.0, 9, 1, -7, -16])  # of a spread hand
_GESTURES = np.array([
    (0.0, 0, 0, 0, 0), (0.1, 0.1, 0.1, 0.1, 0.1), (0.9, 1, 1, 1, 1), (0.8, 0, 1, 1, 1), (0.9, 0, 0, 1, 1),
    (0.0, 1, 1, 1, 1), (0.0, 0.95, 1, 1, 0), (0.7, 0.55, 0.1, 0.1, 0.1), (0.5, 0.5, 0.5, 0.5, 0.5),
])  # how far each finger is bent: open, resting, fist, pointing, two, thumb up, call, ring, grip  # fmt: skip
_SKIN = np.array([(255, 219, 188), (240, 196, 160), (222, 172, 132), (190, 134, 94), (140, 94, 64), (96, 64, 46)])
_CLOTH = np.array([(60, 80, 120), (150, 60, 60), (230, 228, 220), (60, 62, 70), (90, 130, 96), (200, 160, 80)])
_JOINTS = 1 + np.arange(len(FINGERS) * 4).reshape(len(FINGERS), 4)  # the rows of each finger's keypoints
_COUNT = 1 + _JOINTS.size
# The tubes of a hand: the sleeve, the wrist, the bones of the palm, and three for each finger.
_FIRST = np.array([_COUNT + 1, _COUNT, *[0] * len(FINGERS[1:]), *_JOINTS[:, :-1].ravel()])
_LAST = np.array([_COUNT, 0, *_JOINTS[1:, 0], *_JOINTS[:, 1:].ravel()])
_TUBE_RADII = np.array([(0.17, 0.15), (0.125, 0.12), *[(0.105, 0.066)] * len(FINGERS[1:])])
_TUBE_RADII = np.concatenate((_TUBE_RADII, np.stack((_RADII[:, :-1].ravel(), _RADII[:, 1:].ravel()), 1)))
_TUBE_PARTS = np.array([0] * (1 + len(FINGERS)) + [1 + finger for finger in range(len(FINGERS)) for _ in range(3)])
_NEARER = np.where(_TUBE_PARTS > 0, 0.03, 0.0) + np.where(np.arange(len(_FIRST)) == 0, 0.05, 0.0)
_TIPS = len(_FIRST) - 1 - 3 * np.arange(len(FINGERS))[::-1]  # each finger's last tube
_CAPS = np.stack((0 * _NEARER, np.isin(np.arange(len(_FIRST)), _TIPS)), 1)
_PALM = slice(2, 1 + len(FINGERS))  # the tubes that the palm encloses, with the thumb's first


def draw_hands(generator: np.random.Generator, placement: Placement) -> Figures:
    """Hands in gestures of all kinds, from all sides, with a sleeve."""
    count = len(placement.statures)
    is_left = generator.random(count) < 0.5
    points = np.concatenate((_points(generator, count), np.broadcast_to(_ARM, (count, *_ARM.shape))), 1) - _MIDDLE
    points[..., 0] *= np.where(is_left, 1.0, -1.0)[:, None]
    turn = _turns(generator, placement)  # (N, 3, 3)
    camera = points @ np.swapaxes(turn, 1, 2)  # (N, K + 2, 3)
    depths = camera[..., 2]
    scale = scale_at(depths, placement.statures[:, None], placement)
    pixels = placement.anchors[:, None] + camera[..., :2] * scale[..., None]
    back_shows = turn[:, 2, 2] < 0  # the back of the hand faces the camera
    hands = _hands(generator, placement, pixels, depths, scale, back_shows)
    nails = _nails(hands, camera, pixels, scale, back_shows)
    return Figures(
        patches=Patches.joined((hands, _palms(hands, depths), nails)),
        keypoints=pixels[:, :_COUNT],
        depths=depths[:, :_COUNT],
        probes=pixels[:, :_COUNT],
        slack=np.full(_COUNT, 0.115),
        shows=_shows(),
        shadow=np.zeros((count, 0, 2, 2)),
    )


def _shows() -> np.ndarray:
    """On which parts each keypoint counts as seen (K, parts): its own finger; near its root on the palm, too."""
    shows = np.zeros((_COUNT, len(PARTS)), bool)
    shows[0, :2] = True  # the thumb begins at the wrist
    for finger, joints in enumerate(_JOINTS, 1):
        shows[joints, finger] = True
        shows[joints[:2], 0] = True
    return shows


def _points(generator: np.random.Generator, count: int) -> np.ndarray:
    """The wrist and the fingers' joints (N, K, 3) of left hands."""
    gesture = _GESTURES[generator.integers(len(_GESTURES), size=count)]  # (N, fingers)
    bent = np.clip(gesture + generator.uniform(-0.12, 0.16, gesture.shape), 0, 1)
    angle = np.cumsum(bent[..., None] * _BENDS, -1)  # (N, fingers, bones)
    splay = _SPLAY * generator.uniform(0.5, 1.5, (count, 1)) * (1 - 0.6 * (gesture > 0.6))
    splay[:, 0] = _SPLAY[0] * generator.uniform(0.5, 1.1, count)
    is_thumb = (np.arange(len(FINGERS)) == 0)[:, None]  # it bends across the palm, the others bend into it
    heading = splay[..., None] - np.where(is_thumb, 0.85 * angle, 0.0)
    along, into = np.where(is_thumb, 0.94, np.cos(angle)), np.where(is_thumb, 0.34, np.sin(angle))
    steps = np.stack((along * np.sin(heading), along * np.cos(heading), -into), -1) * _BONES[..., None]
    roots = np.broadcast_to(_ROOTS[:, None], (count, len(FINGERS), 1, 3))
    chains = np.concatenate((roots, steps), 2).cumsum(2)  # (N, fingers, bones + 1, 3)
    return np.concatenate((np.zeros((count, 1, 3)), chains.reshape(count, -1, 3)), 1)


def _turns(generator: np.random.Generator, placement: Placement) -> np.ndarray:
    """From a hand's axes to the camera's (x right, y down, z away), (N, 3, 3)."""
    count = len(placement.statures)
    pitch, upright = generator.uniform(-50, 50, count), generator.random(count) < 0.7
    roll = np.where(upright, generator.uniform(-60, 60, count), generator.uniform(-180, 180, count))
    return UPRIGHT @ rotations(np.stack((pitch, placement.yaws, roll), -1))


def _hands(
    generator: np.random.Generator, placement: Placement, pixels: np.ndarray, depths: np.ndarray, scale: np.ndarray,
    back_shows: np.ndarray,
) -> Patches:  # fmt: skip
    """Sleeves, wrists and fingers: N times as many patches as a hand has tubes."""
    count, tubes = len(pixels), len(_FIRST)
    who, which = (grid.ravel() for grid in np.indices((count, tubes)))
    ends = np.stack((_FIRST, _LAST), 1)[which]  # (M, 2)
    start, end = pixels[who, ends[:, 0]], pixels[who, ends[:, 1]]
    depth, thickness = depths[who[:, None], ends], _TUBE_RADII[which]
    radius = thickness * scale[who[:, None], ends]
    skin = _SKIN[generator.integers(len(_SKIN), size=count)] + generator.integers(-8, 9, (count, 3))
    palm = np.minimum(skin * 0.45 + (130, 104, 94), skin + 26)  # paler, as palms are
    sleeve = _CLOTH[generator.integers(len(_CLOTH), size=count)] + generator.integers(-8, 9, (count, 3))
    skin = np.where(back_shows[:, None], skin, palm)
    colours = np.where((which == 0)[:, None], sleeve[who], skin[who])
    return Patches(
        outlines=capsules(start, end, radius),
        layers=placement.layers[who],
        keys=depth.mean(1) - _NEARER[which],
        colours=np.clip(colours, 5, 255).astype(np.uint8),
        owners=np.where(which == 0, NOBODY, who),  # the sleeve is not the hand
        parts=_TUBE_PARTS[which],
        tubes=Tubes(start, end, radius, _CAPS[which], depth, thickness),
    )


def _palms(hands: Patches, depths: np.ndarray) -> Patches:
    """What fills the space between the bones of each palm, just behind them."""
    count, tubes = len(depths), len(_FIRST)
    outlines = hands.outlines.reshape(count, tubes, -1, 2)
    thumb = tubes - 3 * len(FINGERS)
    around = np.concatenate((outlines[:, _PALM], outlines[:, thumb : thumb + 1]), 1).reshape(count, -1, 2)
    middle_bone = hands.chosen(np.arange(count) * tubes + _PALM.start + 1)
    wide = np.repeat(0.62 * np.ptp(around, axis=1).max(1)[:, None], 2, 1)
    bone = middle_bone.tubes
    flat = Tubes(bone.start, bone.end, wide, bone.caps, bone.depth, bone.thickness)
    keys = depths[:, _JOINTS[1:, 0]].mean(1) + 0.03
    outlines = np.stack([hull(points) for points in around])
    return replace(middle_bone, outlines=outlines, keys=keys, tubes=flat)


def _nails(
    hands: Patches, camera: np.ndarray, pixels: np.ndarray, scale: np.ndarray, back_shows: np.ndarray
) -> Patches:
    """A nail on every fingertip that shows its back: on a straight finger with the hand's back, else the other way."""
    root, knuckle, before, tip = _JOINTS.T  # (fingers,) each
    at_tip, at_root = camera[:, tip] - camera[:, before], camera[:, knuckle] - camera[:, root]
    folded = (at_tip * at_root).sum(-1) < 0  # (N, fingers)
    who, finger = np.nonzero(folded != back_shows[:, None])  # (M,)
    last, first = pixels[who, tip[finger]], pixels[who, before[finger]]
    start, end = 0.55 * last + 0.45 * first, last + 0.1 * (last - first)
    radius = np.repeat((_RADII[finger, -1] * scale[who, tip[finger]] * 0.62)[:, None], 2, 1)
    fingertips = hands.chosen(who * len(_FIRST) + _TIPS[finger])
    colours = np.minimum(fingertips.colours * 0.75 + (70, 52, 52), 255).astype(np.uint8)
    outlines = capsules(start, end, radius)
    return replace(fingertips, outlines=outlines, keys=fingertips.keys - 1e-3, colours=colours)
