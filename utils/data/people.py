"""Draws people: the embedded data set, so that everything here runs with nothing downloaded.

    python -m utils.data.people --splits

Scene number i of a seed is the same scene however many are drawn, and in whichever process. Keypoints, boxes, masks and
occlusion are read off the drawing itself, so they are exact.

With the same versions of numpy and OpenCV a scene is the same on every machine: outlines are rounded to 1/32 pixel and
keypoints to 1/256 before anything is decided, so that the last digit of a sine cannot show. Its JPEG file is made by
the machine's own encoder and may differ by a grey level.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from utils.core.config import did_you_mean
from utils.core.console import log, progress, start_logging
from utils.core.geometry import inside
from utils.data.drawing.canvas import NOBODY, Canvas, Patches, composed, on_top, paint
from utils.data.drawing.corners import draw_corners
from utils.data.drawing.figure import draw_people
from utils.data.drawing.files import data_folder, write_split
from utils.data.drawing.hand import draw_hands
from utils.data.drawing.scenery import Exposure, cast_shadows, draw_background, draw_things, photographed
from utils.data.drawing.view import Figures, Placement, Scene

SMALLEST = 12  # pixels of a figure that must be visible for it to be labelled
KEYPOINT_STEPS = 256  # to a pixel
SMALLEST_SIDE = 32  # pixels of an image
Figure = Literal["person", "corners", "hand"]
Seed = int | tuple[int, ...]  # a tuple keeps kinds of data apart, such as the splits
Difficulty = Literal["easy", "moderate", "hard"]


@dataclass(frozen=True)
class SceneSettings:
    """What kind of scenes to draw."""

    size: tuple[int, int] = (320, 320)  # (height, width)
    figure: Figure = "person"
    difficulty: Difficulty = "moderate"

    def __post_init__(self) -> None:
        for what, known in (("figure", FIGURES), ("difficulty", CROWDINGS)):
            found = getattr(self, what)
            if found not in known:
                raise ValueError(f"no {what} '{found}' is drawn ({', '.join(known)}){did_you_mean(found, known)}")
        if min(self.size) < SMALLEST_SIDE:
            raise ValueError(f"size: found {self.size}; expected at least {SMALLEST_SIDE} pixels each way")


@dataclass(frozen=True)
class Crowding:
    """How many figures of which size share an image, and how much of one another they may cover."""

    count: tuple[int, int]
    height: tuple[float, float]  # of a person, as a fraction of the image's height
    things: tuple[int, int]
    overlap: float  # largest share of a figure's box that another box may cover when it is placed
    together: float  # chance of being put close to somebody
    margin: float  # of the image's width that stays free of figures' middles on either side


CROWDINGS: dict[str, Crowding] = {
    "easy": Crowding((1, 2), (0.70, 1.15), (0, 1), overlap=0.15, together=0.0, margin=0.15),
    "moderate": Crowding((2, 5), (0.32, 0.85), (0, 3), overlap=0.45, together=0.15, margin=0.03),
    "hard": Crowding((8, 18), (0.22, 0.75), (2, 6), overlap=1.0, together=0.75, margin=0.0),
}
FIGURES: dict[str, Callable[[np.random.Generator, Placement], Figures]] = {
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
    figures = FIGURES[settings.figure](generator, placement)
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


@dataclass(frozen=True)
class Drawings:
    """Scenes without end, as a source for training: the next epoch goes on where the last one stopped."""

    settings: SceneSettings
    seed: Seed = 0
    per_epoch: int = 1000

    def __len__(self) -> int:
        return self.per_epoch

    def draw(self, number: int) -> Scene:
        return draw(self.seed, number, self.settings)


def main() -> None:
    """Write a data set of drawn scenes."""
    parser = argparse.ArgumentParser(prog="python -m utils.data.people", description=main.__doc__)
    parser.add_argument("--out", type=Path, help="folder to write to; by default the one that the data YAML names")
    parser.add_argument("--count", type=int, default=500, help="how many images")
    parser.add_argument("--size", type=int, default=320, help="their width and height in pixels")
    parser.add_argument("--difficulty", choices=list(CROWDINGS), default="moderate")
    parser.add_argument(
        "--figure", choices=list(FIGURES), default="person", help="what to draw; each has its own YAML in data/"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same images")
    parser.add_argument("--splits", action="store_true", help="add a fifth as many images for validation")
    parser.add_argument("--held-out", type=int, metavar="N", help="add so many images for validation")
    args = parser.parse_args()
    try:
        settings = SceneSettings((args.size, args.size), args.figure, args.difficulty)
    except ValueError as error:
        parser.error(str(error))
    start_logging()
    held_out = max(args.count // 5, 1) if args.held_out is None and args.splits else args.held_out
    splits = [("train", args.seed, args.count)]  # its image i is draw(seed, i)
    if held_out:
        splits.append(("val", (args.seed, 1), held_out))
    for split, seed, count in splits:
        scenes = (draw(seed, index, settings) for index in progress(range(count), f"drawing {split}"))
        path = write_split(args.out or data_folder(args.figure), split=split, scenes=scenes, figure=args.figure)
        log.info("%s: %d images of %d x %d pixels", path, count, args.size, args.size)


if __name__ == "__main__":
    main()
