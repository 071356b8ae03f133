"""Films of drawn people who walk about: everybody keeps an id, so that it can be counted who is taken for whom.

People enter and leave, run and walk past each other, stop and turn back, and disappear behind a pillar for a while.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.core.geometry import inside
from utils.data.drawing.body import Shape
from utils.data.drawing.canvas import Canvas, Patches, composed, paint
from utils.data.drawing.figure import pictured
from utils.data.drawing.poses import ANGLES, MOVEMENTS, angles_of
from utils.data.drawing.scenery import Exposure, draw_background, draw_pillar, photographed
from utils.data.drawing.scenes import visibilities
from utils.data.drawing.view import Figures, Placement
from utils.data.drawing.wardrobe import Wardrobe

_STAND, _WALK, _RUN = (list(MOVEMENTS).index(name) for name in ("stand", "walk_gait", "run_gait"))
SPEEDS = {_WALK: 0.8, _RUN: 2.0}  # statures per second
STRIDES = {_WALK: 0.85, _RUN: 1.4}  # statures for two steps
OFF_STAGE = 0.35  # statures beyond the border that somebody waits
SEEN = 0.3  # whoever shows less than this share of the keypoints' places is hidden


@dataclass(frozen=True)
class FilmSettings:
    """How long a film is, and how much goes on in it."""

    size: tuple[int, int] = (360, 640)  # (height, width)
    frames: int = 150
    people: int = 6
    rate: float = 25.0  # frames per second
    pillar: bool = True

    def __post_init__(self) -> None:
        if self.frames < 2 or self.people < 1:
            raise ValueError(f"a film of {self.frames} frames and {self.people} people; expected 2 and 1 at least")


@dataclass(frozen=True)
class Frame:
    """One image of a film, and who is on it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    ids: np.ndarray  # (N), 1 for the first of the cast
    boxes: np.ndarray  # (N, 4) xyxy around the visible pixels
    keypoints: np.ndarray  # (N, K, 2), also where they are hidden
    visibility: np.ndarray  # (N, K) 0 outside, 1 hidden, 2 seen
    shown: np.ndarray  # (N) the share of keypoints' places where nothing else is in the way, SEEN to 1


@dataclass(frozen=True)
class Cast:
    """Who plays, and where everybody is at any time."""

    shape: Shape
    wardrobe: Wardrobe
    gait: np.ndarray  # (N) walk or run
    share: np.ndarray  # (N, angles): everybody moves in their own way
    statures: np.ndarray  # (N) pixels
    feet: np.ndarray  # (N) pixels from the top
    paths: np.ndarray  # (frames, N) pixels from the left


def film(seed: int, settings: FilmSettings | None = None) -> Iterator[Frame]:
    """The frames of film number `seed`."""
    settings = settings or FilmSettings()
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    height, width = settings.size
    horizon, eye = 0.35 * height, 1.0
    cast = _cast(generator, settings, horizon=horizon, eye=eye)
    background = draw_background(generator, settings.size, horizon)
    exposure = Exposure.draw(generator)
    tallest = float(cast.statures.max())
    foot = np.array([generator.uniform(0.35, 0.65) * width, 1.02 * height])
    walls = draw_pillar(foot, width=0.4 * tallest, height=1.1 * height, layer=2 * tallest)
    speeds = np.gradient(cast.paths, axis=0)  # (frames, N) pixels per frame
    for number in range(settings.frames):
        travelled = abs(speeds[:number]).sum(0) / cast.statures  # (N)
        figures = _figures(cast, cast.paths[number], speeds[number] * settings.rate / cast.statures, travelled)
        patches = Patches.joined((figures.patches, walls)) if settings.pillar else figures.patches
        canvas = paint(patches, settings.size)
        image = photographed(generator, composed(canvas, exposure.light, background), exposure)
        yield _frame(image, canvas, figures)


def _cast(generator: np.random.Generator, settings: FilmSettings, *, horizon: float, eye: float) -> Cast:
    height, count = settings.size[0], settings.people
    statures = height * generator.uniform(0.38, 0.58, count)
    gait = np.where(generator.random(count) < 0.2, _RUN, _WALK)
    paths = np.stack(
        [_path(generator, settings, float(statures[i]), SPEEDS[int(gait[i])]) for i in range(count)], 1
    )  # (frames, N)
    return Cast(
        shape=Shape.draw(generator, count),
        wardrobe=Wardrobe.draw(generator, count),
        gait=gait,
        share=generator.random((count, len(ANGLES))),
        statures=statures,
        feet=horizon + eye * statures,
        paths=paths,
    )


def _path(generator: np.random.Generator, settings: FilmSettings, stature: float, speed: float) -> np.ndarray:
    """Where one person is from left to right in every frame: through, or in and back, waiting in between or not."""
    width, stage = settings.size[1], settings.frames
    step = speed * stature / settings.rate * generator.uniform(0.8, 1.2)  # pixels per frame
    beyond = OFF_STAGE * stature
    begin = generator.uniform(-0.3, 0.4) * stage  # some are on their way when the film begins
    goal = width + beyond
    turns = generator.random() < 0.35
    if turns:
        goal = generator.uniform(0.4, 0.8) * width
    arrived = begin + (goal + beyond) / step
    wait = generator.uniform(2, 15)
    there = (-beyond, goal, goal, -beyond) if turns else (-beyond, goal, goal, goal)
    when = (begin, arrived, arrived + wait, arrived + wait + (arrived - begin))
    path = np.interp(np.arange(-4, stage + 4), when, there)
    path = np.convolve(path, np.full(9, 1 / 9), "valid")  # nobody turns on the spot
    return width - path if generator.random() < 0.5 else path


def _figures(cast: Cast, places: np.ndarray, speeds: np.ndarray, travelled: np.ndarray) -> Figures:
    """Everybody at their places (N), going at speeds (N) in statures per second, in step with the way behind them."""
    count = len(places)
    stride = np.array([STRIDES[int(gait)] for gait in cast.gait])
    usual = np.array([SPEEDS[int(gait)] for gait in cast.gait])
    pace = np.clip(speeds / usual, -1, 1)[:, None]  # (N, 1)
    going = angles_of(cast.gait, cast.share, travelled / stride)
    standing = angles_of(np.full(count, _STAND), cast.share, np.zeros(count))
    placement = Placement(
        anchors=np.stack((places, cast.feet), 1),
        statures=cast.statures,
        yaws=85 * pace[:, 0],
        layers=cast.statures,
        pitch=8.0,
        distance=5.0,
    )
    angles = standing + abs(pace) * (going - standing)
    return pictured(placement, shape=cast.shape, wardrobe=cast.wardrobe, angles=angles, seated=np.zeros(count, bool))


def _frame(image: np.ndarray, canvas: Canvas, figures: Figures) -> Frame:
    """The image with everybody of whom enough can be seen."""
    size, owners, keypoints = image.shape[:2], canvas.owners(), figures.keypoints
    within = inside(keypoints, size)  # (N, K)
    columns, rows = np.floor(np.where(within[..., None], keypoints, 0)).astype(int).transpose(2, 0, 1)
    shown = (within & (owners[rows, columns] == np.arange(len(keypoints))[:, None])).mean(1)
    seen = np.flatnonzero(shown >= SEEN)
    boxes = np.array([_around(owners == figure) for figure in seen]).reshape(-1, 4)
    visibility = visibilities(canvas, figures, size)
    return Frame(image, seen + 1, boxes, keypoints[seen], visibility[seen], shown[seen])


def _around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box around all pixels of a mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
