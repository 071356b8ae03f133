"""AP and AR as the official tools of COCO and CrowdPose count them: hotcoco for speed, pycocotools as the reference."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from utils.core.config import did_you_mean
from utils.core.console import log
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.results import Results

Tool = Literal["fast", "reference"]
TOOLS: tuple[Tool, ...] = ("fast", "reference")

MOST_PER_IMAGE = 20  # people whom the official tools look at, the best ones of every image
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = ("all", "medium", "large")  # medium from 32² pixels, large from 96²
CROWDED = ((0.0, 0.2), (0.2, 0.8), (0.8, np.inf))  # crowd index of CrowdPose's easy, medium and hard images


@dataclass(frozen=True)
class Curves:
    """What the tools accumulate: thresholds T, recalls R, categories C, areas A; -1 where nobody is annotated."""

    precision: np.ndarray  # (T, R, C, A)
    recall: np.ndarray  # (T, C, A)

    def ap(self, area: str = "all", oks: float | None = None) -> float:
        """Mean precision over recalls, categories and thresholds, or at one threshold."""
        return _mean(self.precision[_rows(oks), ..., AREAS.index(area)])

    def ar(self, area: str = "all", oks: float | None = None) -> float:
        return _mean(self.recall[_rows(oks), ..., AREAS.index(area)])


@dataclass(frozen=True)
class Scores:
    """The official numbers by name, in the official order, and the precision-recall curves that they sum up."""

    numbers: Mapping[str, float]
    curves: Curves

    @property
    def ap(self) -> float:
        return self.numbers["AP"]


def evaluate(ground_truth: GroundTruth, results: Results, *, tool: Tool = "fast") -> Scores:
    """The ten numbers of COCO, or the nine of CrowdPose where the images have a crowd index."""
    rows = checked(results, ground_truth).best(MOST_PER_IMAGE).to_coco()
    loaded = loaded_in(tool, ground_truth, rows)
    everywhere = loaded.curves()
    if ground_truth.crowd_index is None:
        return Scores(_coco_numbers(everywhere), everywhere)
    numbers = _crowdpose_numbers(everywhere)
    for name, (low, high) in zip(("AP_easy", "AP_medium", "AP_hard"), CROWDED, strict=True):
        chosen = ground_truth.image_ids[(ground_truth.crowd_index >= low) & (ground_truth.crowd_index < high)]
        # The official tool rounds these three to four decimals, and takes the mean over -1 as well.
        numbers[name] = (
            round(float(loaded.curves(chosen.tolist()).precision[..., 0].mean()), 4) if len(chosen) else -1.0
        )
    return Scores(numbers, everywhere)


def _coco_numbers(curves: Curves) -> dict[str, float]:
    numbers = {"AP": curves.ap(), "AP50": curves.ap(oks=0.5), "AP75": curves.ap(oks=0.75)}
    numbers |= {"AP_medium": curves.ap("medium"), "AP_large": curves.ap("large")}
    numbers |= {"AR": curves.ar(), "AR50": curves.ar(oks=0.5), "AR75": curves.ar(oks=0.75)}
    return numbers | {"AR_medium": curves.ar("medium"), "AR_large": curves.ar("large")}


def _crowdpose_numbers(curves: Curves) -> dict[str, float]:
    return {name: value for name, value in _coco_numbers(curves).items() if not name.endswith(("medium", "large"))}


def _rows(oks: float | None) -> np.ndarray:
    return np.isclose(OKS_THRESHOLDS, OKS_THRESHOLDS if oks is None else oks)


def _mean(values: np.ndarray) -> float:
    """Over what there is: -1 marks a category or size of which nobody is annotated."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def checked(results: Results, ground_truth: GroundTruth) -> Results:
    """What the tools would refuse or silently leave out is refused here in a sentence."""
    for what, found, known in (
        ("image", results.image_ids, ground_truth.image_ids),
        ("category", results.categories, np.array(ground_truth.category_ids)),
    ):
        strangers = np.setdiff1d(found, known)
        if len(strangers):
            raise ValueError(
                f"{ground_truth.where}: {len(strangers)} {what} ids of the results are not in it, {strangers[0]} the "
                f"first; are the results those of another split?"
            )
    count = ground_truth.schema.count
    if results.keypoints.shape[1] != count:
        raise ValueError(f"{ground_truth.where}: {count} keypoints, but the results have {results.keypoints.shape[1]}")
    return results.usable()


# ---------------------------------------------------------------------------------------------- the two tools


class Loaded:
    """One of the two tools with everything loaded: it accumulates over all images, or over some."""

    def __init__(self, ground_truth: GroundTruth, rows: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def curves(self, image_ids: list[int] | None = None) -> Curves:
        raise NotImplementedError


def check_tool(name: str) -> Tool:
    """The name of a tool, or the reason why it is none."""
    if name not in TOOLS:
        raise ValueError(f"evaluator '{name}' found; expected {' or '.join(TOOLS)}{did_you_mean(name, TOOLS)}")
    return name


def loaded_in(tool: Tool, ground_truth: GroundTruth, rows: list[dict[str, Any]]) -> Loaded:
    """Ground truth and the rows of a results file in one of the tools; pycocotools where hotcoco is missing."""
    kind = _Hotcoco if check_tool(tool) == "fast" and _hotcoco_is_there() else _Pycocotools
    return kind(ground_truth, rows)


@cache
def _hotcoco_is_there() -> bool:
    if importlib.util.find_spec("hotcoco"):
        return True
    log.info("hotcoco is not installed; pycocotools counts the same, only slower (pip install hotcoco)")
    return False


class _Hotcoco(Loaded):
    def __init__(self, ground_truth: GroundTruth, rows: list[dict[str, Any]]) -> None:
        from hotcoco import COCO

        self.ground_truth = ground_truth
        self.annotated = COCO(ground_truth.coco)
        self.found = self.annotated.load_res(rows) if rows else COCO({**ground_truth.coco, "annotations": []})

    def curves(self, image_ids: list[int] | None = None) -> Curves:
        from hotcoco import COCOeval

        evaluation = COCOeval(self.annotated, self.found, "keypoints")
        evaluation.params.kpt_oks_sigmas = list(self.ground_truth.schema.sigmas)
        evaluation.params.cat_ids = list(self.ground_truth.category_ids)
        if image_ids is not None:
            evaluation.params.img_ids = image_ids
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that these sigmas are not COCO's: they are meant to be
            evaluation.evaluate()
            evaluation.accumulate()
        return _curves(evaluation.eval)


class _Pycocotools(Loaded):
    def __init__(self, ground_truth: GroundTruth, rows: list[dict[str, Any]]) -> None:
        from pycocotools.coco import COCO

        self.ground_truth = ground_truth
        self.annotated, self.found = COCO(), COCO()
        self.annotated.dataset, self.found.dataset = ground_truth.coco, {**ground_truth.coco, "annotations": []}
        with contextlib.redirect_stdout(io.StringIO()):
            self.annotated.createIndex()
            self.found.createIndex()
            if rows:
                self.found = self.annotated.loadRes(rows)

    def curves(self, image_ids: list[int] | None = None) -> Curves:
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self.annotated, self.found, "keypoints")
            evaluation.params.kpt_oks_sigmas = np.array(self.ground_truth.schema.sigmas)
            evaluation.params.catIds = list(self.ground_truth.category_ids)
            if image_ids is not None:
                evaluation.params.imgIds = image_ids
            evaluation.evaluate()
            evaluation.accumulate()
        return _curves(evaluation.eval)


def _curves(accumulated: Mapping[str, Any]) -> Curves:
    """Without the last dimension, the one limit on people per image."""
    return Curves(np.asarray(accumulated["precision"])[..., 0], np.asarray(accumulated["recall"])[..., 0])
