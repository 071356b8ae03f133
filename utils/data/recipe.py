"""Augment: what a training recipe does to images, as its YAML says; and the random movement that it draws."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from utils.core.config import into
from utils.core.geometry import Matrix, chain, rotation, scaling, shearing, tilting, translation
from utils.data.sample import Limits

LARGEST_TILT = 0.8  # by which depth may shrink or grow; at 1 the canvas would reach the viewer
Anchor = Literal["centre", "origin", "output"]


@dataclass(frozen=True)
class Augment:
    """A recipe. The defaults do nothing; the keys of YOLO-Pose and KAPAO have the names and meanings they had there.

    For images: mosaic of 4 or 9, one random movement, mixup, colour, flips. For person crops: half body, scale,
    rotation, colour, flip.
    """

    mosaic: float = 0.0  # chance of four images in one
    mosaic9: float = 0.0  # chance that such a mosaic has nine
    mixup: float = 0.0  # chance to blend with a second one
    mixup_style: Literal["mosaic", "image"] = "mosaic"  # YOLO-Pose blends two mosaics, YOLOX adds a single image
    mixup_scale: tuple[float, float] = (0.8, 1.6)  # of that single image
    degrees: float = 0.0
    translate: float = 0.0  # share of the input size
    scale: float | tuple[float, float] = 0.0  # 1 +- this, or from the first to the second
    shear: float = 0.0  # degrees
    perspective: float = 0.0  # depth per pixel, 0 to 0.001
    about: Anchor = "centre"  # what stays in place: the centre, YOLOX's top left corner, or the input's centre
    hsv_h: float = 0.0  # hue, saturation and value are multiplied by 1 +- these
    hsv_s: float = 0.0
    hsv_v: float = 0.0
    hsv_add: tuple[float, float, float] = (0.0, 0.0, 0.0)  # or moved by +- these, each with chance 0.5, as in YOLOX
    fliplr: float = 0.0
    flipud: float = 0.0
    min_side: float = 2.0  # pixels; smaller persons are dropped after a movement
    min_area: float = 0.1  # so are those of whom less is left
    max_aspect: float = 20.0
    needs_keypoint: bool = False  # and those without a visible keypoint
    labelled_only: bool = True  # leave out annotated persons without a labelled keypoint from the start
    half_body: float = 0.0  # chance that a crop shows the upper or the lower half
    half_body_over: int = 8  # for persons with more labelled keypoints than this
    crop_scale: float = 0.0  # spread of the crop's scale, which is at most 1 +- this
    rotation: float = 0.0  # spread of the crop's rotation, degrees; at most twice that
    rotation_chance: float = 0.6

    def __post_init__(self) -> None:
        for name in ("mosaic", "mosaic9", "mixup", "fliplr", "flipud", "half_body", "rotation_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name):g} found; expected a chance from 0 to 1")
        low, high = self.scale_range
        if not 0 < low <= high:
            raise ValueError(f"scale: {self.scale} found; expected a share below 1, or two factors, smaller first")

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> "Augment":
        """From the keys of a recipe; `Augment.keys()` says which of a hyp YAML's are meant for it."""
        try:
            return into(cls, values, where)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    @property
    def scale_range(self) -> tuple[float, float]:
        return self.scale if isinstance(self.scale, tuple) else (1 - self.scale, 1 + self.scale)

    @property
    def limits(self) -> Limits:
        return Limits(self.min_side, self.min_area, self.max_aspect, self.needs_keypoint)

    def plain(self) -> "Augment":
        """The same without mosaic, mixup and movement, for a recipe's last epochs; colour and flips stay."""
        still = {"mosaic": 0.0, "mosaic9": 0.0, "mixup": 0.0, "degrees": 0.0, "translate": 0.0, "shear": 0.0}
        return replace(self, **still, scale=0.0, perspective=0.0)


@dataclass(frozen=True)
class Movement:
    """One drawn movement from a canvas to the network's input."""

    scale: float = 1.0
    degrees: float = 0.0
    shear: tuple[float, float] = (0.0, 0.0)  # degrees
    shift: tuple[float, float] = (0.0, 0.0)  # x and y, share of the input size
    tilt: tuple[float, float] = (0.0, 0.0)
    about: Anchor = "centre"

    def matrix(self, canvas: tuple[int, int], size: tuple[int, int]) -> Matrix:
        """From a canvas to an input of (height, width)."""
        middle = size[1] / 2, size[0] / 2
        before, after = {
            "centre": ((canvas[1] / 2, canvas[0] / 2), middle),
            "origin": ((0.0, 0.0), (0.0, 0.0)),
            "output": (middle, middle),
        }[self.about]
        return chain(
            translation(-before[0], -before[1]),
            tilting(*self._bearable_tilt(before, canvas)),
            scaling(self.scale, self.scale),
            rotation(self.degrees),
            shearing(*self.shear),
            translation(after[0] + self.shift[0] * size[1], after[1] + self.shift[1] * size[0]),
        )

    def _bearable_tilt(self, before: tuple[float, float], canvas: tuple[int, int]) -> tuple[float, float]:
        """The tilt, less where it would carry a corner of the canvas behind the viewer."""
        reach = sum(
            abs(tilt) * max(middle, side - middle)
            for tilt, middle, side in zip(self.tilt, before, canvas[::-1], strict=True)
        )
        share = min(1.0, LARGEST_TILT / reach) if reach else 1.0
        return self.tilt[0] * share, self.tilt[1] * share


def draw_movement(augment: Augment, rng: np.random.Generator) -> Movement:
    """Uniform in every direction that the recipe allows; always eight numbers, so that recipes stay comparable."""
    tilt, angle, scale, shear, shift = (
        rng.uniform(-1, 1, 2),
        rng.uniform(-1, 1),
        rng.uniform(*augment.scale_range),
        rng.uniform(-1, 1, 2),
        rng.uniform(-1, 1, 2),
    )
    return Movement(
        scale=scale,
        degrees=angle * augment.degrees,
        shear=(shear[0] * augment.shear, shear[1] * augment.shear),
        shift=(shift[0] * augment.translate, shift[1] * augment.translate),
        tilt=(tilt[0] * augment.perspective, tilt[1] * augment.perspective),
        about=augment.about,
    )
