"""One id per person from frame to frame."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.tracking import DETECTORS, FIRST, SIZE, measure
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.data.film import FilmSettings, film
from utils.inference.track import Tracker, TrackSettings

SCHEMA = KeypointSchema.read("people.yaml")
SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (SCHEMA.count, 2)) * (40, 100)  # of a person of 40 x 100 pixels
ALONE = TrackSettings(confirm=1, bridge=0)  # an id at once, and only for who was found


def people(*places: tuple[float, float], scores: tuple[float, ...] = (), shape: np.ndarray = SHAPE) -> Poses:
    """People of one shape around these places."""
    middles = np.array(places, np.float64).reshape(-1, 2)
    count = len(middles)
    half = np.array([20.0, 50.0])
    return Poses(
        boxes=np.concatenate((middles - half, middles + half), 1),
        scores=np.array(scores or (0.9,) * count),
        classes=np.zeros(count, np.int64),
        keypoints=middles[:, None] + shape,
        keypoint_scores=np.full((count, SCHEMA.count), 0.9),
    )


def nobody() -> Poses:
    return people()


def ids(poses: Poses) -> list[int]:
    assert poses.ids is not None
    return poses.ids.tolist()


def walked(tracker: Tracker, frames: range, *, step: float = 4.0) -> list[int]:
    """The ids of one person who walks to the right, frame by frame; 0 where nobody is reported."""
    return [(ids(tracker.update(people((100 + step * t, 100)))) or [0])[0] for t in frames]


def test_everybody_in_the_first_frame_gets_an_id_and_keeps_it_whatever_the_order() -> None:
    tracker = Tracker(SCHEMA)
    first = tracker.update(people((100, 100), (200, 100), (300, 100)))
    assert ids(first) == [1, 2, 3]
    second = tracker.update(people((303, 100), (103, 100), (203, 100)))
    assert ids(second) == [3, 1, 2]
    np.testing.assert_array_equal(second.keypoints[0], people((303, 100)).keypoints[0])


def test_somebody_new_gets_an_id_when_seen_twice_in_a_row() -> None:
    tracker = Tracker(SCHEMA)
    tracker.update(nobody())
    assert ids(tracker.update(people((100, 100)))) == []
    assert ids(tracker.update(nobody())) == []
    assert ids(tracker.update(people((100, 100)))) == []
    assert ids(tracker.update(people((102, 100)))) == [1]


def test_who_is_hidden_for_ten_frames_gets_the_old_id_back_where_the_way_leads() -> None:
    tracker = Tracker(SCHEMA, TrackSettings(bridge=0))
    assert walked(tracker, range(20)) == [1] * 20
    for _ in range(10):
        assert ids(tracker.update(nobody())) == []
    assert walked(tracker, range(30, 33)) == [1, 1, 1]


def test_who_comes_back_after_longer_than_the_patience_is_somebody_new() -> None:
    for away, expected in ((5, 1), (6, 2)):
        tracker = Tracker(SCHEMA, replace(ALONE, patience=5))
        walked(tracker, range(20), step=0)
        for _ in range(away):
            tracker.update(nobody())
        assert walked(tracker, range(1)) == [expected]


def test_who_appears_in_another_place_is_somebody_new() -> None:
    tracker = Tracker(SCHEMA, ALONE)
    walked(tracker, range(5))
    assert ids(tracker.update(people((400, 100)))) == [2]


def test_a_weak_find_goes_on_with_a_track_but_starts_none() -> None:
    tracker = Tracker(SCHEMA, ALONE)
    walked(tracker, range(5))
    assert ids(tracker.update(people((120, 100), (300, 100), scores=(0.3, 0.4)))) == [1]
    assert ids(tracker.update(people((124, 100), scores=(0.05,)))) == []


def test_two_who_walk_through_each_other_keep_their_ids() -> None:
    """Behind the crossing the boxes alone would as soon exchange them."""
    tracker = Tracker(SCHEMA, TrackSettings(bridge=0))
    for t in range(60):
        there, back = (100 + 4 * t, 100), (340 - 4 * t, 104)
        order = (there, back) if t % 2 else (back, there)
        hidden = 28 <= t <= 32  # only the one in front
        found = tracker.update(people(*((there,) if hidden else order)))
        by_place = dict(zip(found.keypoints[:, 0, 0].round(), ids(found), strict=True))
        expected = {round(there[0] + SHAPE[0, 0]): 2} | ({} if hidden else {round(back[0] + SHAPE[0, 0]): 1})
        assert by_place == expected, t


def test_poses_tell_apart_whom_boxes_cannot() -> None:
    """Two people in one box exchange their places in the list; only their keypoints know."""
    other = SHAPE[:, ::-1] * (0.4, 2.5)

    def pair(order: int) -> Poses:
        both = [people((100, 100)), people((102, 100), shape=other)]
        first, second = both[order], both[1 - order]
        fields = ("boxes", "scores", "classes", "keypoints", "keypoint_scores")
        return Poses(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in fields))

    tracker = Tracker(SCHEMA)
    assert ids(tracker.update(pair(0))) == [1, 2]
    assert ids(tracker.update(pair(1))) == [2, 1]
    boxes_only = Tracker(SCHEMA, TrackSettings(keypoint_share=0))
    boxes_only.update(pair(0))
    swapped = replace(pair(1), boxes=pair(0).boxes)
    assert ids(boxes_only.update(swapped)) == [1, 2]


def test_another_class_is_another_person() -> None:
    tracker = Tracker(SCHEMA, ALONE)
    tracker.update(people((100, 100)))
    assert ids(tracker.update(replace(people((100, 100)), classes=np.ones(1, np.int64)))) == [2]


def test_ids_do_not_depend_on_how_large_the_picture_is() -> None:
    generator = np.random.default_rng(1)
    frames = [people(*(generator.uniform(100, 500, (4, 2)) + np.array([5 * t, 0]))) for t in range(10)]
    for scale in (0.1, 10):
        plain, scaled = Tracker(SCHEMA), Tracker(SCHEMA)
        for poses in frames:
            larger = replace(poses, boxes=scale * poses.boxes, keypoints=scale * poses.keypoints)
            assert ids(plain.update(poses)) == ids(scaled.update(larger))


def test_a_detector_without_keypoints_and_one_that_scores_none_of_them_are_tracked_too() -> None:
    plain = KeypointSchema((), (), ())
    tracker, unscored = Tracker(plain), Tracker(SCHEMA)
    for t in range(5):
        poses = people((100 + 4 * t, 100), (300 - 4 * t, 100))
        bare = replace(poses, keypoints=poses.keypoints[:, :0], keypoint_scores=poses.keypoint_scores[:, :0])
        assert ids(tracker.update(bare)) == [1, 2]
        assert ids(unscored.update(replace(poses, keypoint_scores=0 * poses.keypoint_scores))) == [1, 2]


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="keypoint_share: found"):
        TrackSettings(keypoint_share=1.5)
    with pytest.raises(ValueError, match="patience: found -1"):
        TrackSettings(patience=-1)


def test_who_is_missed_for_a_moment_is_reported_where_they_should_be() -> None:
    tracker = Tracker(SCHEMA, TrackSettings(bridge=2))
    walked(tracker, range(20))
    for t, score in ((20, 0.45), (21, 0.225)):
        expected = tracker.update(nobody())
        assert ids(expected) == [1] and expected.scores == pytest.approx([score])
        np.testing.assert_allclose(expected.keypoints, people((100 + 4 * t, 100)).keypoints, atol=3)
    assert ids(tracker.update(nobody())) == []
    assert walked(tracker, range(23, 25)) == [1, 1]


def test_who_was_hardly_seen_before_is_hidden_and_not_missed() -> None:
    tracker = Tracker(SCHEMA, TrackSettings(bridge=2))
    walked(tracker, range(20))
    tracker.update(people((180, 100), scores=(0.3,)))
    assert ids(tracker.update(nobody())) == []


def test_ids_stay_with_drawn_people_and_poses_are_worth_more_than_boxes() -> None:
    """On two films that nothing was chosen on; python -m benchmarks.tracking has the table of more."""
    settings = FilmSettings(size=SIZE, frames=120, people=5)
    films = [list(film(seed, settings)) for seed in range(FIRST, FIRST + 2)]
    perfect, dropped = DETECTORS["perfect"], DETECTORS["20% dropped"]
    assert measure(films, perfect, SCHEMA, TrackSettings()).idf1 >= 0.95
    assert measure(films, dropped, SCHEMA, TrackSettings()).idf1 >= 0.85
    with_poses = measure(films, dropped, SCHEMA, TrackSettings())
    with_boxes = measure(films, dropped, SCHEMA, TrackSettings(keypoint_share=0))
    assert with_poses.idf1 > with_boxes.idf1 + 0.05 and with_poses.switches < with_boxes.switches
