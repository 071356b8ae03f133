"""Cards and signs with four corners: a small skeleton, for everything that is not shaped like a person.

What is printed on a card is the same left and right, so a mirrored card is a card again and its left corners become
right ones. Top and bottom differ: the headline is above.
"""

import numpy as np

from utils.data.drawing.canvas import CORNERS, Patches, Tubes, hull
from utils.data.drawing.view import Figures, Placement, rotations

_SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])  # x right, y down, as the card is read
_INK = ((36, 40, 52), (150, 44, 48), (40, 84, 140), (44, 110, 84), (206, 120, 44), (110, 70, 130))
_PAPER = ((244, 240, 230), (236, 226, 200), (214, 228, 236), (240, 216, 214), (222, 236, 214), (252, 252, 250))


def draw_corners(generator: np.random.Generator, placement: Placement) -> Figures:
    """Cards of all formats, turned in space but always seen from the front."""
    count = len(placement.statures)
    half = placement.statures[:, None] * 0.5 * generator.uniform(0.45, 1.0, (count, 2))  # (N, 2)
    turn = _turns(generator, placement)
    groups, keypoints, probes = [], [], []
    for card in range(count):
        shapes = _print(generator)
        outlines = [_seen(shape * half[card], turn[card], placement, card) for shape, _ in shapes]
        edge = outlines[0] + generator.uniform(0.01, 0.05) * placement.statures[card] * np.array([0.5, 1.0])
        outlines = [np.concatenate((outlines[0], edge)), *outlines]
        colours = np.stack([shapes[0][1] * 5 // 8, *(colour for _, colour in shapes)]).astype(np.uint8)
        groups.append(
            _patches(np.stack([hull(outline) for outline in outlines]), colours, placement.layers[card], card)
        )
        keypoints.append(outlines[1])
        probes.append(0.94 * outlines[1] + 0.06 * outlines[1].mean(0))  # the very corner has no area: look inside
    shape = (count, len(_SQUARE))
    return Figures(
        patches=Patches.joined(groups),
        keypoints=np.stack(keypoints),
        depths=np.zeros(shape),
        probes=np.stack(probes),
        slack=np.ones(len(_SQUARE)),
        shows=np.ones((len(_SQUARE), 1), bool),
        shadow=np.zeros((count, 0, 2, 2)),
    )


def _turns(generator: np.random.Generator, placement: Placement) -> np.ndarray:
    """How each card is turned (N, 3, 3): in its plane, mostly a little, then away from the camera."""
    count = len(placement.statures)
    upright = generator.random(count) < 0.75
    roll = np.where(upright, generator.uniform(-35, 35, count), generator.uniform(-180, 180, count))
    pitch, yaw = generator.uniform(-45, 45, count), np.clip(placement.yaws, -58, 58)
    away, in_plane = np.stack((pitch, yaw, 0 * roll), -1), np.stack((0 * roll, 0 * roll, roll), -1)
    return rotations(away) @ rotations(in_plane)


def _seen(points: np.ndarray, turn: np.ndarray, placement: Placement, card: int) -> np.ndarray:
    """Pixels (n, 2) of points (n, 2) on a card."""
    camera = points @ turn[:, :2].T  # (n, 3)
    depth = camera[:, 2:] / (placement.statures[card] * placement.distance)
    return placement.anchors[card] + camera[:, :2] / np.maximum(1 + depth, 0.3)


def _print(generator: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """What stands on a card: shapes in -1..1 with their colours; paper first, the same left and right."""
    paper, ink, second = (
        np.array(choices)[generator.integers(len(choices))] + generator.integers(-6, 4, 3)
        for choices in (_PAPER, _INK, _INK)
    )
    shapes = [(_SQUARE, paper), (_bar(0, generator.uniform(-0.78, -0.68), 0.86, 0.13), ink)]
    circle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    if generator.random() < 0.5:
        shapes.append((np.stack((0.5 * np.cos(circle), 0.36 * np.sin(circle) - 0.06), 1), second))
    else:
        shapes.append((_bar(0, -0.06, 0.62, 0.36), second))
    for line in range(int(generator.integers(1, 4))):
        shapes.append((_bar(0, 0.50 + 0.16 * line, generator.uniform(0.3, 0.8), 0.035), ink))
    return shapes


def _bar(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    return _SQUARE * (half_width, half_height) + (x, y)


def _patches(outlines: np.ndarray, colours: np.ndarray, layer: float, card: int) -> Patches:
    count = len(outlines)
    start, two = outlines[:, 0], np.ones((count, 2))
    flat = Tubes(start, start + np.array([1.0, 0.0]), two * 1e6, two * 0, two * 0, two * 0)
    return Patches(outlines, np.full(count, layer), -np.arange(count, dtype=float), colours, np.full(count, card),
                   np.zeros(count, int), flat)  # fmt: skip
