"""The largest batch that fits on a GPU: a few steps with small ones, a straight line, and some room to spare."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from utils.core.console import log
from utils.core.contract import PoseModel
from utils.core.poses import Batch, Targets, untouched
from utils.training.learner import Learner
from utils.training.ranks import Ranks
from utils.training.settings import TrainSettings

TRIED = (1, 2, 4, 8, 16)
SHARE = 0.85  # of the memory that is free


def fitting_batch_size(model: PoseModel, settings: TrainSettings, device: torch.device) -> int:
    """For `--batch-size -1`: images that one GPU can learn from at a time."""
    if device.type != "cuda":
        raise ValueError(
            f"--batch-size -1: found the device {device.type}; what fits can only be measured on a GPU, give a number"
        )
    free, _ = torch.cuda.mem_get_info(device)
    used = measured(lambda size: _peak(model, settings, device, size))
    found = batch_that_fits(used, SHARE * (free + torch.cuda.memory_allocated(device)))
    log.info("--batch-size -1: %d images fit into %.1f GB (%s)", found, SHARE * free / 1e9,
             ", ".join(f"{size}: {peak / 1e9:.2f} GB" for size, peak in used.items()))  # fmt: skip
    return found


def measured(peak: Callable[[int], int]) -> dict[int, int]:
    """Bytes by batch size, as far as they fit."""
    found: dict[int, int] = {}
    for size in TRIED:
        try:
            found[size] = peak(size)
        except torch.OutOfMemoryError:
            break
    if not found:
        raise ValueError("--batch-size -1: not even one image fits on this GPU; choose a smaller --img or model")
    return found


def batch_that_fits(used: Mapping[int, float], room: float) -> int:
    """Where the straight line through what was measured meets the room; never less than was seen to fit."""
    largest = max(used)
    if len(used) == 1:
        return largest
    slope, start = np.polyfit(list(used), list(used.values()), 1)
    reached = int((room - start) / slope) if slope > 0 else largest
    fits = max(size for size in used if used[size] <= room or size == min(used))
    failed = largest < TRIED[-1]  # the next one did not fit: believe that more than the line
    return max(min(reached, 2 * largest - 1) if failed else reached, fits)


def _peak(model: PoseModel, settings: TrainSettings, device: torch.device, size: int) -> int:
    """Peak memory of two steps with so many grey images, each with one person."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    largest = settings.multi_scale and (settings.multi_scale[1],) * 2
    settings = replace(settings, batch_size=size, nominal_batch=size, sync_bn=False, compile=False, multi_scale=largest)
    twin = type(model)(model.spec)
    learner = Learner(twin, settings, device=device, steps_per_epoch=100, ranks=Ranks(alone=True))
    learner.start_epoch()
    for step in range(2):
        learner.learn(grey(model, size), step)
    return torch.cuda.max_memory_allocated(device)


def grey(model: PoseModel, size: int) -> Batch:
    """A batch with one person in the middle of every image."""
    height, width = model.spec.input_size
    count = model.spec.schema.count
    box = torch.tensor([0.25 * width, 0.2 * height, 0.75 * width, 0.8 * height])
    targets = Targets(
        image_index=torch.arange(size),
        boxes=box.repeat(size, 1),
        keypoints=torch.tensor([0.5 * width, 0.5 * height]).repeat(size, count, 1),
        visibility=torch.full((size, count), 2.0),
        areas=torch.full((size,), 0.3 * width * height),
        classes=torch.zeros(size, dtype=torch.int64),
    )
    images = torch.full((size, 3, height, width), 114, dtype=torch.uint8)
    return Batch(images, targets, tuple(untouched(str(i), f"grey {i}", (height, width)) for i in range(size)))
