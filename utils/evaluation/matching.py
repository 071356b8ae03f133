"""Who was found by whom: every person that was found next to every annotated one, and the official greedy matching."""

from dataclasses import dataclass

import numpy as np
import torch

from utils.core.oks import oks_exponent
from utils.evaluation.coco import MOST_PER_IMAGE, checked
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.results import Results

NOBODY = -1
CHUNK = 1 << 16  # pairs at a time, so that a crowded split fits in memory


@dataclass(frozen=True)
class Pairs:
    """Every found person next to every annotated person of the same image, best score first within an image."""

    ground_truth: GroundTruth
    results: Results  # the best of every image, by image and score
    rank: np.ndarray  # (N): 0 for the best of its image
    found: np.ndarray  # (M): indices into the results, ascending
    person: np.ndarray  # (M): indices into the ground truth
    oks: np.ndarray  # (M)

    def similarity(self, chosen: np.ndarray, *, mirrored: bool = False) -> np.ndarray:
        """How near each keypoint is to its place on the annotated person, or to its mirror image's: (M', K).

        0 where that place is not labelled.
        """
        truth, person = self.ground_truth, self.person[chosen]
        order = list(truth.schema.swap) if mirrored else list(range(truth.schema.count))
        nearness = _similarity(
            self.results.keypoints[self.found[chosen]],
            truth.keypoints[person][:, order],
            truth.areas[person],
            np.array(truth.schema.sigmas)[order],
        )
        return nearness * (truth.visibility[person][:, order] > 0)


@dataclass(frozen=True)
class Matching:
    """The official matching at one OKS: people in order of their scores take the most similar person still free."""

    pairs: Pairs
    pair_of_person: np.ndarray  # (P): the pair that found each annotated person, or NOBODY
    person_of_found: np.ndarray  # (N): the annotated person that each found one is, or NOBODY
    excused: np.ndarray  # (N) bool: on a crowd region or on somebody without labels, so neither right nor wrong

    @property
    def matched(self) -> np.ndarray:
        """The pairs that belong together."""
        return self.pair_of_person[self.pair_of_person != NOBODY]

    @property
    def oks_of_person(self) -> np.ndarray:
        """(P): 0 for those whom nobody found."""
        oks = np.zeros(len(self.pair_of_person))
        hit = self.pair_of_person != NOBODY
        oks[hit] = self.pairs.oks[self.pair_of_person[hit]]
        return oks


def pair_up(ground_truth: GroundTruth, results: Results) -> Pairs:
    """Compare everybody with everybody else in the same image and category."""
    best = checked(results, ground_truth).best(MOST_PER_IMAGE)
    image = np.array([ground_truth.place[image_id] for image_id in best.image_ids.tolist()], np.int64)
    order = np.lexsort((-best.scores, best.categories, image))
    best, image = best[order], image[order]
    first = np.searchsorted(image, image)
    persons = np.argsort(ground_truth.image_index, kind="stable")
    start, end = (np.searchsorted(ground_truth.image_index[persons], image, side) for side in ("left", "right"))
    counts = end - start
    found = np.repeat(np.arange(len(best)), counts)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(start, counts)
    person = persons[position]
    same = ground_truth.categories[person] == best.categories[found]
    found, person = found[same], person[same]
    chunks = [slice(start, start + CHUNK) for start in range(0, max(len(found), 1), CHUNK)]
    oks = np.concatenate([_oks(ground_truth, best, found[chunk], person[chunk]) for chunk in chunks])
    return Pairs(ground_truth, best, np.arange(len(best)) - first, found, person, oks)


def match(pairs: Pairs, threshold: float) -> Matching:
    """One rank of all images at a time: within an image everybody still waits for those with a better score."""
    truth = pairs.ground_truth
    pair_of_person = np.full(len(truth), NOBODY)
    person_of_found = np.full(len(pairs.results), NOBODY)
    near = np.flatnonzero(pairs.oks >= threshold)
    excusing = ~truth.counts[pairs.person[near]]
    rivals = near[~excusing]
    for rank in range(int(pairs.rank.max(initial=-1)) + 1):
        turn = rivals[pairs.rank[pairs.found[rivals]] == rank]
        turn = turn[pair_of_person[pairs.person[turn]] == NOBODY]
        turn = turn[np.lexsort((pairs.oks[turn], pairs.found[turn]))]
        last = np.r_[pairs.found[turn][1:] != pairs.found[turn][:-1], True][: len(turn)]  # the most similar of each
        chosen = turn[last]
        pair_of_person[pairs.person[chosen]] = chosen
        person_of_found[pairs.found[chosen]] = pairs.person[chosen]
    excused = np.zeros(len(pairs.results), bool)
    excused[pairs.found[near[excusing]]] = True
    return Matching(pairs, pair_of_person, person_of_found, excused & (person_of_found == NOBODY))


def _oks(truth: GroundTruth, results: Results, found: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Mean similarity over the labelled keypoints; without any, nearness to the surroundings of the box."""
    keypoints, sigmas = results.keypoints[found], np.array(truth.schema.sigmas)
    seen = truth.visibility[person] > 0  # (M, K)
    low, high = truth.boxes[person][:, None, :2], truth.boxes[person][:, None, 2:]  # (M, 1, 2)
    near_box = keypoints.clip(2 * low - high, 2 * high - low)  # (M, K, 2): the box and its size once more on every side
    unlabelled = ~seen.any(1)
    target = np.where(unlabelled[:, None, None], near_box, truth.keypoints[person])
    similarity = _similarity(keypoints, target, truth.areas[person], sigmas)
    weights = seen | unlabelled[:, None]
    return (similarity * weights).sum(1) / np.maximum(weights.sum(1), 1)


def _similarity(keypoints: np.ndarray, target: np.ndarray, areas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Of single keypoints: (M, K, 2), (M, K, 2), (M), (K) -> (M, K)."""
    distance2 = torch.from_numpy(np.square(keypoints - target).sum(-1))  # (M, K)
    return torch.exp(-oks_exponent(distance2, torch.from_numpy(areas), torch.from_numpy(sigmas))).numpy()
