"""Who is found by whom: by hand, against the stored OKS of the official programs, and against their recall."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import STANDING, found, off_by, person, row, shifted, truth
from tests.evaluation.test_coco import EVALUATED, fixture
from utils.evaluation.coco import evaluate
from utils.evaluation.matching import NOBODY, match, pair_up


def test_the_oks_of_a_pair_is_the_mean_similarity_of_the_labelled_keypoints() -> None:
    points = STANDING + np.array([[0.0, 0.0], [off_by(0.5), 0.0], [900.0, 0.0]])
    pairs = pair_up(truth([person(1), person(1, visible=(2, 1, 0))]), found(row(1, points)))
    assert pairs.oks == pytest.approx([(1 + 0.5 + 0) / 3, (1 + 0.5) / 2])


@pytest.mark.parametrize("name", EVALUATED)
def test_every_oks_equals_that_of_the_official_programs(shared: Path, name: str) -> None:
    ground_truth, results, _ = fixture(shared, name)
    pairs = pair_up(ground_truth, results)
    images = pairs.results.image_ids[pairs.found]
    with np.load(shared / "fixtures" / "kapao" / "public" / f"eval_{name}.npz") as stored:
        compared = [key for key in stored if key.startswith("oks/")]
        assert len(compared) == 40
        for key in compared:
            ours = pairs.oks[images == int(key.removeprefix("oks/"))]
            np.testing.assert_allclose(ours.reshape(stored[key].shape), stored[key], atol=1e-6)


@pytest.mark.parametrize("name", EVALUATED)
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_as_many_people_are_found_as_the_official_recall_says(shared: Path, name: str, threshold: float) -> None:
    ground_truth, results, _ = fixture(shared, name)
    matching = match(pair_up(ground_truth, results), threshold)
    recall = (matching.pair_of_person != NOBODY)[ground_truth.counts].mean()
    assert recall == pytest.approx(evaluate(ground_truth, results).curves.ar(oks=threshold))


def test_the_better_score_chooses_first_and_the_other_takes_who_is_left() -> None:
    ground_truth = truth([person(1), person(1, shifted(5))])
    matching = match(pair_up(ground_truth, found(row(1, score=0.3), row(1, shifted(1), score=0.9))), 0.5)
    assert matching.person_of_found.tolist() == [0, 1]  # best score first


def test_poses_on_crowd_regions_and_unlabelled_people_are_excused_however_many() -> None:
    crowd = person(1, shifted(200), visible=(0, 0, 0), iscrowd=1)
    results = found(row(1, shifted(200)), row(1, shifted(210)), row(1, shifted(-300, 900)))
    matching = match(pair_up(truth([person(1), crowd]), results), 0.5)
    assert matching.excused.tolist() == [True, True, False]
    assert (matching.person_of_found == NOBODY).all()


def test_nobody_found_and_nobody_annotated_is_no_special_case() -> None:
    for ground_truth, results in ((truth([person(1)]), found()), (truth([]), found(row(1))), (truth([]), found())):
        matching = match(pair_up(ground_truth, results), 0.5)
        assert len(matching.matched) == 0 and not matching.excused.any()
