"""View: a scale and a flip under which the network looks at the same images, and the way back for what it saw."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.nn import functional

from utils.core.geometry import Matrix, chain, mirror, move_boxes, move_points, scaling, upside_down
from utils.core.poses import Candidates
from utils.core.schema import KeypointSchema

PADDING = 114 / 255  # the grey that letterboxes are filled with
# The dimension that is reversed, as YOLOv5 users type it: -1 none, 2 height, 3 width.
FLIP_CODES = {-1: None, 2: "vertical", 3: "horizontal"}


@dataclass(frozen=True)
class View:
    """How an image is looked at once more. `View()` looks at it as it is."""

    scale: float = 1.0
    flip: Literal["horizontal", "vertical"] | None = None
    size: tuple[int, int] | None = None  # (height, width) of the unviewed images; `of` fills it in

    @property
    def is_plain(self) -> bool:
        return self.scale == 1.0 and self.flip is None

    def of(self, images: torch.Tensor) -> "View":
        """This view of these images: now it knows their size, and the way back is exact."""
        return replace(self, size=(images.shape[-2], images.shape[-1]))

    def apply(self, images: torch.Tensor, stride: int) -> torch.Tensor:
        """Flip, then scale, then fill up to whole strides on the right and below."""
        if self.flip is not None:
            images = images.flip(3 if self.flip == "horizontal" else 2)
        if self.scale == 1.0:
            return images
        height, width = (int(side * self.scale) for side in images.shape[-2:])
        images = functional.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
        below, right = ((math.ceil(side / stride) * stride - side) for side in (height, width))
        return functional.pad(images, (0, right, 0, below), value=PADDING)

    def undo(self, candidates: Candidates, schema: KeypointSchema) -> Candidates:
        """Candidates seen in this view, in the pixels of the unviewed image, left and right put back."""
        if self.is_plain:
            return candidates
        keypoints, scores = candidates.keypoints, candidates.keypoint_scores
        if self.flip == "horizontal":
            keypoints, scores = keypoints[:, :, schema.swap], scores[:, :, schema.swap]
        back = self._way_back()
        return Candidates(move_boxes(candidates.boxes, back), candidates.scores, move_points(keypoints, back), scores)

    def _way_back(self) -> Matrix:
        assert self.size is not None, "a scaled or flipped view must know the size: View(...).of(images)"
        height, width = self.size
        unscaled = scaling(width / int(width * self.scale), height / int(height * self.scale))
        if self.flip is None:
            return unscaled
        return chain(unscaled, mirror(width) if self.flip == "horizontal" else upside_down(height))


def read_views(scales: Sequence[float], flips: Sequence[int]) -> tuple[View, ...]:
    """Views from `--scales 0.8 1 1.2 --flips -1 3 -1`: one flip per scale, or none at all."""
    if flips and len(flips) != len(scales):
        raise ValueError(f"--flips: {len(flips)} values but {len(scales)} --scales; give one flip for each scale")
    for flip in flips:
        if flip not in FLIP_CODES:
            raise ValueError(f"--flips: found {flip}; expected -1 (none), 2 (upside down) or 3 (left and right)")
    for scale in scales:
        if not 0.1 <= scale <= 4:
            raise ValueError(f"--scales: found {scale:g}; expected 0.1 to 4")
    if not scales:
        raise ValueError("--scales: found nothing; expected at least one")
    codes = flips or [-1] * len(scales)
    return tuple(View(float(scale), FLIP_CODES[code]) for scale, code in zip(scales, codes, strict=True))
