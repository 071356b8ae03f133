"""Which samples make up which batch: pure functions of seed, epoch, rank and world, and a sampler that walks them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.data.dataset import Ticket
from utils.data.records import Records
from utils.data.sample import Size


def order(count: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The indices of an epoch in random order; with weights, drawn with replacement in proportion to them."""
    rng = np.random.default_rng((seed, epoch))
    if weights is None:
        return rng.permutation(count)
    if len(weights) != count or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"image weights: found {len(weights)} for {count} samples; expected one each, none negative")
    return rng.choice(count, size=count, p=weights / weights.sum())


def copies(indices: np.ndarray) -> np.ndarray:
    """How often each entry has stood in the list before."""
    arranged = np.argsort(indices, kind="stable")
    values = indices[arranged]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(values)])
    counted = np.empty(len(values), np.int64)
    counted[arranged] = np.arange(len(values)) - np.repeat(starts, lengths)
    return counted


def steps(count: int, batch_size: int, world: int) -> list[int]:
    """How many samples all ranks together take in each step of an epoch; every rank gets at least one in each.

    Where the last step would leave a rank without work, the last two share what they have.
    """
    whole, rest = divmod(count, batch_size * world)
    sizes = [batch_size * world] * whole
    if not rest:
        return sizes
    if rest >= world or not sizes:
        return [*sizes, rest]
    shared = sizes.pop() + rest
    return [*sizes, shared - shared // 2, shared // 2]


def training_batches(indices: np.ndarray, batch_size: int, rank: int, world: int) -> list[np.ndarray]:
    """One rank's part of every step: positions in `indices`. All ranks together take each exactly once.

    Should the last step still have too few for every rank (one sample per rank and step, or a tiny set), samples from
    the epoch's beginning fill it up: a rank that skips a step would leave the others waiting.
    """
    batches, start = [], 0
    for size in steps(len(indices), batch_size, world):
        positions = np.arange(start, start + size)
        if size < world:
            positions = np.concatenate((positions, np.arange(world - size) % len(indices)))
        batches.append(positions[rank::world])
        start += size
    return batches


def evaluation_batches(count: int, batch_size: int, rank: int, world: int) -> list[np.ndarray]:
    """Whole batches in turn, so that an image is in the same batch for any number of ranks."""
    batches = [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    return batches[rank::world]


def rectangle(aspects: np.ndarray, longest: int, stride: int, pad: float = 0.0) -> Size:
    """The smallest (height, width) in whole strides for letterboxed images of these aspects (height over width)."""
    low, high = float(aspects.min()), float(aspects.max())
    shape = (high, 1.0) if high < 1 else (1.0, 1 / low) if low > 1 else (1.0, 1.0)
    return tuple(math.ceil(side * longest / stride + pad) * stride for side in shape)


@dataclass(frozen=True)
class Plan:
    """What decides the batches of every epoch."""

    batch_size: int
    seed: int = 0
    rank: int = 0
    world: int = 1


class TrainingSampler:
    """Lists of tickets for one epoch, from any step on."""

    def __init__(self, count: int, plan: Plan) -> None:
        self.count, self.plan = count, plan
        self.epoch, self.start = 0, 0
        self.weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(steps(self.count, self.plan.batch_size, self.plan.world))

    def __iter__(self) -> Iterator[list[Ticket]]:
        indices = order(self.count, self.plan.seed, self.epoch, self.weights)
        again = copies(indices)
        for positions in training_batches(indices, self.plan.batch_size, self.plan.rank, self.plan.world)[self.start :]:
            yield [Ticket(int(indices[i]), self.epoch, int(again[i])) for i in positions]


class EvaluationSampler:
    """Lists of tickets in file order; or rectangular, in order of aspect, each batch with a shape of its own."""

    def __init__(
        self,
        count: int,
        plan: Plan,
        *,
        aspects: np.ndarray | None = None,
        longest: int = 0,
        stride: int = 32,
        pad: float = 0.0,
    ) -> None:
        self.count, self.plan = count, plan
        self.aspects, self.longest, self.stride, self.pad = aspects, longest, stride, pad

    def __len__(self) -> int:
        return len(evaluation_batches(self.count, self.plan.batch_size, self.plan.rank, self.plan.world))

    def __iter__(self) -> Iterator[list[Ticket]]:
        arranged = np.arange(self.count) if self.aspects is None else np.argsort(self.aspects, kind="stable")
        for positions in evaluation_batches(self.count, self.plan.batch_size, self.plan.rank, self.plan.world):
            chosen = arranged[positions]
            size = None
            if self.aspects is not None:
                size = rectangle(self.aspects[chosen], self.longest, self.stride, self.pad)
            yield [Ticket(int(index), size=size) for index in chosen]


def image_weights(records: Records, class_weights: Sequence[float]) -> np.ndarray:
    """How often an image should come: the sum of its persons' class weights."""
    weights = np.asarray(class_weights, np.float64)[records.classes]
    return np.bincount(records.image_of_person(), weights, minlength=len(records))


def class_weights(records: Records, classes: int, precision: Sequence[float] | None = None) -> np.ndarray:
    """Rare classes and, once it is known, classes with a low average precision weigh more; they add up to 1."""
    counts = np.bincount(records.classes, minlength=classes).astype(np.float64)
    weights = 1 / np.maximum(counts, 1)
    if precision is not None:
        weights *= (1 - np.asarray(precision)) ** 2
    return weights / max(weights.sum(), 1e-12)
