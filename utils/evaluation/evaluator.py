"""Evaluator: a predict function over the images of a split, on any number of processes, and what it is worth."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from utils.core.console import log, progress
from utils.core.distributed import gather
from utils.core.nms import Rivals
from utils.core.poses import Batch, Poses
from utils.core.schema import KeypointSchema
from utils.evaluation.coco import Scores, Tool, evaluate
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.matching import NOBODY, Matching, match, pair_up
from utils.evaluation.measures import FOUND, KeypointMeasures, per_keypoint
from utils.evaluation.results import Looked, Results
from utils.evaluation.stopwatch import Seconds, Stopwatch

Predict = Callable[[Batch], Sequence[Poses]]  # a batch in, the people of each image in original pixels out


@dataclass(frozen=True)
class Counts:
    """How many of everything went into the numbers."""

    images: int  # of the split, those without people too
    looked_at: int
    people: int  # annotated with keypoints
    found: int  # of them, at an OKS of 0.5
    poses: int  # that the model gave


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a split."""

    scores: Scores
    keypoints: KeypointMeasures
    counts: Counts
    seconds: Seconds
    matching: Matching  # at an OKS of 0.5
    results: Results

    @property
    def ap(self) -> float:
        return self.scores.ap

    @property
    def numbers(self) -> Mapping[str, float]:
        """The official numbers by name, in the official order."""
        return self.scores.numbers

    def images_by_oks(self) -> list[int]:
        """Ids of the images with people who count, the worst met first; a missed person counts 0."""
        truth = self.matching.pairs.ground_truth
        counted = truth.image_index[truth.counts]
        sums = np.bincount(counted, self.matching.oks_of_person[truth.counts], minlength=len(truth.image_ids))
        numbers = np.bincount(counted, minlength=len(truth.image_ids))
        means = sums / np.maximum(numbers, 1)
        order = np.argsort(means, kind="stable")
        return truth.image_ids[order[numbers[order] > 0]].tolist()

    def table(self) -> str:
        """The official numbers in two lines, and what they were counted on in a third."""
        counts = self.counts
        return "\n".join(
            (
                " ".join(f"{name:>9}" for name in self.numbers),
                " ".join(f"{value:>9.4f}" for value in self.numbers.values()),
                f"{counts.images} images, {counts.people} people with keypoints, {counts.found} of them found; "
                f"{counts.poses} poses",
            )
        )


class Evaluator:
    """Looks at a split again and again, for instance after every epoch.

    Batches may come from a loader whose sampler deals them out to several processes: every process hands in what it
    has, and all of them get the same numbers. `rivals` is for batches of person crops: what becomes of poses of one
    image that are alike.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        ground_truth: Mapping[str, Any] | str | Path | GroundTruth,
        *,
        schema: KeypointSchema | None = None,
        category_ids: Sequence[int] | None = None,
        tool: Tool = "fast",
        rivals: Rivals | None = None,
    ) -> None:
        self.batches = batches
        self.ground_truth = GroundTruth.read(ground_truth, schema)
        self.category_ids = tuple(category_ids or self.ground_truth.category_ids)
        self.tool: Tool = tool
        self.rivals = rivals

    def __call__(self, predict: Predict, network: nn.Module | None = None) -> Evaluation:
        """Predict all batches and evaluate; the network is only given to measure its share of the time."""
        watch = Stopwatch(network)
        return self.judge(self.look(predict, watch), watch)

    def look(self, predict: Predict, watch: Stopwatch | None = None) -> Results:
        """Everybody that is found in the split, by all processes together; nothing is evaluated."""
        watch = watch or Stopwatch()
        looked: list[Looked] = []
        total = len(self.batches) if hasattr(self.batches, "__len__") else None
        for batch in watch.waits(progress(self.batches, "evaluating", total)):
            with watch.predicts(len(batch.origins)):
                poses = predict(batch)
            assert len(poses) == len(batch.origins), f"{len(poses)} poses for {len(batch.origins)} images"
            for origin, people in zip(batch.origins, poses, strict=True):
                looked.append(Looked(origin, people.numpy(), whole=self.rivals is None))
        everything = [sample for part in gather(looked) for sample in part]
        results = Results.of(everything, self.category_ids, self.ground_truth.schema.count)
        return results if self.rivals is None else results.without_rivals(self.ground_truth.schema.sigmas, self.rivals)

    def pace(self, predict: Predict, network: nn.Module | None = None) -> Seconds:
        """How long everything takes when nothing is evaluated, after a first batch that does not count."""
        for batch in self.batches:
            predict(batch)
            break
        watch = Stopwatch(network)
        self.look(predict, watch)
        return watch.seconds

    def judge(self, results: Results, watch: Stopwatch | None = None) -> Evaluation:
        """What results are worth: these of a model, or those of a file."""
        watch, truth = watch or Stopwatch(), self.ground_truth
        with watch.evaluates():
            scores = evaluate(truth, results, tool=self.tool)
            matching = match(pair_up(truth, results), FOUND)
            keypoints = per_keypoint(matching)
        counts = Counts(
            images=len(truth.image_ids),
            looked_at=len(results.images),
            people=int(truth.counts.sum()),
            found=int((matching.pair_of_person != NOBODY).sum()),
            poses=len(results),
        )
        unseen = np.setdiff1d(truth.image_ids, [int(origin.image_id) for origin in results.images])
        if results.images and len(unseen):
            log.warning("%s: %d of %d images were not looked at; everybody on them counts as missed",
                        truth.where, len(unseen), len(truth.image_ids))  # fmt: skip
        return Evaluation(scores, keypoints, counts, watch.seconds, matching, results)
