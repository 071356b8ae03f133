"""The head of YOLO-Pose: on each level a branch for boxes and one for keypoints, and how they make anchors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.layers import Conv, DWConv
from utils.core.contract import ModelSpec

BOX = 4  # numbers of a box; objectness follows, then the classes, then x, y and visibility of each keypoint
LEVELS = (3, 4, 5)  # how many levels a head may have


@dataclass(frozen=True)
class HeadSettings:
    inputs: tuple[int, ...]  # rows of the graph, finest first
    anchors: tuple[tuple[float, ...], ...]  # per level: width, height, width, height, ... in pixels
    # published: box and keypoint channels are joined first and cut into anchors then, so that the second and third
    # anchor live in the keypoint branch alone. clean: every anchor has box and keypoint channels of its own.
    layout: Literal["published", "clean"] = "published"
    keypoint_depth: int = 6  # depthwise convolutions in the keypoint branch; 0 for a single 1x1


class PoseHead(nn.Module):
    """Two branches on each level: a 1x1 for boxes, a chain of depthwise convolutions for keypoints."""

    def __init__(self, channels: Sequence[int], anchors: int, spec: ModelSpec, settings: HeadSettings) -> None:
        super().__init__()
        self.anchors = anchors
        self.clean = settings.layout == "clean"
        self.classes = len(spec.classes)
        keypoints = spec.schema.count
        self.box = nn.ModuleList(nn.Conv2d(c, anchors * (BOX + 1 + self.classes), 1) for c in channels)
        self.keypoint = nn.ModuleList(
            _keypoint_branch(c, anchors * 3 * keypoints, settings.keypoint_depth) for c in channels if keypoints
        )

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if not len(self.keypoint):
            return tuple(box(x) for x, box in zip(features, self.box, strict=True))
        return tuple(
            self._join(box(x), keypoint(x)) for x, box, keypoint in zip(features, self.box, self.keypoint, strict=True)
        )

    def _join(self, box: torch.Tensor, keypoint: torch.Tensor) -> torch.Tensor:
        if not self.clean:
            return torch.cat((box, keypoint), 1)
        pairs = zip(box.chunk(self.anchors, 1), keypoint.chunk(self.anchors, 1), strict=True)
        return torch.cat([part for pair in pairs for part in pair], 1)

    def start_from_priors(self, strides: Sequence[int]) -> None:
        """Biases that begin with eight people in an image of 640, and class probabilities near 0.6 of a share."""
        for conv, stride in zip(self.box, strides, strict=True):
            bias = conv.bias.detach().view(self.anchors, -1)
            bias[:, BOX] += math.log(8 / (640 / stride) ** 2)
            bias[:, BOX + 1 :] += math.log(0.6 / (self.classes - 0.99))


def _keypoint_branch(channels: int, outputs: int, depth: int) -> nn.Module:
    """Depthwise 3x3 and pointwise 1x1 in turn, then the output; depth 0 is the output alone."""
    output = nn.Conv2d(channels, outputs, 1)
    if depth == 0:
        return output
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [DWConv(channels, channels, 3), Conv(channels, channels)]
    return nn.Sequential(*layers[:-1], output)


def heat_branch(channels: int, keypoints: int) -> nn.Module:
    """A map of every keypoint from the finest features, which begins with nearly no keypoint anywhere."""
    branch = nn.Conv2d(channels, keypoints, 1)
    nn.init.constant_(branch.bias, -3.0)
    return branch


def anchor_table(settings: HeadSettings) -> torch.Tensor:
    """(levels, A, 2) in pixels, checked against the levels of the head."""
    counts = {len(level) for level in settings.anchors}
    if len(settings.anchors) != len(settings.inputs):
        raise ValueError(f"head: {len(settings.inputs)} inputs but anchors for {len(settings.anchors)} levels")
    if len(settings.inputs) not in LEVELS:
        raise ValueError(f"head: {len(settings.inputs)} inputs found; expected 3 to 5")
    if len(counts) != 1 or counts.pop() % 2 or min(min(level, default=0) for level in settings.anchors) <= 0:
        raise ValueError("head: anchors: expected as many width, height pairs on every level, all above 0")
    return torch.tensor(settings.anchors).view(len(settings.anchors), -1, 2)
