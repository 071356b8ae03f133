"""Multi-scale training: a batch at another size, resized where the network runs, its persons with it."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from utils.core.geometry import move_boxes, move_points, scaling
from utils.core.poses import Targets


def draw_side(longest: int, shares: tuple[float, float], stride: int, rng: np.random.Generator) -> int:
    """A whole multiple of the stride between two shares of the longest side."""
    low, high = (max(round(longest * share / stride), 1) for share in shares)
    return int(rng.integers(low, high, endpoint=True)) * stride


def rescaled(images: torch.Tensor, targets: Targets, side: int, stride: int) -> tuple[torch.Tensor, Targets]:
    """Images (B, 3, H, W) in 0..1 with their longest side so long, both in whole strides, and the persons on them."""
    height, width = images.shape[-2:]
    factor = side / max(height, width)
    size = tuple(math.ceil(length * factor / stride) * stride for length in (height, width))
    if size == (height, width):
        return images, targets
    matrix = scaling(size[1] / width, size[0] / height)
    moved = replace(
        targets,
        boxes=move_boxes(targets.boxes, matrix),
        keypoints=move_points(targets.keypoints, matrix),
        areas=targets.areas * (matrix[0, 0] * matrix[1, 1]),
    )
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False), moved
