"""People on pictures: where, how faint, on which ground."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from utils.core.config import ROOT
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.draw import INK, LEFT, MIDDLE, RIGHT, Style, draw_poses, grid, point_colours

COCO = KeypointSchema.read("coco_kpts.yaml")
BARE = Style(boxes=False)


def somebody(schema: KeypointSchema, size: tuple[int, int], score: float = 1.0, seed: int = 0) -> Poses:
    height, width = size
    points = np.random.default_rng(seed).uniform(
        (0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height), (1, schema.count, 2)
    )
    box = np.array([[0.15 * width, 0.15 * height, 0.85 * width, 0.85 * height]])
    return Poses(box, np.array([0.9]), np.zeros(1, int), points, np.full((1, schema.count), score))


def distance(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(image.astype(int) - colour).sum(-1)


def test_the_picture_itself_stays_as_it_was() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    drawn = draw_poses(image, somebody(COCO, (120, 160)), COCO)
    assert (image == 90).all() and (drawn != 90).any() and drawn.shape == image.shape


def test_nobody_leaves_the_picture_as_it_is() -> None:
    image = np.full((20, 30, 3), 7, np.uint8)
    nobody = somebody(COCO, (20, 30))[:0]
    assert (draw_poses(image, nobody, COCO) == image).all()


@pytest.mark.parametrize("name", ["coco_kpts.yaml", "crowdpose.yaml", "people_corners.yaml", "people_hand.yaml"])
def test_every_keypoint_of_every_skeleton_lies_under_its_own_colour(name: str) -> None:
    schema = KeypointSchema.read(name)
    image = np.full((700, 900, 3), 128, np.uint8)
    poses = somebody(schema, (700, 900))
    drawn = draw_poses(image, poses, replace(schema, skeleton=()), replace(BARE, line_width=2))
    for point, colour in zip(poses.keypoints[0], point_colours(schema), strict=True):
        x, y = point.astype(int)
        assert distance(drawn[y - 3 : y + 4, x - 3 : x + 4], colour).min() < 30


def test_the_left_of_a_person_is_warm_and_the_right_is_cold_whatever_the_order_of_the_names() -> None:
    colours = dict(zip(COCO.names, point_colours(COCO), strict=True))
    assert colours["left_wrist"] == LEFT and colours["right_wrist"] == RIGHT and colours["nose"] == MIDDLE
    turned = KeypointSchema(("r_eye", "l_eye"), (1, 0), (0.05, 0.05))
    assert point_colours(turned) == (RIGHT, LEFT)
    unnamed = KeypointSchema(("a", "b"), (1, 0), (0.05, 0.05))
    assert point_colours(unnamed) == (LEFT, RIGHT)


def test_a_point_lies_where_it_was_found_to_a_tenth_of_a_pixel() -> None:
    """The darkness of the drawn dot, weighed, has its centre at the keypoint."""
    one = KeypointSchema(("ball",), (0,), (0.05,))
    for x, y in ((50.5, 40.5), (50.0, 40.0), (51.3, 38.8)):
        poses = Poses(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), np.array([[[x, y]]]), np.ones((1, 1)))
        drawn = draw_poses(
            np.full((80, 100, 3), 255, np.uint8), poses, one, replace(BARE, colour=(0, 0, 0), line_width=1)
        )
        weight = 255.0 - drawn.mean(-1)
        rows, columns = np.indices(weight.shape) + 0.5
        found = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        assert np.allclose(found, (x, y), atol=0.1)


def test_the_less_sure_a_keypoint_the_fainter_it_is_and_below_the_threshold_it_is_gone() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    changes = [
        np.abs(draw_poses(image, somebody(COCO, (200, 200), score), COCO, BARE).astype(int) - 255).sum()
        for score in (0.29, 0.35, 0.5, 0.65, 0.9)
    ]
    assert changes[0] == 0
    assert all(low < high for low, high in pairwise(changes))


@pytest.mark.parametrize("ground", [0, 255, 128])
def test_lines_stand_out_on_any_ground(ground: int) -> None:
    """Both a bright colour and a dark rim are there, so one of them differs from the ground."""
    drawn = draw_poses(
        np.full((300, 300, 3), ground, np.uint8), somebody(COCO, (300, 300)), COCO, replace(BARE, line_width=8)
    )
    assert (distance(drawn, INK) < 12).sum() > 100 and (distance(drawn, LEFT) < 12).sum() > 100


def test_points_far_outside_and_points_that_are_no_numbers_harm_nothing() -> None:
    poses = somebody(COCO, (100, 100))
    poses.keypoints[0, 3] = np.nan
    poses.keypoints[0, 5:8] = (1e12, -1e12)
    poses.boxes[0] = (-1e9, 20, 1e9, np.inf)
    draw_poses(np.zeros((100, 100, 3), np.uint8), poses, COCO, Style(names=True))
    poses.keypoints[:] = 5e5
    drawn = draw_poses(np.zeros((100, 100, 3), np.uint8), poses, COCO, BARE)
    assert not drawn.any()


def test_lines_grow_with_the_picture_unless_a_width_is_given() -> None:
    assert Style().width((100, 100)) == 1 < Style().width((720, 1280)) < Style().width((3000, 4000))
    assert Style(line_width=5).width((100, 100)) == 5


def test_tags_say_class_id_and_score_where_they_tell_something() -> None:
    image = np.full((200, 300, 3), 60, np.uint8)
    poses = somebody(COCO, (200, 300))
    plain = draw_poses(image, poses, COCO, Style(labels=False, scores=False))
    scored = draw_poses(image, poses, COCO, Style(labels=True, scores=True, classes=("person",)))
    tracked = draw_poses(image, replace(poses, ids=np.array([0])), COCO, Style(classes=("person", "dog")))

    def tag_pixels(drawn: np.ndarray) -> int:
        return int((drawn[:30] != image[:30]).any(-1).sum())

    assert tag_pixels(plain) < tag_pixels(scored) < tag_pixels(tracked)


def test_a_grid_holds_every_picture_whole() -> None:
    pictures = [np.full((40 + 10 * i, 90, 3), 20 * i, np.uint8) for i in range(5)]
    page = grid(pictures, tile=(60, 60))
    assert page.shape[1] > page.shape[0] > 2 * 60  # two rows of three
    assert all((page == 20 * i).all(-1).sum() > 1000 for i in range(5))
    assert grid([]).size


def test_no_number_of_keypoints_is_written_into_the_drawing() -> None:
    plain = KeypointSchema((), (), ())
    boxes = Poses(np.array([[2.0, 2, 50, 50]]), np.ones(1), np.zeros(1, int), np.zeros((1, 0, 2)), np.zeros((1, 0)))
    assert draw_poses(np.zeros((60, 60, 3), np.uint8), boxes, plain).any()
    assert (ROOT / "utils/inference/draw.py").read_text().count("nose") == 0


def test_keypoints_can_have_a_colour_and_a_size_of_their_own() -> None:
    point = Poses(
        boxes=np.array([[10.0, 10.0, 90.0, 90.0]]),
        scores=np.ones(1),
        classes=np.zeros(1, int),
        keypoints=np.full((1, COCO.count, 2), 50.0),
        keypoint_scores=np.ones((1, COCO.count)),
    )
    for radius in (1.5, 2.5):
        style = Style(boxes=False, bones=False, point_colour=(255, 0, 255), radius=radius)
        drawn = draw_poses(np.zeros((100, 100, 3), np.uint8), point, COCO, style)
        assert (drawn == (255, 0, 255)).all(-1).sum() == pytest.approx(np.pi * radius**2, abs=6)
