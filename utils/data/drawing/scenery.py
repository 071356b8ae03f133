"""Everything around the figures: backgrounds with clutter, shadows, things that stand in the way, light and noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.data.drawing.canvas import CORNERS, NOBODY, SUBPIXEL_BITS, Patches, Tubes, capsules, hull

Colour = np.ndarray  # (3,) int


def draw_background(generator: np.random.Generator, size: tuple[int, int], horizon: float) -> np.ndarray:
    """A place to be (H, W, 3): in town, in the open, in a room, or nothing one could name."""
    place = generator.choice([_town, _meadow, _room, _room, _abstract], p=[0.28, 0.22, 0.22, 0.1, 0.18])
    image = place(generator, size, int(np.clip(horizon, 0.12 * size[0], 0.85 * size[0])))
    coarse = int(generator.choice([3, 6, 12, 30]))
    _grain(generator, image, coarse=coarse, strength=int(generator.integers(4, 10 + coarse // 2)))
    if generator.random() < 0.45:  # out of focus
        blur = int(generator.choice([3, 5, 9]))
        image = cv2.blur(image, (blur, blur))
    return image


def _shade(generator: np.random.Generator, low: int, high: int, tint: int) -> Colour:
    """A colour of some brightness, with each channel off by up to `tint`."""
    return np.clip(generator.integers(low, high) + generator.integers(-tint, tint + 1, 3), 0, 255)


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> np.ndarray:
    share = np.arange(size[0])[:, None] / max(size[0] - 1, 1)  # (H, 1)
    rows = (top + share * (bottom - top)).astype(np.uint8)  # (H, 3)
    return cv2.resize(rows[:, None], (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def _fill(image: np.ndarray, corners: np.ndarray, colour: Colour) -> None:
    fixed = np.rint((corners - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(image, [fixed], [int(c) for c in colour], cv2.LINE_AA, SUBPIXEL_BITS)


def _box(image: np.ndarray, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), [int(c) for c in colour], cv2.FILLED)


def _floor(generator: np.random.Generator, image: np.ndarray, horizon: int, colour: Colour) -> None:
    """Ground below the horizon, with lines that run towards the vanishing point."""
    height, width = image.shape[:2]
    image[horizon:] = _gradient((height - horizon, width), colour * 0.82, np.minimum(colour * 1.12, 255))
    if generator.random() < 0.55:
        vanish, darker = generator.uniform(0, width), colour * generator.uniform(0.75, 0.95)
        for foot in np.linspace(-width, 2 * width, int(generator.integers(6, 20))):
            ends = np.rint(np.array([[vanish, horizon], [foot, height]]) * 16).astype(int)
            cv2.line(image, ends[0].tolist(), ends[1].tolist(), [int(c) for c in darker], 1, cv2.LINE_AA, SUBPIXEL_BITS)


def _town(generator: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """Houses with windows under a sky."""
    height, width = size
    image = _gradient(size, _shade(generator, 130, 200, 14) + np.array([-20, 2, 30]), _shade(generator, 190, 235, 12))
    x = -width * generator.random() * 0.2
    while x < width:
        wide, tall = width * generator.uniform(0.12, 0.38), height * generator.uniform(0.15, 0.75)
        wall = _shade(generator, 80, 205, 22)
        _box(image, x, horizon - tall, x + wide, horizon, wall)
        pane, step = np.minimum(wall * generator.uniform(0.4, 1.35), 250), max(wide / generator.integers(3, 7), 7)
        for window_y in np.arange(horizon - tall + step * 0.4, horizon - step * 0.6, step * 1.2)[:7]:
            for window_x in np.arange(x + step * 0.3, x + wide - step * 0.6, step):
                _box(image, window_x, window_y, window_x + step * 0.5, window_y + step * 0.7, pane)
        x += wide * generator.uniform(0.9, 1.25)
    _floor(generator, image, horizon, _shade(generator, 110, 190, 14))
    return image


def _meadow(generator: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """Hills, trees and grass."""
    height, width = size
    image = _gradient(size, _shade(generator, 130, 190, 12) + np.array([-25, 8, 45]), _shade(generator, 205, 240, 10))
    green = _shade(generator, 80, 140, 16) + np.array([0, 26, -20])
    for layer in range(int(generator.integers(1, 4))):
        x = np.linspace(-0.1, 1.1, 14) * width
        y = horizon - height * (0.22 - 0.06 * layer) * generator.random(14)
        corners = np.concatenate((np.stack((x, y), 1), [[width * 1.1, height], [-width * 0.1, height]]))
        _fill(image, corners, np.clip(green + (22 - 9 * layer) * 2, 0, 250))
    _floor(generator, image, horizon, np.clip(green * 1.1, 0, 245))
    for _ in range(int(generator.integers(1, 7))):
        x, tall = generator.uniform(0, width), height * generator.uniform(0.15, 0.5)
        foot = horizon + height * generator.uniform(0, 0.08)
        _box(image, x - tall * 0.035, foot - tall * 0.6, x + tall * 0.035, foot, _shade(generator, 60, 100, 12))
        leaves = np.clip(green * generator.uniform(0.6, 1.05), 0, 250)
        for blob in generator.uniform(-1, 1, (5, 2)):
            centre = (int(x + blob[0] * tall * 0.22), int(foot - tall * (0.78 + 0.18 * blob[1])))
            shade = [int(c) for c in np.clip(leaves * (1 - 0.12 * blob[1]), 0, 250)]
            cv2.circle(image, centre, max(int(tall * 0.2), 2), shade, cv2.FILLED, cv2.LINE_AA)
    return image


def _room(generator: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """A wall with pictures and shelves, and a floor."""
    height, width = size
    wall = _shade(generator, 130, 235, 16)
    image = _gradient(size, wall, wall * generator.uniform(0.75, 0.95))
    if generator.random() < 0.35:
        step = max(width // int(generator.integers(8, 30)), 4)
        for x in range(0, width, 2 * step):
            _box(image, x, 0, x + step, height, np.clip(wall * 0.93, 0, 255))
    floor = min(int(horizon + 0.1 * height), height - 8)
    for _ in range(int(generator.integers(2, 8))):
        x, y = generator.uniform(-0.1, 0.95) * width, generator.uniform(0, 0.7) * floor
        wide, tall = generator.uniform(0.06, 0.32) * width, generator.uniform(0.06, 0.32) * height
        frame, inner = _shade(generator, 30, 230, 40), _shade(generator, 40, 240, 60)
        _box(image, x, y, x + wide, y + tall, frame)
        _box(image, x + 3, y + 3, x + wide - 3, y + tall - 3, inner)
        if generator.random() < 0.6:
            corners = (x, y) + generator.uniform(0.1, 0.9, (3, 2)) * (wide, tall)
            _fill(image, corners, _shade(generator, 40, 240, 60))
    _floor(generator, image, floor, _shade(generator, 90, 190, 16) + np.array([14, 2, -14]))
    _box(image, 0, floor - height // 45, width, floor, np.clip(wall * 1.15, 0, 250))
    return image


def _abstract(generator: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """Coloured patches, sticks and blobs without meaning."""
    image = _gradient(size, _shade(generator, 70, 220, 30), _shade(generator, 70, 220, 30))
    extent = np.array([size[1], size[0]])
    for _ in range(int(generator.integers(8, 30))):
        centre, reach = generator.random(2) * extent, generator.uniform(0.03, 0.3) * extent
        colour = _shade(generator, 30, 240, 60)
        if generator.random() < 0.5:
            _fill(image, centre + generator.uniform(-1, 1, (int(generator.integers(3, 6)), 2)) * reach, colour)
        else:
            ends = np.rint(centre + generator.uniform(-1, 1, (2, 2)) * reach).astype(int).tolist()
            thick = int(generator.integers(2, max(size[0] // 16, 4)))
            cv2.line(image, ends[0], ends[1], [int(c) for c in colour], thick, cv2.LINE_AA)
    return image


def _grain(generator: np.random.Generator, image: np.ndarray, *, coarse: int, strength: int) -> None:
    """Uneven brightness with spots of about `coarse` pixels, in place."""
    height, width = image.shape[:2]
    spots = generator.integers(0, 2 * strength, (height // coarse + 2, width // coarse + 2), dtype=np.uint8)
    spots = cv2.resize(spots, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    cv2.add(image, cv2.merge([spots] * 3), dst=image)
    cv2.subtract(image, np.full_like(image, strength), dst=image)


# ------------------------------------------------------------------------------------------------ shadows


def cast_shadows(image: np.ndarray, *, bones: np.ndarray, widths: np.ndarray, strength: float) -> np.ndarray:
    """The image darkened where bones (n, 2, 2) with their widths (n) lie on the floor."""
    height, width = image.shape[:2]
    mask = np.zeros((height // 2, width // 2), np.uint8)
    ends = np.rint(np.clip(bones, -4 * width, 4 * width) * 8).astype(int)  # half size, four fractional bits
    for (start, end), wide in zip(ends.tolist(), np.maximum(np.rint(widths / 2), 1).astype(int).tolist(), strict=True):
        cv2.line(mask, start, end, 255, wide, cv2.LINE_8, SUBPIXEL_BITS)
    mask = cv2.resize(cv2.blur(mask, (5, 5)), (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    keep = cv2.LUT(mask, (255 - strength * np.arange(256)).astype(np.uint8))  # (H, W)
    return cv2.multiply(image, cv2.merge([keep] * 3), scale=1 / 255)


# ------------------------------------------------------------------------------------------------ things


def draw_things(
    generator: np.random.Generator, *, feet: np.ndarray, heights: np.ndarray, layers: np.ndarray
) -> Patches:
    """Boxes, poles, balls and bushes standing at feet (n, 2), as tall as a person there would be (n) pixels."""
    groups = []
    for foot, height, layer in zip(feet, heights, layers, strict=True):
        kind = generator.choice([_crate, _pole, _ball, _bush], p=[0.4, 0.15, 0.15, 0.3])
        outlines, colours, tubes = kind(generator, foot, height)
        count = len(outlines)
        nobody, keys = np.full(count, NOBODY), -np.arange(count) * 1e-3
        groups.append(Patches(outlines, np.full(count, layer), keys, colours, nobody, nobody, tubes))
    return Patches.joined(groups) if groups else nothing()


def draw_pillar(foot: np.ndarray, *, width: float, height: float, layer: float) -> Patches:
    """A broad pillar that people disappear behind."""
    (x, y), half = foot, width / 2
    front = np.array([[x - half, y], [x - half, y - height], [x + half, y - height], [x + half, y]])
    colours = np.array([[150, 138, 126], [172, 160, 146]], np.uint8)
    nobody, keys = np.full(2, NOBODY), np.array([0.0, -1e-3])
    outlines = np.stack((hull(front), hull(front * (0.7, 1) + (0.3 * x, 0))))
    return Patches(outlines, np.full(2, layer), keys, colours, nobody, nobody, _flat(2, foot))


def nothing() -> Patches:
    """No patches."""
    pairs = [np.zeros((0, 2)) for _ in range(6)]
    empty, no_names = np.zeros(0), np.zeros(0, int)
    return Patches(
        np.zeros((0, CORNERS, 2)), empty, empty, np.zeros((0, 3), np.uint8), no_names, no_names, Tubes(*pairs)
    )


Thing = tuple[np.ndarray, np.ndarray, Tubes]


def _crate(generator: np.random.Generator, foot: np.ndarray, height: float) -> Thing:
    """A box, a table or a counter: a front and a top."""
    wide, tall = height * generator.uniform(0.15, 0.5), height * generator.uniform(0.2, 0.6)
    deep, slant = height * generator.uniform(0.04, 0.12), height * generator.uniform(-0.1, 0.1)
    left, right, bottom, top = foot[0] - wide / 2, foot[0] + wide / 2, foot[1], foot[1] - tall
    front = np.array([[left, bottom], [left, top], [right, top], [right, bottom]])
    lid = np.array([[left, top], [left + slant, top - deep], [right + slant, top - deep], [right, top]])
    band = front * (1, 0) + (np.array([bottom, top, top, bottom]) * 0.3 + (0.7 * top + 0.3 * bottom) * 0.7)[:, None] * (
        0, 1)  # fmt: skip
    colour = _shade(generator, 60, 210, 40)
    colours = np.stack((colour, np.minimum(colour * 1.22, 255), colour * 0.8)).astype(np.uint8)
    return np.stack((hull(front), hull(lid), hull(band))), colours, _flat(3, foot)


def _pole(generator: np.random.Generator, foot: np.ndarray, height: float) -> Thing:
    """A lamp post or a column."""
    top = foot - (height * generator.uniform(-0.1, 0.1), height * generator.uniform(0.9, 1.8))
    radius = np.full((1, 2), height * generator.uniform(0.015, 0.07))
    return _round(foot[None], top[None], radius, _shade(generator, 50, 220, 40)[None])


def _ball(generator: np.random.Generator, foot: np.ndarray, height: float) -> Thing:
    radius = np.full((1, 2), height * generator.uniform(0.06, 0.2))
    centre = foot[None] - (0, radius[0, 0])
    return _round(centre, centre, radius, _shade(generator, 70, 220, 80)[None])


def _bush(generator: np.random.Generator, foot: np.ndarray, height: float) -> Thing:
    """Leaves in a heap, or balloons."""
    count = int(generator.integers(5, 10))
    spread = height * generator.uniform(0.08, 0.22)
    centres = foot - (0, spread) + generator.uniform(-1, 1, (count, 2)) * spread
    radius = np.repeat(spread * generator.uniform(0.4, 0.7, (count, 1)), 2, 1)
    colour = _shade(generator, 70, 150, 40) + np.array([0, 25, -10])
    return _round(centres, centres, radius, np.clip(colour + generator.integers(-18, 19, (count, 1)), 5, 250))


def _round(start: np.ndarray, end: np.ndarray, radius: np.ndarray, colours: np.ndarray) -> Thing:
    end = end + np.array([0, 1e-3])
    caps, nowhere = np.ones_like(radius), np.zeros_like(radius)
    return capsules(start, end, radius), colours.astype(np.uint8), Tubes(start, end, radius, caps, nowhere, nowhere)


def _flat(count: int, foot: np.ndarray) -> Tubes:
    """Tubes so wide that they look flat."""
    start, two = np.repeat(foot[None], count, 0), np.ones((count, 2))
    return Tubes(start, start - (0, 1.0), two * 1e6, two * 0, two * 0, two * 0)


# ------------------------------------------------------------------------------------------------ the camera


@dataclass(frozen=True)
class Exposure:
    """What the camera does to the light."""

    light: np.ndarray  # (3,) towards the lamp
    gains: np.ndarray  # (3,) of red, green and blue
    gamma: float
    noise: int  # grey levels
    blur: int  # pixels, 1 for none

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "Exposure":
        lamp = np.array([generator.uniform(-0.8, 0.8), generator.uniform(-1.0, -0.35), generator.uniform(-1.0, -0.6)])
        return cls(
            light=lamp / np.sqrt((lamp * lamp).sum()),
            gains=generator.uniform(0.78, 1.14) * generator.uniform(0.93, 1.07, 3),
            gamma=generator.uniform(0.8, 1.25),
            noise=int(generator.choice([1, 2, 4, 8, 16], p=[0.2, 0.3, 0.25, 0.17, 0.08])),
            blur=int(generator.choice([1, 3], p=[0.88, 0.12])),
        )


def photographed(generator: np.random.Generator, image: np.ndarray, exposure: Exposure) -> np.ndarray:
    """The image as this camera would have taken it."""
    if exposure.blur > 1:
        image = cv2.blur(image, (exposure.blur, exposure.blur))
    levels = np.arange(256) / 255
    table = 255 * levels[:, None] ** exposure.gamma * exposure.gains
    image = cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8)[:, None])
    if exposure.noise > 1:
        grains = np.frombuffer(generator.bytes(image.size), np.uint8).reshape(image.shape)
        image = cv2.add(image, cv2.multiply(grains, (2 * exposure.noise / 256,) * 4))
        image = cv2.subtract(image, (exposure.noise,) * 4)
    return image
