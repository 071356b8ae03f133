"""A whole scene: figures and things placed on one ground, painted, photographed, and labelled by what shows."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from utils.core.geometry import inside
from utils.data.drawing.canvas import NOBODY, Canvas, Patches, composed, on_top, paint
from utils.data.drawing.corners import draw_corners
from utils.data.drawing.figure import draw_people
from utils.data.drawing.hand import draw_hands
from utils.data.drawing.kinds import CROWDINGS, Crowding, SceneSettings
from utils.data.drawing.scenery import Exposure, cast_shadows, draw_background, draw_things, photographed
from utils.data.drawing.view import Figures, Placement, Scene

SMALLEST = 12  # pixels of a figure that must be visible for it to be labelled
KEYPOINT_STEPS = 256  # to a pixel
Seed = int | tuple[int, ...]  # a tuple keeps kinds of data apart, such as the splits
DRAWN_BY: dict[str, Callable[[np.random.Generator, Placement], Figures]] = {
    "person": draw_people,
    "corners": draw_corners,
    "hand": draw_hands,
}


def draw(seed: Seed, index: int, settings: SceneSettings) -> Scene:
    """Scene number `index` of a seed."""
    sequence = np.random.SeedSequence(seed, spawn_key=(index,))
    return draw_scene(np.random.Generator(np.random.PCG64(sequence)), settings)


def draw_scene(generator: np.random.Generator, settings: SceneSettings) -> Scene:
    """A new scene of the given kind."""
    horizon, eye_height, placement = _place(generator, settings)
    figures = DRAWN_BY[settings.figure](generator, placement)
    things = _things(generator, settings, horizon=horizon, eye=eye_height)
    exposure = Exposure.draw(generator)
    background = draw_background(generator, settings.size, horizon)
    widths = np.repeat(placement.statures * 0.085, figures.shadow.shape[1])
    background = cast_shadows(
        background, bones=figures.shadow.reshape(-1, 2, 2), widths=widths, strength=generator.uniform(0.15, 0.5)
    )
    canvas = paint(Patches.joined((figures.patches, things)), settings.size)
    image = photographed(generator, composed(canvas, exposure.light, background), exposure)
    return labelled(image, canvas, figures)


def labelled(image: np.ndarray, canvas: Canvas, figures: Figures) -> Scene:
    """The scene with its labels read off the canvas; figures of which nearly nothing shows are left out."""
    figures = replace(figures, keypoints=np.rint(figures.keypoints * KEYPOINT_STEPS) / KEYPOINT_STEPS)
    size, count = image.shape[:2], len(figures.keypoints)
    owners = canvas.owners()
    boxes, areas = np.zeros((count, 4)), np.zeros(count)
    for figure in range(count):
        mine = (owners == figure).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mine)
        boxes[figure] = left, top, left + width, top + height
        areas[figure] = cv2.countNonZero(mine)
    kept = np.flatnonzero(areas >= SMALLEST)
    renamed = np.full(count + 1, NOBODY, np.int16)  # the last one stays nobody
    renamed[kept] = np.arange(len(kept))
    visibility = visibilities(canvas, figures, size)
    return Scene(image, boxes[kept], figures.keypoints[kept], visibility[kept], areas[kept], renamed[owners])


def visibilities(canvas: Canvas, figures: Figures, size: tuple[int, int]) -> np.ndarray:
    """0 outside, 1 under something else, 2 on top (N, K): decided by what is painted at each keypoint, and how near."""
    within = inside(figures.keypoints, size)  # (N, K)
    visibility = within.astype(int)
    who, which = np.nonzero(within)
    limits = np.array([size[1], size[0]]) - 1e-3
    owner, part, depth = on_top(canvas, np.clip(figures.probes[who, which], 0, limits))
    uncovered = figures.depths[who, which] - depth <= figures.slack[which]
    visibility[who, which] += (owner == who) & figures.shows[which, part] & uncovered
    return visibility


def _place(generator: np.random.Generator, settings: SceneSettings) -> tuple[float, float, Placement]:
    """Where the horizon is, the eye's height in statures, and figures that stand on one common ground."""
    height, width = settings.size
    crowding = CROWDINGS[settings.difficulty]
    count = int(generator.integers(crowding.count[0], crowding.count[1] + 1))
    eye = generator.uniform(0.6, 1.5)  # the taller the camera stands, the higher the horizon above people's heads
    low, high = np.log(crowding.height)
    statures = height * np.exp(generator.uniform(low, high, count))  # (N)
    horizon = height * generator.uniform(0.80, 1.05) - eye * float(statures.max())
    feet = horizon + eye * statures
    if settings.figure != "person":
        return horizon, eye, _scatter(generator, settings.size, statures)
    places = np.zeros(count)
    for i in range(count):
        places[i] = _spot(generator, crowding, width=width, taken=places[:i], statures=statures[: i + 1])
    facing = generator.random(count) < 0.5
    yaws = np.where(facing, generator.uniform(-55, 55, count), generator.uniform(-180, 180, count))
    distance = generator.uniform(2.5, 8)
    pitch = float(np.rad2deg(np.arctan((eye - 0.5) / distance))) + generator.uniform(-3, 10)
    anchors = np.stack((places, feet), 1)
    return horizon, eye, Placement(anchors, statures, yaws, statures, pitch, distance)


def _scatter(generator: np.random.Generator, size: tuple[int, int], statures: np.ndarray) -> Placement:
    """Figures that stand on nothing: anywhere in the image, turned any way, the larger ones in front."""
    count = len(statures)
    anchors = generator.uniform(0.08, 0.92, (count, 2)) * (size[1], size[0])
    yaws = generator.uniform(-180, 180, count)
    return Placement(anchors, 0.6 * statures, yaws, statures, 0.0, float(generator.uniform(2.5, 8)))


def _spot(
    generator: np.random.Generator, crowding: Crowding, *, width: int, taken: np.ndarray, statures: np.ndarray
) -> float:
    """A place from left to right for the last of the figures, away from or close to those who are there."""
    stature = statures[-1]
    spot = generator.uniform(crowding.margin, 1 - crowding.margin) * width
    if len(taken) and generator.random() < crowding.together:
        friend = int(generator.integers(len(taken)))
        return float(taken[friend] + generator.normal(0, 0.22) * statures[friend])
    for _ in range(6):
        reach = 0.2 * (stature + statures[:-1])
        covered = np.clip(reach - abs(taken - spot), 0, None) / (0.4 * np.minimum(stature, statures[:-1]))
        if not len(taken) or covered.max() <= crowding.overlap:
            break
        spot = generator.uniform(crowding.margin, 1 - crowding.margin) * width
    return float(spot)


def _things(generator: np.random.Generator, settings: SceneSettings, *, horizon: float, eye: float) -> Patches:
    """Objects on the same ground, before, between and behind the figures."""
    height, width = settings.size
    crowding = CROWDINGS[settings.difficulty]
    count = int(generator.integers(crowding.things[0], crowding.things[1] + 1))
    low, high = np.log(crowding.height)
    sizes = height * np.exp(generator.uniform(low, high, count))
    feet = np.stack((generator.uniform(0, width, count), horizon + eye * sizes), 1)
    return draw_things(generator, feet=feet, heights=sizes, layers=sizes)
