"""The head of YOLOX-Pose: on each level a tower for classes, one for boxes and one for keypoints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from models.layers import Conv
from utils.core.contract import ModelSpec
from utils.core.geometry import Fit

BOX = 4  # numbers of a box; objectness follows, then the classes, then the keypoints
PRIOR = -math.log((1 - 0.01) / 0.01)  # a new head expects somebody in one cell of a hundred

# How each original puts an image into its input. None of them averages when it shrinks.
LETTERBOXES = {
    "corner": Fit("nearest", "corner", smooth=False),  # mmpose's project and MMYOLO
    "centre": Fit("none", "centre", smooth=False),  # mmpose's core
    "corner_down": Fit("down", "corner", smooth=False),  # TI and Megvii
}


@dataclass(frozen=True)
class HeadSettings:
    inputs: tuple[int, ...]  # rows of the graph, finest first
    pose_depth: int = 4  # convolutions in the tower of the keypoints; TI has 2
    # offsets: x, y of all keypoints, then their visibility, in strides from the cell's corner. doubled: x, y and
    # visibility keypoint by keypoint, each as 2 v - 0.5 cells; it is what TI's runtime decodes.
    keypoints: Literal["offsets", "doubled"] = "offsets"
    visibility_prior: bool = True  # begin with the visibility as unlikely as the objectness
    letterbox: Literal["corner", "centre", "corner_down"] = "corner"
    activation: str = "silu"


class Slots(NamedTuple):
    """What the cells say, cell after cell and level after level."""

    box: torch.Tensor  # (B, A, 4): centre in strides from the cell's corner, logarithm of the sides in strides
    object: torch.Tensor  # (B, A)
    classes: torch.Tensor  # (B, A, C)
    keypoints: torch.Tensor  # (B, A, K, 2) in strides from the cell's corner
    visibility: torch.Tensor  # (B, A, K)


class Grid(NamedTuple):
    corners: torch.Tensor  # (A, 2) pixels, x before y
    strides: torch.Tensor  # (A)


class YoloxHead(nn.Module):
    """No weight is shared between levels."""

    def __init__(self, channels: Sequence[int], spec: ModelSpec, settings: HeadSettings) -> None:
        super().__init__()
        classes, keypoints = len(spec.classes), spec.schema.count
        per_keypoint = 3 if settings.keypoints == "doubled" else 2

        def towers(depth: int) -> nn.ModuleList:
            return nn.ModuleList(_tower(width, depth, settings.activation) for width in channels)

        def outputs(count: int, prior: float | None = None) -> nn.ModuleList:
            return nn.ModuleList(_output(width, count, prior) for width in channels)

        self.class_tower, self.box_tower, self.pose_tower = towers(2), towers(2), towers(settings.pose_depth)
        self.classes, self.box, self.object = outputs(classes, PRIOR), outputs(BOX), outputs(1, PRIOR)
        self.keypoints = outputs(per_keypoint * keypoints)
        prior = PRIOR if settings.visibility_prior else None
        self.visibility = outputs(keypoints, prior) if settings.keypoints == "offsets" else None

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(self._level(index, x) for index, x in enumerate(features))

    def _level(self, index: int, x: torch.Tensor) -> torch.Tensor:
        boxes, poses = self.box_tower[index](x), self.pose_tower[index](x)
        parts = [self.box[index](boxes), self.object[index](boxes), self.classes[index](self.class_tower[index](x))]
        parts.append(self.keypoints[index](poses))
        if self.visibility is not None:
            parts.append(self.visibility[index](poses))
        return torch.cat(parts, 1)


def _tower(channels: int, depth: int, activation: str) -> nn.Sequential:
    return nn.Sequential(*(Conv(channels, channels, 3, activation=activation) for _ in range(depth)))


def _output(channels: int, count: int, prior: float | None) -> nn.Conv2d:
    conv = nn.Conv2d(channels, count, 1)
    if prior is not None:
        nn.init.constant_(conv.bias, prior)
    return conv


def grid_of(raw: Sequence[torch.Tensor], strides: Sequence[int]) -> Grid:
    """Where the cells of all levels stand: level, row, column."""
    corners, steps = [], []
    for level, stride in zip(raw, strides, strict=True):
        rows, columns = (torch.arange(side, device=level.device) for side in level.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        corners.append(torch.stack((x, y), -1).flatten(0, 1).float() * stride)
        steps.append(torch.full((level.shape[-2] * level.shape[-1],), float(stride), device=level.device))
    return Grid(torch.cat(corners), torch.cat(steps))


def slots_of(raw: Sequence[torch.Tensor], grid: Grid, spec: ModelSpec, settings: HeadSettings) -> Slots:
    """The maps of all levels cut into what they mean, in float32: fp16 cannot tell neighbouring pixels apart."""
    slots = torch.cat([level.flatten(2).transpose(1, 2) for level in raw], 1).float()  # (B, A, slots)
    count, classes = spec.schema.count, BOX + 1 + len(spec.classes)
    points = slots[..., classes:]
    if settings.keypoints == "doubled":
        points = 2 * points.unflatten(-1, (count, 3)) - 0.5  # (B, A, K, 3)
        keypoints, visibility = points[..., :2], points[..., 2] * grid.strides[:, None]
    else:
        keypoints, visibility = points[..., : 2 * count].unflatten(-1, (count, 2)), points[..., 2 * count :]
    return Slots(slots[..., :BOX], slots[..., BOX], slots[..., BOX + 1 : classes], keypoints, visibility)


def boxes_of(box: torch.Tensor, corners: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """Box slots (..., 4) of cells (..., 2), (...) as xyxy pixels."""
    centre, half = corners + box[..., :2] * strides[..., None], box[..., 2:].exp() * strides[..., None] / 2
    return torch.cat((centre - half, centre + half), -1)


def keypoints_of(keypoints: torch.Tensor, corners: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """Keypoint slots (..., K, 2) of cells (..., 2), (...) in pixels."""
    return corners[..., None, :] + keypoints * strides[..., None, None]
