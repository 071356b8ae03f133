"""The kinds of errors after Ronchi and Perona, one made on purpose at a time."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import STANDING, found, off_by, person, row, shifted, truth
from tests.evaluation.test_coco import fixture
from utils.evaluation.coco import TOOLS, evaluate
from utils.evaluation.diagnosis import GOOD, INVERSION, JITTER, KINDS, MISS, SWAP, diagnose, diagnosis_table

NOSE, LEFT, RIGHT = range(3)


def with_keypoint(index: int, x: float, y: float) -> np.ndarray:
    """The standing person with one keypoint somewhere else."""
    points = STANDING.copy()
    points[index] = x, y
    return points


def kinds_of(points: np.ndarray, *others: np.ndarray) -> list[int]:
    """What happened to each keypoint of the first person's pose; the others stand beside."""
    people = [person(1), *(person(1, other) for other in others)]
    return diagnose(truth(people), found(row(1, points))).kinds[0].tolist()


def test_keypoints_with_a_similarity_from_point_85_are_good() -> None:
    assert kinds_of(STANDING) == [GOOD, GOOD, GOOD]
    assert kinds_of(with_keypoint(NOSE, 50 + off_by(0.86), 10)) == [GOOD, GOOD, GOOD]


def test_keypoints_between_point_5_and_point_85_jitter() -> None:
    assert kinds_of(with_keypoint(NOSE, 50 + off_by(0.84), 10)) == [JITTER, GOOD, GOOD]
    assert kinds_of(with_keypoint(NOSE, 50 + off_by(0.51), 10)) == [JITTER, GOOD, GOOD]


def test_a_left_hand_on_the_right_hand_is_an_inversion() -> None:
    assert kinds_of(with_keypoint(LEFT, 90, 60)) == [GOOD, INVERSION, GOOD]


def test_a_hand_on_somebody_elses_hand_is_a_swap_whichever_hand_it_is() -> None:
    neighbour = shifted(150)  # hands at 160 and 240
    assert kinds_of(with_keypoint(LEFT, 160, 60), neighbour) == [GOOD, SWAP, GOOD]
    assert kinds_of(with_keypoint(LEFT, 240, 60), neighbour) == [GOOD, SWAP, GOOD]


def test_a_hand_on_somebody_elses_nose_is_a_miss() -> None:
    assert kinds_of(with_keypoint(LEFT, 200, 10), shifted(150)) == [GOOD, MISS, GOOD]


def test_a_nose_is_its_own_mirror_image_and_cannot_be_inverted() -> None:
    assert kinds_of(with_keypoint(NOSE, 50, 10 + off_by(0.4))) == [MISS, GOOD, GOOD]


def test_keypoints_without_a_label_are_not_judged() -> None:
    people = [person(1, visible=(2, 0, 2))]
    diagnosis = diagnose(truth(people), found(row(1, with_keypoint(LEFT, 900, 900))))
    assert diagnosis.counts.sum(1).tolist() == [1, 0, 1]
    assert diagnosis_table(diagnosis).splitlines()[2].split() == ["left_hand", "-", "-", "-", "-", "-"]


def test_poses_meant_for_nobody_and_people_whom_no_pose_is_meant_for_are_counted_apart() -> None:
    people = [person(1), person(1, shifted(300)), person(2, visible=(0, 0, 0))]
    results = found(row(1), row(1, shifted(0, 300)), row(1, shifted(0, 250)), row(2))
    diagnosis = diagnose(truth(people, images=2), results)
    assert (diagnosis.false_positives, diagnosis.false_negatives) == (2, 1)


@pytest.mark.parametrize("tool", TOOLS)
def test_putting_the_only_kind_of_error_right_wins_all_of_the_ap(tool: str) -> None:
    # An inverted hand has a similarity of exp(-80² / 200) = 0, so the OKS is 2 / 3: 4 of 10 thresholds.
    diagnosis = diagnose(truth([person(1)]), found(row(1, with_keypoint(LEFT, 90, 60))), tool=tool)
    assert diagnosis.gains == pytest.approx(
        {"jitter": 0, "inversion": 0.6, "swap": 0, "miss": 0, "false positive": 0, "false negative": 0}
    )


def test_without_false_positives_or_missed_people_the_ap_rises_to_one() -> None:
    assert diagnose(truth([person(1)]), found(row(1, score=0.5), row(1, shifted(300)))).gains[
        "false positive"
    ] == pytest.approx(0.5)
    people = [person(1), person(1, shifted(300))]
    assert diagnose(truth(people), found(row(1))).gains["false negative"] == pytest.approx(50 / 101)


def test_real_people_with_errors_put_right_never_score_worse(shared: Path) -> None:
    ground_truth, results, _ = fixture(shared, "coco_val_mix")
    diagnosis = diagnose(ground_truth, results)
    assert (
        diagnosis.counts.sum()
        == (ground_truth.visibility[ground_truth.counts] > 0)[
            diagnosis.matching.pair_of_person[ground_truth.counts] >= 0
        ].sum()
    )
    assert all(gain >= 0 for gain in diagnosis.gains.values())
    assert diagnosis.shares.sum(1) == pytest.approx(np.ones(len(diagnosis.shares)))
    assert evaluate(ground_truth, results).ap + diagnosis.gains["miss"] < 1
    assert list(diagnosis.gains)[:4] == list(KINDS[1:])
