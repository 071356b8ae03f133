"""Anchors for a data set: how many people the present ones can answer for, and better ones when those are bad."""

from dataclasses import replace

import numpy as np

from models.build import rebuilt
from utils.core.console import log
from utils.core.contract import PoseModel

ENOUGH = 0.98  # share of people with an anchor; from here on anchors are left alone, as published
SMALLEST = 2.0  # pixels; smaller people are no reason to change anything
ROUNDS = 1000  # mutations after the clusters are found
MOST = 20_000  # shapes that clusters are made of, drawn from all


def fitted(model: PoseModel, shapes: np.ndarray, labelled: np.ndarray, seed: int = 0) -> PoseModel:
    """The model with anchors for people of these widths and heights (N, 2) in input pixels, if its own are bad.

    Mostly keypoints need no anchors of their own: those of their person learn them. Where they are objects too, the
    squares around them count, as often as each keypoint is labelled (K). A model without anchors comes back as it is.
    """
    limit = getattr(getattr(model, "gains", None), "anchor_t", None)
    sides = getattr(getattr(model, "gains", None), "kp_bbox", None)
    if sides is not None:
        squares = np.broadcast_to(np.asarray(sides, np.float64), labelled.shape) * max(model.spec.input_size)  # (K)
        shapes = np.concatenate((shapes, np.repeat(squares, labelled)[:, None].repeat(2, 1)))
    shapes = shapes[(shapes >= SMALLEST).all(1)]
    if "anchors" not in model.spec.head or limit is None or not len(shapes):
        return model
    levels = model.spec.head["anchors"]
    present = np.array(levels, np.float64).reshape(-1, 2)
    recall = best_possible_recall(shapes, present, limit)
    if recall > ENOUGH:
        log.info("anchors: %.1f%% of the objects can be learned; they stay as they are", 100 * recall)
        return model
    better = find_anchors(shapes, len(present), limit, np.random.default_rng(seed))
    gained = best_possible_recall(shapes, better, limit)
    if gained <= recall:
        log.info("anchors: %.1f%% of the objects can be learned, and no better ones were found", 100 * recall)
        return model
    log.info("anchors: %.1f%% of the objects can be learned with new ones, %.1f%% with the old",
             100 * gained, 100 * recall)  # fmt: skip
    head = {**model.spec.head, "anchors": by_level(better, len(levels))}
    return rebuilt(model, replace(model.spec, head=head))


def best_possible_recall(shapes: np.ndarray, anchors: np.ndarray, limit: float) -> float:
    """The share of people who have an anchor that is at most `limit` times wider, narrower, taller or shorter."""
    return float((_likeness(shapes, anchors).max(1) > 1 / limit).mean())


def find_anchors(shapes: np.ndarray, count: int, limit: float, rng: np.random.Generator) -> np.ndarray:
    """Clusters of the shapes, then small changes that are kept when they fit the people better; (count, 2) by area."""
    shapes = shapes[rng.choice(len(shapes), MOST, replace=False)] if len(shapes) > MOST else shapes
    anchors = _clusters(shapes, count, rng)
    best = _fitness(shapes, anchors, limit)
    for _ in range(ROUNDS):
        changed = rng.random(anchors.shape) < 0.9
        factors = np.where(changed, 1 + rng.normal(0, 0.1, anchors.shape) * rng.random(), 1.0).clip(0.3, 3.0)
        mutated = (anchors * factors).clip(SMALLEST)
        found = _fitness(shapes, mutated, limit)
        if found > best:
            anchors, best = mutated, found
    return anchors[np.argsort(anchors.prod(1))]


def by_level(anchors: np.ndarray, levels: int) -> tuple[tuple[float, ...], ...]:
    """Anchors in the order of their areas, as a head writes them: per level width, height, width, height, ..."""
    return tuple(tuple(round(float(side), 1) for side in part.ravel()) for part in np.split(anchors, levels))


def _likeness(shapes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """How alike each person and each anchor are, 1 at best: the smaller of both sides' ratios (N, A)."""
    ratio = shapes[:, None] / anchors[None]  # (N, A, 2)
    return np.minimum(ratio, 1 / ratio).min(2)


def _fitness(shapes: np.ndarray, anchors: np.ndarray, limit: float) -> float:
    """Mean likeness of the best anchor; people without one that is like enough count nothing."""
    best = _likeness(shapes, anchors).max(1)
    return float((best * (best > 1 / limit)).mean())


def _clusters(shapes: np.ndarray, count: int, rng: np.random.Generator, steps: int = 30) -> np.ndarray:
    """k-means on widths and heights in units of their spread; a cluster that lost everybody starts anew."""
    spread = np.maximum(shapes.std(0), 1e-6)
    points = shapes / spread
    centres = points[rng.choice(len(points), count, replace=len(points) < count)]
    for _ in range(steps):
        nearest = _nearest(points, centres)
        for index in range(count):
            own = points[nearest == index]
            centres[index] = own.mean(0) if len(own) else points[rng.integers(len(points))]
    return np.maximum(centres * spread, SMALLEST)


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    distances = np.stack([np.square(points - centre).sum(1) for centre in centres], 1)  # (N, A)
    return distances.argmin(1)
