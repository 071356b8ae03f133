"""The official numbers: by hand, and as the official programs counted them on real and on synthetic people."""

import gzip
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import STANDING, THREE, found, off_by, person, row, shifted, split, truth
from utils.core.schema import KeypointSchema
from utils.evaluation import coco
from utils.evaluation.coco import TOOLS, evaluate
from utils.evaluation.ground_truth import GroundTruth, read_json
from utils.evaluation.results import Results

EVALUATED = (
    "synthetic_coco",
    "synthetic_coco_sigmas",
    "synthetic_crowdpose",
    "coco_val_mix",
    "coco_val_coarse",
    "crowdpose_val_mix",
    "crowdpose_val_coarse500",
)


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    return request.param


def fixture(shared: Path, name: str) -> tuple[GroundTruth, Results, dict[str, float]]:
    """Ground truth, results and the official numbers of a fixture."""
    folder = shared / "fixtures" / "kapao" / "public"
    facts = json.loads((folder / f"eval_{name}.json").read_text())
    sources = {
        "synthetic_coco": folder / "eval_synthetic_coco_gt.json.gz",
        "synthetic_crowdpose": folder / "eval_synthetic_crowdpose_gt.json.gz",
        "coco_val": shared / "data" / "coco_people" / "coco_val_subset_annotations.json.gz",
        "crowdpose_val": shared / "data" / "crowdpose_val" / "crowdpose_val.json.gz",
    }
    source = next(path for start, path in sources.items() if name.startswith(start))
    assert hashlib.sha256(gzip.decompress(source.read_bytes())).hexdigest() == facts["gt_sha256"]
    schema = KeypointSchema.read("crowdpose.yaml" if facts["kind"] == "crowdpose" else "coco_kpts.yaml")
    if facts["sigmas"]:
        schema = replace(schema, sigmas=tuple(facts["sigmas"]))
    ground_truth = GroundTruth.read(source, schema)
    results = Results.of_coco(read_json(folder / f"eval_{name}_preds.json.gz"), schema.count)
    numbers = dict(zip(facts["stat_names"], facts["stats"], strict=True))
    return ground_truth, results, {key: value for key, value in numbers.items() if key != "-"}


@pytest.mark.parametrize("name", EVALUATED)
def test_all_numbers_equal_those_of_the_official_programs(shared: Path, name: str, tool: str) -> None:
    ground_truth, results, expected = fixture(shared, name)
    scores = evaluate(ground_truth, results, tool=tool)
    assert list(scores.numbers) == list(expected)
    assert scores.numbers == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", EVALUATED)
def test_precision_and_recall_at_every_threshold_equal_those_of_the_official_programs(shared: Path, name: str) -> None:
    ground_truth, results, _ = fixture(shared, name)
    with np.load(shared / "fixtures" / "kapao" / "public" / f"eval_{name}.npz") as stored:
        precision, recall = stored["precision"][..., 0], stored["recall"][..., 0]
    curves = evaluate(ground_truth, results).curves
    np.testing.assert_allclose(curves.precision, precision, atol=1e-9)
    np.testing.assert_allclose(curves.recall, recall, atol=1e-9)


def test_given_keypoints_of_real_detections_score_as_the_official_top_down_program_says(shared: Path) -> None:
    folder = shared / "fixtures" / "topdown" / "public"
    facts = json.loads((folder / "coco_eval.json").read_text())
    detections = json.loads((shared / "data" / "coco_four" / "test_coco_det_AP_H_56.json").read_text())
    kept = facts["kept_in_output_order"]
    keypoints = np.load(folder / "coco_eval.npz")["keypoints"]
    rescored = rescore(keypoints, np.array(facts["det_scores"]), facts["in_vis_thre"])
    rows = [
        {
            "image_id": detections[i]["image_id"],
            "category_id": 1,
            "keypoints": keypoints[i].ravel().tolist(),
            "score": rescored[i],
        }
        for i in kept
    ]
    schema = KeypointSchema.read("coco_kpts.yaml")
    ground_truth = GroundTruth.read(shared / "data" / "coco_four" / "test_coco.json", schema)
    for tool in TOOLS:
        scores = evaluate(ground_truth, Results.of_coco(rows, schema.count), tool=tool)
        assert list(scores.numbers.values()) == pytest.approx(list(facts["stats_hard"].values()), abs=1e-6)


def rescore(keypoints: np.ndarray, box_scores: np.ndarray, least: float) -> np.ndarray:
    """Box score times the mean of the keypoint scores above a limit, as the fixture's program does it."""
    sure = keypoints[..., 2] > least
    return box_scores * (keypoints[..., 2] * sure).sum(1) / np.maximum(sure.sum(1), 1)


# ---------------------------------------------------------------------------------------------- by hand


def test_a_perfect_pose_of_the_only_person_scores_one(tool: str) -> None:
    numbers = evaluate(truth([person(1)]), found(row(1)), tool=tool).numbers
    assert numbers == pytest.approx(
        {"AP": 1, "AP50": 1, "AP75": 1, "AP_medium": -1, "AP_large": 1}
        | {"AR": 1, "AR50": 1, "AR75": 1, "AR_medium": -1, "AR_large": 1}
    )


def test_a_pose_with_an_oks_of_point_72_counts_at_five_of_the_ten_thresholds(tool: str) -> None:
    moved = shifted(off_by(0.72))
    numbers = evaluate(truth([person(1)]), found(row(1, moved)), tool=tool).numbers
    assert (numbers["AP"], numbers["AP50"], numbers["AP75"]) == pytest.approx((0.5, 1, 0))


def test_one_of_two_persons_found_gives_a_recall_of_a_half_and_51_of_101_precisions(tool: str) -> None:
    other = shifted(200)
    numbers = evaluate(truth([person(1), person(1, other)]), found(row(1)), tool=tool).numbers
    assert (numbers["AP"], numbers["AR"]) == pytest.approx((51 / 101, 0.5))


def test_poses_on_an_image_without_people_cost_precision(tool: str) -> None:
    ground_truth = truth([person(1)], images=2)
    numbers = evaluate(ground_truth, found(row(1, score=0.5), row(2, score=0.9)), tool=tool).numbers
    assert numbers["AP"] == pytest.approx(0.5)


def test_a_person_without_labelled_keypoints_is_neither_missed_nor_wrongly_found(tool: str) -> None:
    far = shifted(200)
    unlabelled = person(1, far, visible=(0, 0, 0))
    numbers = evaluate(truth([person(1), unlabelled]), found(row(1), row(1, far, score=0.95)), tool=tool).numbers
    assert numbers["AP"] == pytest.approx(1)


def test_nobody_found_scores_zero(tool: str) -> None:
    assert evaluate(truth([person(1)]), found(), tool=tool).numbers["AP"] == 0


def test_a_split_without_people_scores_minus_one_as_the_official_tool_says(tool: str) -> None:
    assert evaluate(truth([]), found(row(1)), tool=tool).numbers["AP"] == -1


def test_only_the_best_twenty_people_of_an_image_are_looked_at(tool: str) -> None:
    wrong = [row(1, shifted(300, 300), score=0.9) for _ in range(20)]
    assert evaluate(truth([person(1)]), found(*wrong, row(1, score=0.1)), tool=tool).ap == 0
    assert evaluate(truth([person(1)]), found(*wrong[1:], row(1, score=0.1)), tool=tool).ap == pytest.approx(1 / 20)


def test_images_with_a_crowd_index_are_counted_as_crowdpose_counts_them(tool: str) -> None:
    people = [person(1), person(2), person(3)]
    ground_truth = truth(people, images=3, crowdIndex=[0.1, 0.2, 0.8])
    numbers = evaluate(ground_truth, found(row(1), row(2, shifted(off_by(0.72)))), tool=tool).numbers
    assert list(numbers) == ["AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard"]
    # The area is that of the box times .53 there, so the same shift is further: .72 ** (1 / .53) = .538.
    assert [numbers[f"AP_{kind}"] for kind in ("easy", "medium", "hard")] == pytest.approx([1, 0.1, 0])


def test_sigmas_decide_how_strict_the_evaluation_is(tool: str) -> None:
    moved = found(row(1, shifted(off_by(0.72))))
    lenient = replace(THREE, sigmas=(0.1, 0.1, 0.1))  # twice the sigma, a quarter of the exponent: .72 ** .25 = .92
    ground_truth = GroundTruth.read(split([person(1)]), lenient)
    assert evaluate(ground_truth, moved, tool=tool).ap == pytest.approx(0.9)


def test_numbers_that_are_not_finite_are_left_out(tool: str) -> None:
    broken = row(1, STANDING * np.nan, score=0.99)
    assert evaluate(truth([person(1)]), found(broken, row(1)), tool=tool).ap == pytest.approx(1)


def test_without_hotcoco_pycocotools_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    monkeypatch.setattr(coco.importlib.util, "find_spec", lambda name: None)
    coco._hotcoco_is_there.cache_clear()
    try:
        assert isinstance(coco.loaded_in("fast", truth([person(1)]), [row(1)]), coco._Pycocotools)
        assert evaluate(truth([person(1)]), found(row(1))).ap == pytest.approx(1)
    finally:
        coco._hotcoco_is_there.cache_clear()


def test_results_of_another_split_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="1 image ids of the results are not in it, 7 the first"):
        evaluate(truth([person(1)]), found(row(7)))


def test_an_unknown_evaluator_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="evaluator 'fats' found; expected fast or reference; did you mean 'fast'"):
        evaluate(truth([person(1)]), found(row(1)), tool="fats")
