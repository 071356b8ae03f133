"""OKS and PCK by keypoint, and who is found by size and by crowding, on people that can be counted on one hand."""

import numpy as np
import pytest

from tests.evaluation.people import STANDING, found, off_by, person, row, shifted, truth
from utils.evaluation.matching import match, pair_up
from utils.evaluation.measures import (
    FOUND,
    by_crowding,
    by_size,
    group_table,
    keypoint_table,
    overlaps,
    per_keypoint,
)


def test_each_keypoint_has_its_own_oks_and_pck() -> None:
    points = STANDING + np.array([[0.0, 0.0], [off_by(0.8), 0.0], [11.0, 0.0]])  # boxes are 100 wide: 11 is too far
    measures = per_keypoint(match(pair_up(truth([person(1)]), found(row(1, points))), FOUND))
    assert measures.names == ("nose", "left_hand", "right_hand")
    assert measures.oks == pytest.approx([1, 0.8, np.exp(-121 / 200)])
    assert measures.pck.tolist() == [1, 1, 0]


def test_labelled_keypoints_of_missed_people_are_counted_but_not_measured() -> None:
    people = [person(1), person(1, shifted(300), visible=(2, 0, 2))]
    measures = per_keypoint(match(pair_up(truth(people), found(row(1))), FOUND))
    assert measures.labelled.tolist() == [2, 1, 2]
    assert measures.found.tolist() == [1, 1, 1]
    assert measures.oks == pytest.approx([1, 1, 1])


def test_a_keypoint_that_nobody_has_is_no_number_and_prints_as_a_dash() -> None:
    measures = per_keypoint(match(pair_up(truth([person(1, visible=(2, 2, 0))]), found(row(1))), FOUND))
    assert np.isnan(measures.oks[2]) and np.isnan(measures.pck[2])
    assert keypoint_table(measures).splitlines()[3].split() == ["right_hand", "0", "0", "-", "-"]


def test_people_are_grouped_by_the_root_of_their_area() -> None:
    people = [person(1, area=30.0**2), person(1, shifted(200), area=40.0**2), person(1, shifted(400), area=300.0**2)]
    groups = by_size(match(pair_up(truth(people), found(row(1, shifted(200)))), FOUND))
    assert [(group.name, group.people) for group in groups] == [
        ("under 32 px", 1), ("32 to 96 px", 1), ("96 to 288 px", 0), ("from 288 px", 1)
    ]  # fmt: skip
    assert [group.found for group in groups if group.people] == [0, 1, 0]
    assert "96 to 288 px       0       -       -       -" in group_table("size", groups)


def test_recall_is_the_share_of_thresholds_that_a_found_person_passes() -> None:
    group = by_size(match(pair_up(truth([person(1)]), found(row(1, shifted(off_by(0.72))))), FOUND))[2]
    assert (group.found, group.recall, group.oks) == pytest.approx((1, 0.5, 0.72))


def test_people_are_grouped_by_the_neighbour_that_shares_most_of_their_box() -> None:
    # Boxes of 100 x 100, 50 to the right of each other: 5,000 shared of 15,000.
    people = [person(1), person(1, shifted(50)), person(1, shifted(400)), person(2)]
    ground_truth = truth(people, images=2)
    assert overlaps(ground_truth) == pytest.approx([1 / 3, 1 / 3, 0, 0])
    groups = by_crowding(match(pair_up(ground_truth, found(row(1))), FOUND))
    assert [group.people for group in groups] == [2, 0, 2, 0]
    assert groups[2].found == 0.5


def test_a_crowd_region_is_no_neighbour() -> None:
    assert overlaps(truth([person(1), person(1, iscrowd=1)])).tolist() == [0, 0]
