"""Drawn people: the same everywhere, labelled exactly, and of every kind that is promised."""

import json
import pickle
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from utils.core.config import ROOT
from utils.core.contract import ModelSpec
from utils.core.geometry import box_areas, inside
from utils.core.schema import KeypointSchema
from utils.data.drawing.body import Shape
from utils.data.drawing.canvas import paint
from utils.data.drawing.figure import KEYPOINTS, draw_people, pictured
from utils.data.drawing.files import DATA_FILES, write_split
from utils.data.drawing.poses import ANGLES, LIMITS, draw_angles
from utils.data.drawing.scenes import SMALLEST, labelled
from utils.data.drawing.view import Placement, Scene
from utils.data.drawing.wardrobe import MATERIALS, Wardrobe
from utils.data.image_sources import Drawn
from utils.data.loader import Loading, training_loader
from utils.data.people import CROWDINGS, Drawings, SceneSettings, draw
from utils.data.recipe import Augment

SMALL = SceneSettings(size=(160, 200))
KINDS = [
    SceneSettings(size=(160, 200), figure=figure, difficulty=difficulty)
    for figure in DATA_FILES
    for difficulty in CROWDINGS
]


def every_kind(*, scenes: int) -> list[tuple[SceneSettings, Scene]]:
    return [(settings, draw(7, index, settings)) for settings in KINDS for index in range(scenes)]


def same(first: Scene, second: Scene) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(Scene))


def standing(*, places: list[float], statures: list[float], yaws: list[float]) -> Placement:
    """Upright people with their feet near the bottom of a 200 x 200 image."""
    anchors = np.stack((np.array(places), np.full(len(places), 190.0)), 1)
    sizes = np.array(statures)
    return Placement(anchors, sizes, np.array(yaws), sizes, pitch=0.0, distance=6.0)


def at_ease(placement: Placement) -> Scene:
    """People who stand and look straight ahead, with long trousers and without hats, on grey ground."""
    count = len(placement.statures)
    generator = np.random.default_rng(3)
    clothes = replace(
        Wardrobe.draw(generator, count), legs=np.full(count, 2), hair=np.ones(count, int), hat=np.zeros(count, bool)
    )
    angles = np.zeros((count, len(ANGLES)))
    angles[:, [i for i, name in enumerate(ANGLES) if name.endswith("arm_out")]] = 15
    shape = Shape(*(np.ones(count) for _ in fields(Shape)))
    figures = pictured(placement, shape=shape, wardrobe=clothes, angles=angles, seated=np.zeros(count, bool))
    canvas = paint(figures.patches, (200, 200))
    return labelled(np.full((200, 200, 3), 128, np.uint8), canvas, figures)


# ------------------------------------------------------------------------------------------------ the same everywhere


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_the_same_seed_and_number_give_the_same_scene(settings: SceneSettings) -> None:
    assert same(draw(5, 3, settings), draw(5, 3, settings))


def test_a_scene_does_not_depend_on_which_were_drawn_before_it() -> None:
    one_after_another = [draw(1, index, SMALL) for index in range(4)]
    assert same(one_after_another[3], draw(1, 3, SMALL))


def test_other_seeds_and_other_numbers_give_other_scenes() -> None:
    first = draw(0, 0, SMALL).image
    assert not any(np.array_equal(first, draw(*which, SMALL).image) for which in ((0, 1), (1, 0), ((0, 1), 0)))


def test_another_process_draws_the_same_scene() -> None:
    code = (
        "from utils.data.people import SceneSettings, draw; import hashlib; s = draw(2, 9, SceneSettings((160, 200)));"
        "print(hashlib.sha256(s.image.tobytes() + s.keypoints.round(2).tobytes()).hexdigest())"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(outputs) == 1


def test_settings_and_scenes_can_travel_to_worker_processes() -> None:
    settings, scene = pickle.loads(pickle.dumps((SMALL, draw(0, 0, SMALL))))
    assert settings == SMALL
    assert same(scene, draw(0, 0, SMALL))


def test_a_figure_that_nobody_draws_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'hand'"):
        SceneSettings(figure="hands")


# ------------------------------------------------------------------------------------------------ exact labels


def test_shapes_follow_the_schema_of_each_figure() -> None:
    for settings, scene in every_kind(scenes=2):
        count, schema = len(scene.boxes), KeypointSchema.read(DATA_FILES[settings.figure])
        assert scene.image.shape == (*settings.size, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.shape == (count, 4)
        assert scene.keypoints.shape == (count, schema.count, 2)
        assert scene.visibility.shape == (count, schema.count)
        assert scene.areas.shape == (count,)


def test_a_keypoint_is_labelled_if_and_only_if_it_is_inside_the_image() -> None:
    for settings, scene in every_kind(scenes=4):
        assert np.array_equal(scene.visibility > 0, inside(scene.keypoints, settings.size))


def test_a_box_encloses_exactly_the_pixels_that_show_its_owner() -> None:
    for _, scene in every_kind(scenes=4):
        for figure, box in enumerate(scene.boxes):
            rows, columns = np.nonzero(scene.owners == figure)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert scene.areas[figure] == len(rows) >= SMALLEST
        assert (scene.areas <= box_areas(scene.boxes)).all()


def test_a_keypoint_that_is_seen_lies_on_its_owner() -> None:
    """Within a pixel and a half: a corner or the tip of a nose has no area of its own."""
    for _, scene in every_kind(scenes=4):
        owners = np.pad(scene.owners, 2, constant_values=-1)
        for figure, joint in zip(*np.nonzero(scene.visibility == 2), strict=True):
            x, y = np.floor(scene.keypoints[figure, joint]).astype(int) + 2
            assert (owners[y - 2 : y + 3, x - 2 : x + 3] == figure).any()


def test_the_middle_of_a_seen_limb_is_on_the_limb() -> None:
    scene = at_ease(standing(places=[100], statures=[160], yaws=[0]))
    schema = KeypointSchema.read("people.yaml")
    for first, second in (("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("left_shoulder", "left_elbow")):
        x, y = scene.keypoints[0, [schema.index(first), schema.index(second)]].mean(0).astype(int)
        assert scene.owners[y, x] == 0


def test_a_nearer_person_hides_the_keypoints_of_a_farther_one() -> None:
    alone = at_ease(standing(places=[100], statures=[150], yaws=[0]))
    behind = at_ease(standing(places=[100, 104], statures=[150, 180], yaws=[0, 0]))
    assert np.count_nonzero(alone.visibility[0] == 2) == len(KEYPOINTS)
    assert np.count_nonzero(behind.visibility[0] == 2) < len(KEYPOINTS) / 2
    assert (behind.visibility > 0).all()
    assert behind.areas[0] < alone.areas[0] / 2


def test_whoever_is_hidden_completely_is_not_labelled() -> None:
    placement = standing(places=[100, 100], statures=[20, 180], yaws=[0, 0])
    placement.anchors[0, 1] = 90  # before the other's chest, if it were not behind it
    scene = at_ease(placement)
    assert len(scene.boxes) == 1
    assert set(np.unique(scene.owners)) == {-1, 0}


def test_a_face_is_hidden_by_its_own_head_from_behind() -> None:
    schema = KeypointSchema.read("people.yaml")
    front = at_ease(standing(places=[100], statures=[160], yaws=[0])).visibility[0]
    back = at_ease(standing(places=[100], statures=[160], yaws=[180])).visibility[0]
    for name in ("nose", "left_eye", "right_eye"):
        assert front[schema.index(name)] == 2
        assert back[schema.index(name)] == 1
    assert back[schema.index("left_shoulder")] == 2


# ------------------------------------------------------------------------------------------------ people


def test_the_names_and_sigmas_of_drawn_people_are_those_of_coco() -> None:
    drawn, coco = KeypointSchema.read("people.yaml"), KeypointSchema.read("coco_kpts.yaml")
    assert drawn == coco
    assert tuple(KEYPOINTS) == coco.names


def test_the_left_side_is_on_the_right_of_the_picture_from_the_front_and_on_the_left_from_behind() -> None:
    schema = KeypointSchema.read("people.yaml")
    left, right = schema.index("left_wrist"), schema.index("right_wrist")
    for yaw, sign in ((0, 1), (180, -1)):
        placement = standing(places=[100] * 60, statures=[150] * 60, yaws=[yaw] * 60)
        keypoints = draw_people(np.random.default_rng(1), placement).keypoints
        agrees = sign * (keypoints[:, left, 0] - keypoints[:, right, 0]) > 0
        assert agrees.mean() > 0.8


def test_the_left_wrist_wears_red_and_the_right_one_green() -> None:
    wardrobe = Wardrobe.draw(np.random.default_rng(0), 50)
    red, green, _ = wardrobe.colours[:, MATERIALS.index("left_band")].T.astype(int)
    assert (red > 2 * green).all()
    red, green, _ = wardrobe.colours[:, MATERIALS.index("right_band")].T.astype(int)
    assert (green > 1.5 * red).all()


def test_no_joint_bends_farther_than_it_can() -> None:
    angles, _ = draw_angles(np.random.default_rng(0), 500)
    for column, name in enumerate(ANGLES):
        low, high = LIMITS[name.removeprefix("left_").removeprefix("right_")]
        bound = max(abs(low), abs(high)) if low < 0 else high  # mirrored people look the other way
        assert angles[:, column].max() <= bound + 1e-9
        assert angles[:, column].min() >= min(low, -bound if low < 0 else low) - 1e-9


def test_feet_stand_where_they_were_put() -> None:
    """Nobody at ease is taller than the stature says, nor floats above the anchor."""
    scene = at_ease(standing(places=[100], statures=[160], yaws=[30]))
    left, top, right, bottom = scene.boxes[0]
    assert abs(bottom - 190) <= 6
    assert 0.9 * 160 <= bottom - top <= 1.12 * 160
    assert left < 100 < right


# ------------------------------------------------------------------------------------------------ difficulty


def test_easy_scenes_hold_few_large_people_and_hard_ones_crowds_that_overlap() -> None:
    people, heights, hidden = {}, {}, {}
    for difficulty in CROWDINGS:
        scenes = [draw(3, index, replace(SMALL, difficulty=difficulty)) for index in range(30)]
        people[difficulty] = np.mean([len(scene.boxes) for scene in scenes])
        boxes = np.concatenate([scene.boxes for scene in scenes])
        heights[difficulty] = np.median(boxes[:, 3] - boxes[:, 1]) / SMALL.size[0]
        labels = np.concatenate([scene.visibility.ravel() for scene in scenes])
        hidden[difficulty] = (labels == 1).sum() / (labels > 0).sum()
    assert 1 <= people["easy"] <= 2 < people["moderate"] <= 5 < 7 < people["hard"]
    assert heights["easy"] > 0.6 > heights["moderate"] > heights["hard"]
    assert hidden["easy"] < hidden["moderate"] < hidden["hard"]
    assert hidden["hard"] > 0.4


# ------------------------------------------------------------------------------------------------ other figures, files


@pytest.mark.parametrize(("figure", "count"), [("person", 17), ("corners", 4), ("hand", 21)])
def test_the_mirror_map_of_every_figure_leads_back(figure: str, count: int) -> None:
    schema = KeypointSchema.read(DATA_FILES[figure])
    assert schema.count == count
    assert [schema.swap[mirror] for mirror in schema.swap] == list(range(count))


def test_corners_go_round_the_card_and_top_is_where_the_headline_is() -> None:
    schema = KeypointSchema.read("people_corners.yaml")
    assert schema.names == ("top_left", "top_right", "bottom_right", "bottom_left")
    for index in range(10):
        for corners in draw(0, index, SceneSettings(size=(160, 160), figure="corners")).keypoints:
            ahead, before = np.roll(corners, -1, 0) - corners, corners - np.roll(corners, 1, 0)
            clockwise = before[:, 0] * ahead[:, 1] - before[:, 1] * ahead[:, 0]
            assert (clockwise > 0).all()


def test_a_hand_is_a_wrist_with_four_points_for_each_of_five_fingers() -> None:
    schema = KeypointSchema.read("people_hand.yaml")
    assert schema.names[0] == "wrist"
    assert {len(finger) for finger in schema.groups.values()} == {4}
    assert schema.swap == tuple(range(schema.count))


@pytest.mark.parametrize("figure", list(DATA_FILES))
def test_the_files_are_coco_that_pycocotools_reads(figure: str, tmp_path, capsys: pytest.CaptureFixture) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    settings = SceneSettings(size=(120, 160), figure=figure)
    path = write_split(tmp_path, split="train", scenes=(draw(4, i, settings) for i in range(5)), figure=figure)
    truth = coco.COCO(str(path))
    capsys.readouterr()
    schema = KeypointSchema.read(path)
    expected = KeypointSchema.read(DATA_FILES[figure])
    assert (schema.names, schema.swap, schema.skeleton) == (expected.names, expected.swap, expected.skeleton)
    assert len(truth.getImgIds()) == 5
    for annotation in truth.loadAnns(truth.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        assert x >= 0 and y >= 0 and x + width <= 160 and y + height <= 120
        assert 0 < annotation["area"] <= width * height
        triples = np.array(annotation["keypoints"]).reshape(schema.count, 3)
        assert annotation["num_keypoints"] == np.count_nonzero(triples[:, 2])
        assert not triples[triples[:, 2] == 0].any()
    for image in truth.loadImgs(truth.getImgIds()):
        assert (tmp_path / "train" / image["file_name"]).is_file()


def test_the_files_say_the_same_as_the_scenes_that_are_drawn_on_the_fly(tmp_path) -> None:
    settings = SceneSettings(size=(120, 160))
    path = write_split(tmp_path, split="train", scenes=(draw(4, i, settings) for i in range(2)), figure="person")
    content = json.loads(path.read_text())
    scene = draw(4, 1, settings)
    written = [a for a in content["annotations"] if a["image_id"] == 2]
    assert len(written) == len(scene.boxes)
    for annotation, keypoints, visibility in zip(written, scene.keypoints, scene.visibility, strict=True):
        triples = np.array(annotation["keypoints"]).reshape(-1, 3)
        assert triples[:, 2].tolist() == visibility.tolist()
        assert abs(triples[:, :2] - keypoints)[visibility > 0].max() <= 0.005 + 1e-9


def test_one_command_writes_both_splits(tmp_path) -> None:
    command = "-m utils.data.people --count 5 --size 96 --difficulty hard --seed 2 --splits --out"
    subprocess.run([sys.executable, *command.split(), str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    train, val = (json.loads((tmp_path / f"{split}.json").read_text()) for split in ("train", "val"))
    assert (len(train["images"]), len(val["images"])) == (5, 1)
    assert train["annotations"][0]["keypoints"] != val["annotations"][0]["keypoints"]
    assert len(list((tmp_path / "val").glob("*.jpg"))) == 1


def test_so_many_images_are_held_out_as_one_asks_for(tmp_path) -> None:
    command = "-m utils.data.people --count 1 --size 64 --seed 2 --held-out 3 --out"
    subprocess.run([sys.executable, *command.split(), str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    content = json.loads((tmp_path / "val.json").read_text())
    assert len(content["images"]) == len(list((tmp_path / "val").glob("*.jpg"))) == 3


def test_training_draws_its_samples_as_it_goes_and_other_ones_in_every_epoch() -> None:
    source = Drawn(Drawings(SceneSettings(size=(160, 160)), seed=5, per_epoch=6))
    spec = ModelSpec("any", KeypointSchema.read("people.yaml"), input_size=(128, 128))
    loader = training_loader(source, spec, Augment(), Loading(batch_size=3, workers=0, seed=1))
    epochs = [list(loader.epoch(number)) for number in (0, 1)]
    again = list(loader.epoch(0))
    assert [len(batches) for batches in epochs] == [2, 2]
    assert epochs[0][0].images.shape == (3, 3, 128, 128) and len(epochs[0][0].targets) > 0
    assert torch.equal(epochs[0][0].images, again[0].images)
    assert not torch.equal(epochs[0][0].images, epochs[1][0].images)
