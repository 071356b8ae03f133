"""Batches: samples side by side in tensors, and the same batch at another size for multi-scale training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from utils.core import images
from utils.core.geometry import move_boxes, move_points, scaling
from utils.core.poses import Batch, Targets
from utils.data.sample import Sample


def collate(samples: Sequence[Sample | None]) -> Batch | None:
    """One batch of the samples that there are; None when all images were damaged."""
    found = [sample for sample in samples if sample is not None]
    if not found:
        return None
    counts = torch.tensor([len(sample) for sample in found])
    return Batch(
        images=images.stack([sample.image for sample in found]),
        targets=Targets(
            image_index=torch.arange(len(found)).repeat_interleave(counts),
            boxes=_together(found, "boxes", np.float32),
            keypoints=_together(found, "keypoints", np.float32),
            visibility=_together(found, "visibility", np.float32),
            areas=_together(found, "areas", np.float32),
            classes=_together(found, "classes", np.int64),
        ),
        origins=tuple(sample.origin for sample in found),
    )


def _together(samples: Sequence[Sample], name: str, kind: type) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([getattr(sample, name) for sample in samples]).astype(kind, copy=False))


def draw_size(base: int, rng: np.random.Generator, *, low: float = 0.5, high: float = 1.5, stride: int = 64) -> int:
    """A side for multi-scale training, in whole strides from `low` to `high` times the usual one."""
    return int(rng.integers(round(low * base / stride), round(high * base / stride) + 1)) * stride


def rescaled(batch: Batch, size: tuple[int, int]) -> Batch:
    """The batch at another (height, width), computed where it is; everybody in it moves along."""
    height, width = batch.images.shape[-2:]
    if (height, width) == tuple(size):
        return batch
    pixels = functional.interpolate(batch.images.float(), size=size, mode="bilinear", align_corners=False)
    if batch.images.dtype == torch.uint8:
        pixels = pixels.round_().to(torch.uint8)
    matrix = scaling(size[1] / width, size[0] / height)
    targets = replace(
        batch.targets,
        boxes=move_boxes(batch.targets.boxes, matrix),
        keypoints=move_points(batch.targets.keypoints, matrix),
        areas=batch.targets.areas * float(matrix[0, 0] * matrix[1, 1]),
    )
    return Batch(pixels, targets, tuple(origin.under(matrix) for origin in batch.origins))
