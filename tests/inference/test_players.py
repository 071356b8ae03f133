"""The squash demo's own tracker, against what the published one drew."""

import json
from pathlib import Path

import numpy as np

from tests.inference.test_track import SCHEMA, people
from utils.core.poses import Poses
from utils.inference.players import BLUE, ORANGE, Court, Players

HEIGHT = 110  # of a picture in which the test's people are large enough to play


def test_the_players_are_those_that_the_published_demo_coloured(shared: Path) -> None:
    values = json.loads((shared / "fixtures" / "kapao" / "public" / "squash_tracking_a.json").read_text())
    colours = {(66, 140, 245): ORANGE, (245, 140, 66): BLUE}
    expected = {(frame, colours[tuple(colour)], tuple(box)) for frame, _, box, colour, _ in values["players"]}
    crowd = [sum(row[0] == frame for row in values["crowd_rects"]) for frame in range(len(values["frames"]))]
    tracker, found = Players(), set()
    for number, frame in enumerate(values["frames"]):
        keypoints = np.array(frame["poses"])[..., :2]
        count = len(keypoints)
        poses = Poses(
            boxes=np.array(frame["bboxes"]),
            scores=np.linspace(0.9, 0.8, count),
            classes=np.zeros(count, np.int64),
            keypoints=keypoints,
            keypoint_scores=np.ones(keypoints.shape[:2]),
        )
        scene = tracker.update(poses, values["height"])
        for box, player in zip(scene.players.boxes.astype(int).tolist(), scene.players.ids.tolist(), strict=True):
            found.add((number, player, tuple(box)))
        assert len(scene.crowd) == crowd[number]
    assert found == expected


def test_orange_is_farther_left_at_first_and_stays_orange_when_they_cross() -> None:
    tracker = Players()
    assert tracker.update(people((60, 100), scores=(0.9,)), HEIGHT).players.ids.tolist() == []
    for t in range(20):
        orange, blue = (100 + 8 * t, 100), (240 - 8 * t, 130)
        scene = tracker.update(people(blue, orange, scores=(0.9, 0.8)), HEIGHT)
        assert scene.players.ids.tolist() == [ORANGE, BLUE]
        np.testing.assert_allclose(scene.players.boxes[0, 0], orange[0] - 20)


def test_an_absent_player_is_not_reported_and_comes_back() -> None:
    tracker = Players()
    tracker.update(people((100, 100), (300, 100)), HEIGHT)
    assert tracker.update(people((302, 100)), HEIGHT).players.ids.tolist() == [BLUE]
    assert tracker.update(people(), HEIGHT).players.ids.tolist() == []
    assert tracker.update(people((102, 100), (304, 100)), HEIGHT).players.ids.tolist() == [ORANGE, BLUE]


def test_only_the_two_best_of_the_large_ones_play_and_the_small_ones_are_the_crowd() -> None:
    scene = Players().update(people((100, 100), (300, 100), (500, 100)), HEIGHT)
    assert len(scene.players) == 2 and len(scene.crowd) == 0
    small = Players().update(people((100, 100), (300, 100)), 10 * HEIGHT)
    assert len(small.players) == 0 and len(small.crowd) == 2


def test_players_are_drawn_in_their_colours_and_the_frame_stays_as_it_is() -> None:
    image = np.full((220, 400, 3), 90, np.uint8)
    drawn = Court(SCHEMA).draw(image, people((100, 100), (300, 100)))
    left, right = drawn[55:145, 85:115].reshape(-1, 3).mean(0), drawn[55:145, 285:315].reshape(-1, 3).mean(0)
    assert left[0] > left[2] + 20 and right[2] > right[0] + 20
    assert (image == 90).all()
