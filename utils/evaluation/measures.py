"""What one number hides: OKS and PCK of every keypoint, and who is found, by size and by crowding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from utils.core.geometry import pairwise_iou
from utils.evaluation.coco import OKS_THRESHOLDS
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.matching import Matching

FOUND = 0.5  # OKS from which a person counts as found
PCK_SHARE = 0.1  # of the longer side of a person's box: a keypoint nearer than this is right

SIZES = ((0, 32), (32, 96), (96, 288), (288, np.inf))  # square roots of the area; the first two limits are COCO's
OVERLAPS = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, np.inf))  # IoU with the nearest neighbour's box


@dataclass(frozen=True)
class KeypointMeasures:
    """How well every keypoint is placed on the persons who are found; not a number where none of them is labelled."""

    names: tuple[str, ...]
    labelled: np.ndarray  # (K): annotated on the persons who count
    found: np.ndarray  # (K): those of them that belong to a person who was found
    oks: np.ndarray  # (K): mean similarity of the found ones
    pck: np.ndarray  # (K): share of the found ones that are right


@dataclass(frozen=True)
class Group:
    """Some of the annotated persons, and how they fare."""

    name: str
    people: int
    found: float  # share of them
    recall: float  # mean of that share over the official OKS thresholds
    oks: float  # mean of those who are found


def per_keypoint(matching: Matching) -> KeypointMeasures:
    """Measures of a matching at `FOUND`."""
    pairs, truth = matching.pairs, matching.pairs.ground_truth
    seen = truth.visibility > 0  # (P, K)
    matched = matching.matched
    person, found = pairs.person[matched], pairs.found[matched]
    offset = pairs.results.keypoints[found] - truth.keypoints[person]  # (N, K, 2)
    sides = truth.boxes[person][:, 2:] - truth.boxes[person][:, :2]  # (N, 2)
    right = np.sqrt(np.square(offset).sum(-1)) < PCK_SHARE * sides.max(1)[:, None]  # (N, K)
    count = seen[person].sum(0)
    with np.errstate(invalid="ignore"):
        oks = pairs.similarity(matched).sum(0) / count
        pck = (right & seen[person]).sum(0) / count
    return KeypointMeasures(truth.schema.names, seen[truth.counts].sum(0), count, oks, pck)


def by_size(matching: Matching) -> tuple[Group, ...]:
    """Groups by the square root of the area in pixels."""
    sizes = np.sqrt(matching.pairs.ground_truth.areas)
    return tuple(_group(matching, (sizes >= low) & (sizes < high), _range(low, high, " px")) for low, high in SIZES)


def by_crowding(matching: Matching) -> tuple[Group, ...]:
    """Groups by how much of a person's box a neighbour shares."""
    overlap = overlaps(matching.pairs.ground_truth)
    return tuple(_group(matching, (overlap >= low) & (overlap < high), _range(low, high, "")) for low, high in OVERLAPS)


def overlaps(truth: GroundTruth) -> np.ndarray:
    """The largest box IoU of every annotated person with a neighbour (P); crowd regions are nobody."""
    largest = np.zeros(len(truth))
    alone = np.flatnonzero(~truth.crowd)
    alone = alone[np.argsort(truth.image_index[alone], kind="stable")]
    for persons in np.split(alone, np.flatnonzero(np.diff(truth.image_index[alone])) + 1):
        if len(persons) > 1:
            boxes = torch.from_numpy(truth.boxes[persons])
            largest[persons] = pairwise_iou(boxes, boxes).fill_diagonal_(0).amax(1).numpy()
    return largest


def _group(matching: Matching, members: np.ndarray, name: str) -> Group:
    oks = matching.oks_of_person[members & matching.pairs.ground_truth.counts]
    found = oks[oks >= FOUND]
    if not len(oks):
        return Group(name, 0, float("nan"), float("nan"), float("nan"))
    recall = float((oks[:, None] >= OKS_THRESHOLDS).mean())
    return Group(name, len(oks), len(found) / len(oks), recall, float(found.mean()) if len(found) else float("nan"))


def _range(low: float, high: float, unit: str) -> str:
    if not low:
        return f"under {high:g}{unit}"
    return f"from {low:g}{unit}" if np.isinf(high) else f"{low:g} to {high:g}{unit}"


def keypoint_table(measures: KeypointMeasures) -> str:
    """One line per keypoint."""
    width = max([len("keypoint"), *map(len, measures.names)])
    lines = [f"{'keypoint':<{width}}  labelled  found     OKS     PCK"]
    for i, name in enumerate(measures.names):
        counts = f"{measures.labelled[i]:>8}  {measures.found[i]:>5}"
        lines.append(f"{name:<{width}}  {counts}  {_share(measures.oks[i])}  {_share(measures.pck[i])}")
    return "\n".join(lines)


def group_table(title: str, groups: Sequence[Group]) -> str:
    """One line per group."""
    width = max(len(title), *(len(group.name) for group in groups))
    lines = [f"{title:<{width}}  people   found  recall     OKS"]
    for group in groups:
        numbers = "  ".join(_share(value) for value in (group.found, group.recall, group.oks))
        lines.append(f"{group.name:<{width}}  {group.people:>6}  {numbers}")
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{'-':>6}" if np.isnan(value) else f"{value:>6.3f}"
