"""Keypoints without their tremble."""

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.test_track import people
from utils.core.poses import Poses
from utils.inference.smooth import OneEuro, OneEuroSettings


def with_ids(poses: Poses, *numbers: int) -> Poses:
    return replace(poses, ids=np.array(numbers))


def test_a_keypoint_at_rest_stops_trembling() -> None:
    generator = np.random.default_rng(0)
    smoother, still = OneEuro(30), with_ids(people((100, 100)), 1)
    raw, calm = [], []
    for _ in range(200):
        noisy = replace(still, keypoints=still.keypoints + generator.normal(0, 1, still.keypoints.shape))
        raw.append(noisy.keypoints)
        calm.append(smoother.update(noisy).keypoints)
    tremble = [np.diff(np.array(values[20:]), axis=0).std() for values in (raw, calm)]
    assert tremble[1] < 0.4 * tremble[0]
    assert abs(np.mean(calm[20:], 0) - still.keypoints).max() < 0.5


def test_a_quick_movement_is_followed_and_more_beta_follows_sooner() -> None:
    lag = {}
    for beta in (0.0, 3.0):
        smoother = OneEuro(30, OneEuroSettings(beta=beta))
        for t in range(30):
            moving = with_ids(people((100 + 10 * t, 100)), 1)
            smooth = smoother.update(moving)
        lag[beta] = float((moving.keypoints - smooth.keypoints)[..., 0].mean())
    assert 0 <= lag[3.0] < 6 < lag[0.0]


def test_everybody_has_a_filter_of_their_own() -> None:
    smoother = OneEuro(30)
    smoother.update(with_ids(people((100, 100), (300, 100)), 1, 2))
    exchanged = smoother.update(with_ids(people((300, 100), (100, 100)), 2, 1))
    np.testing.assert_allclose(exchanged.keypoints, people((300, 100), (100, 100)).keypoints)


def test_a_keypoint_that_is_not_believed_moves_less() -> None:
    smoother = OneEuro(30)
    smoother.update(with_ids(people((100, 100)), 1))
    jumped = with_ids(people((120, 100)), 1)
    scores = jumped.keypoint_scores.copy()
    scores[0, 0] = 0.09
    moved = smoother.update(replace(jumped, keypoint_scores=scores)).keypoints - people((100, 100)).keypoints
    assert 0 < moved[0, 0, 0] < 0.2 * moved[0, 1, 0]


def test_who_was_away_for_long_starts_anew() -> None:
    smoother = OneEuro(30, OneEuroSettings(patience=3))
    smoother.update(with_ids(people((100, 100)), 1))
    for _ in range(4):
        smoother.update(replace(people(), ids=np.zeros(0, np.int64)))
    again = with_ids(people((300, 100)), 1)
    np.testing.assert_array_equal(smoother.update(again).keypoints, again.keypoints)
    assert len(smoother.memories) == 1


def test_boxes_scores_and_the_poses_that_were_handed_in_stay_as_they_are() -> None:
    smoother, first = OneEuro(30), with_ids(people((100, 100)), 1)
    smoother.update(first)
    second = with_ids(people((110, 100)), 1)
    kept = second.keypoints.copy()
    smooth = smoother.update(second)
    np.testing.assert_array_equal(second.keypoints, kept)
    np.testing.assert_array_equal(smooth.boxes, second.boxes)
    assert not np.array_equal(smooth.keypoints, kept)


def test_people_without_ids_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="track them first"):
        OneEuro().update(people((100, 100)))
    with pytest.raises(ValueError, match="cutoff 0"):
        OneEuroSettings(cutoff=0)
    with pytest.raises(ValueError, match="rate: found 0"):
        OneEuro(0)
