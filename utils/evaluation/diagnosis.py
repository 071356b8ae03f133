"""Why keypoints and people are wrong, after Ronchi and Perona (2017), and what each kind of error costs in AP."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from utils.evaluation.coco import Tool, evaluate
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.matching import NOBODY, Matching, Pairs, match, pair_up
from utils.evaluation.results import Results

KINDS = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER, INVERSION, SWAP, MISS = range(len(KINDS))
UNLABELLED = -1

MEANT = 0.1  # OKS from which a pose is meant for a person, as in the paper
PRECISE, NEAR = 0.85, 0.5  # similarity of a keypoint that is good, and of one that is at least nearby


@dataclass(frozen=True)
class Diagnosis:
    """Every labelled keypoint of the persons that were met, sorted by what happened to it."""

    matching: Matching
    kinds: np.ndarray  # (N, K): of every matched pair, one of KINDS or UNLABELLED
    counts: np.ndarray  # (K, kinds)
    false_positives: int  # poses that are meant for nobody
    false_negatives: int  # persons for whom no pose is meant
    gains: Mapping[str, float]  # AP that is won when all errors of one kind are put right

    @property
    def shares(self) -> np.ndarray:
        """Of the labelled keypoints of each kind: (K, kinds), 0 where none is labelled."""
        return self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)


def diagnose(ground_truth: GroundTruth, results: Results, *, tool: Tool = "fast") -> Diagnosis:
    """Sort all errors, then put each kind right and evaluate again."""
    pairs = pair_up(ground_truth, results)
    matching = match(pairs, MEANT)
    kinds = _kinds(matching)
    counts = np.stack([(kinds == kind).sum(0) for kind in range(len(KINDS))], 1)  # (K, kinds)
    false_positive = (matching.person_of_found == NOBODY) & ~matching.excused
    false_negative = ground_truth.counts & (matching.pair_of_person == NOBODY)
    before = evaluate(ground_truth, pairs.results, tool=tool).ap
    gains = {}
    for kind in range(JITTER, len(KINDS)):
        gains[KINDS[kind]] = evaluate(ground_truth, _corrected(matching, kinds == kind), tool=tool).ap - before
    gains["false positive"] = evaluate(ground_truth, pairs.results[~false_positive], tool=tool).ap - before
    # Whom no pose is meant for is taken out of the count, as a person without labelled keypoints is.
    labelled = np.where(false_negative, 0, ground_truth.labelled)
    gains["false negative"] = evaluate(replace(ground_truth, labelled=labelled), pairs.results, tool=tool).ap - before
    return Diagnosis(matching, kinds, counts, int(false_positive.sum()), int(false_negative.sum()), gains)


def _kinds(matching: Matching) -> np.ndarray:
    """What happened to every keypoint of every matched pair: (N, K)."""
    pairs, matched = matching.pairs, matching.matched
    truth = pairs.ground_truth
    own = pairs.similarity(matched)  # (N, K)
    has_mirror = np.array(truth.schema.swap) != np.arange(truth.schema.count)
    inverted = (pairs.similarity(matched, mirrored=True) >= NEAR) & has_mirror
    swapped = _nearest_other(pairs, matched) >= NEAR
    kinds = np.select([own >= PRECISE, own >= NEAR, inverted, swapped], [GOOD, JITTER, INVERSION, SWAP], MISS)
    return np.where(truth.visibility[pairs.person[matched]] > 0, kinds, UNLABELLED)


def _nearest_other(pairs: Pairs, matched: np.ndarray) -> np.ndarray:
    """How near each keypoint of a matched pose is to that keypoint, or its mirror image, of somebody else: (N, K)."""
    row = np.full(len(pairs.results), NOBODY)
    row[pairs.found[matched]] = np.arange(len(matched))
    is_own = np.zeros(len(pairs.oks), bool)
    is_own[matched] = True
    others = np.flatnonzero(~is_own & (row[pairs.found] != NOBODY))
    nearest = np.zeros((len(matched), pairs.ground_truth.schema.count))
    nearness = np.maximum(pairs.similarity(others), pairs.similarity(others, mirrored=True))
    np.maximum.at(nearest, row[pairs.found[others]], nearness)
    return nearest


def _corrected(matching: Matching, wrong: np.ndarray) -> Results:
    """The results with some keypoints (N, K) of the matched poses put where they are annotated."""
    pairs, matched = matching.pairs, matching.matched
    keypoints = pairs.results.keypoints.copy()
    annotated = pairs.ground_truth.keypoints[pairs.person[matched]]
    found = pairs.found[matched]
    keypoints[found] = np.where(wrong[..., None], annotated, keypoints[found])
    return replace(pairs.results, keypoints=keypoints)


def diagnosis_table(diagnosis: Diagnosis) -> str:
    """One line per keypoint with the share of every kind, then what each kind costs."""
    names = diagnosis.matching.pairs.ground_truth.schema.names
    width = max([len("all keypoints"), *map(len, names)])
    lines = [f"{'keypoint':<{width}}" + "".join(f"{kind:>11}" for kind in KINDS)]
    for name, counts in zip((*names, "all keypoints"), (*diagnosis.counts, diagnosis.counts.sum(0)), strict=True):
        total = counts.sum()
        shares = (f"{100 * count / total:>10.1f}%" if total else f"{'-':>11}" for count in counts)
        lines.append(f"{name:<{width}}{''.join(shares)}")
    lines.append(f"poses meant for nobody: {diagnosis.false_positives}; persons not met: {diagnosis.false_negatives}")
    costs = ", ".join(f"{kind} {100 * gain:+.1f}" for kind, gain in diagnosis.gains.items())
    return "\n".join([*lines, f"AP if it were right: {costs}"])
