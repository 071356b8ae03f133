"""Our data path against numbers that the original programs produced: letterboxes, movements, mosaics, mixup, crops."""

import gzip
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.data.pictures import InMemory
from utils.core import images
from utils.core.geometry import (
    Fit,
    chain,
    inverse,
    letterbox,
    move_points,
    scaling,
    translation,
    xyxy_to_cxcywh,
)
from utils.core.poses import untouched
from utils.core.schema import KeypointSchema
from utils.data.augment import alone, blend, colour_tables, coloured, mosaic, moved, place_four, place_mixed
from utils.data.dataset import EvaluationImages, Ticket
from utils.data.recipe import Augment, Movement
from utils.data.sample import Limits, People, Sample, kept, sample_of
from utils.data.sampler import rectangle

COCO = KeypointSchema.read("coco_kpts.yaml")
EVERYBODY = Augment(min_side=0, min_area=0, max_aspect=float("inf"))


def numbers(shared: Path, name: str) -> tuple[Any, Any]:
    """The JSON and the arrays of a fixture."""
    path = shared / "fixtures" / name
    return json.loads(path.with_suffix(".json").read_text()), np.load(path.with_suffix(".npz"))


def recipe(shared: Path, method: str) -> ModuleType:
    path = shared / "fixtures" / method / "recipe.py"
    specification = importlib.util.spec_from_file_location(f"recipe_of_{method}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------- letterboxes


def test_letterboxes_of_yolo_pose_start_and_end_on_the_same_rows_and_columns(shared):
    rows = numbers(shared, "yolo_pose/public/data_ops.json")[0]["letterbox"]
    assert len(rows) == 10
    for row in rows:
        longest = None if row["scaleup"] else max(row["src_hw"])
        matrix, (height, width) = letterbox(row["src_hw"], row["out_hw"], longest=longest)
        left, top = matrix[:2, 2]
        assert [top, top + height - 1] == row["image_rows"]
        assert [left, left + width - 1] == row["image_cols"]
        # The original keeps the half of an odd padding and maps points back by it, half a pixel off; we do not.
        assert np.array_equal(np.floor(row["dw_dh"]), [left, top])


def test_an_odd_padding_puts_the_points_where_the_pixels_are(shared):
    row = numbers(shared, "yolo_pose/public/data_ops.json")[0]["letterbox"][1]
    assert row["dw_dh"] == [0.0, 106.5] and row["image_rows"][0] == 106
    assert letterbox((427, 640), (640, 640))[0][1, 2] == 106


def test_yolo_pose_and_kapao_round_the_loaded_size_down(shared):
    for row in numbers(shared, "yolo_pose/public/data_ops.json")[0]["load_image"]:
        square = (row["img_size"], row["img_size"])
        assert letterbox(row["src_hw"], square, Fit(rounding="down"))[1] == tuple(row["resized_hw"])


def test_letterboxes_of_the_yolox_pose_code_bases_are_the_same_pixels(shared):
    facts, arrays = numbers(shared, "yolox_pose/public/test_pipeline.json")
    make = recipe(shared, "yolox_pose").make_image
    for name, row in facts.items():
        image = make(row["seed"], row["h"], row["w"])
        boxed, matrix = images.fit(image, (128, 128), Fit(place="corner", smooth=False))
        assert np.abs(boxed.astype(int) - arrays[f"{name}/project_img"]).max() <= 1
        assert np.allclose(matrix[[0, 1], [0, 1]], row["project_scale_factor"])
        floor, _ = images.fit(image, (128, 128), Fit(rounding="down", place="corner", smooth=False))
        assert np.abs(floor.astype(int) - arrays[f"{name}/edgeai_img"]).max() <= 1
        # mmpose's own warps by the exact ratio, between pixel centres.
        same, exact = images.fit(image, (128, 128), Fit(rounding="none"))
        assert np.abs(same.astype(int) - arrays[f"{name}/core_img"]).max() <= 1
        centre, scale = np.array(row["core_input_center"]), np.array(row["core_input_scale"])
        assert np.allclose(exact[:2, :2] @ (centre - scale / 2) + exact[:2, 2], 0)
        assert np.allclose(exact[:2, :2] @ (centre + scale / 2) + exact[:2, 2], 128)


@pytest.mark.parametrize("data", ["coco", "crowdpose"])
def test_the_evaluation_loader_of_kapao_square_and_rectangular(shared, data):
    arrays = np.load(shared / f"fixtures/kapao/public/loader_{data}.npz")
    make = recipe(shared, "kapao").image
    truth = json.loads(gzip.decompress((shared / f"fixtures/kapao/public/val_e2e_{data}.json.gz").read_bytes()))
    sizes = [tuple(size) for size in truth["sizes_hw"]]
    annotations = truth["annotations"]["annotations"]
    count = {"coco": 17, "crowdpose": 14}[data]
    people = [annotated([row for row in annotations if row["image_id"] == 501 + i], count) for i in range(len(sizes))]
    source = InMemory(*((make(f"public/e2e{i}", *size), people[i]) for i, size in enumerate(sizes)))
    samples = EvaluationImages(source, size=(192, 192), fit=Fit(rounding="down"))
    arranged = np.argsort(samples.aspects(), kind="stable")
    checked = 0
    for layout, batch, pad in (
        ("square", 1, 0.0),
        ("rect_b1", 1, 0.0),
        ("rect_b3", 3, 0.0),
        ("rect_b3_pad0.5", 3, 0.5),
    ):
        for place in range(len(sizes)):
            key = f"loader/{layout}/{place}"
            index = int(arrays[f"{key}/id"]) - 501
            size = None
            if layout != "square":
                first = place // batch * batch
                assert arranged[place] == index
                size = rectangle(samples.aspects()[arranged[first : first + batch]], 192, 64, pad)
            sample = samples[Ticket(index, size=size)]
            assert sample.image.shape[:2] == tuple(arrays[f"{key}/image_shape"][1:])
            mean_and_spread = sample.image.mean(), sample.image.std()
            assert np.allclose(mean_and_spread, arrays[f"{key}/image_mean_std"], atol=0.02)
            if f"{key}/image_sub" in arrays:
                part = sample.image.transpose(2, 0, 1)[:, ::8, ::8]
                assert np.abs(part.astype(int) - arrays[f"{key}/image_sub"]).max() <= 1
            _, _, down, across, left, top = arrays[f"{key}/shapes"]
            assert np.allclose(sample.origin.to_input[[1, 0], [1, 0]], (down, across))
            assert np.array_equal(sample.origin.to_input[:2, 2], np.floor([left, top]))  # the half pixel again
            assert_labels(people[index], sample, arrays[f"{key}/labels"], np.array([left % 1, top % 1]))
            checked += 1
    assert checked == 24


def annotated(rows: list[dict[str, Any]], count: int) -> People:
    points = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), count, 3)
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return People(
        boxes, points[..., :2], points[..., 2].astype(np.uint8), np.ones(len(rows)), np.zeros(len(rows), np.int64)
    )


def assert_labels(people: People, sample: Sample, rows: np.ndarray, half: np.ndarray) -> None:
    """People moved by the sample's matrix are the original's rows of people; boxes are cut to the input there."""
    rows = rows[rows[:, 1] == 0]
    if len(rows) == 2 * len(people):  # CrowdPose's splits share a file there, which has every line twice
        assert np.array_equal(rows[: len(people)], rows[len(people) :])
        rows = rows[: len(people)]
    assert len(rows) == len(people)
    height, width = sample.image.shape[:2]
    points = rows[:, 6:].reshape(*people.visibility.shape, 3)
    seen = people.visibility > 0
    assert np.array_equal(points[..., 2], people.visibility)
    moved_points = move_points(people.keypoints, sample.origin.to_input) + half
    assert np.allclose(moved_points[seen], points[seen][:, :2] * (width, height), atol=2e-3)
    boxes = move_points(people.boxes.reshape(-1, 2, 2), sample.origin.to_input) + half
    boxes = boxes.clip(0, np.array([width, height]) - 0.001).reshape(-1, 4)
    assert np.allclose(xyxy_to_cxcywh(boxes), rows[:, 2:6] * (width, height, width, height), atol=2e-3)


@pytest.mark.parametrize("data", ["coco", "crowdpose"])
def test_the_demo_loader_of_kapao(shared, data):
    """The middle of the square one, in whole strides: enlarged too, and sampled, not averaged."""
    arrays = np.load(shared / f"fixtures/kapao/public/loader_{data}.npz")
    make = recipe(shared, "kapao").image
    sizes = [(107, 160), (125, 83), (90, 90), (64, 201), (333, 500), (170, 128)]
    for index, (height, width) in enumerate(sizes):
        shape = tuple(arrays[f"loadimages/{index}/shape"][1:])
        assert shape == tuple(64 * math.ceil(round(side * 192 / max(height, width)) / 64) for side in (height, width))
        found, _ = images.fit(make(f"public/e2e{index}", height, width), (192, 192), Fit(smooth=False))
        top, left = ((192 - side) // 2 for side in shape)
        part = found[top : top + shape[0] : 8, left : left + shape[1] : 8].transpose(2, 0, 1)
        assert np.abs(part.astype(int) - arrays[f"loadimages/{index}/sub"]).max() <= 1


# ---------------------------------------------------------------------------------------------- movements


def people_of(rows: np.ndarray, values_per_keypoint: int) -> People:
    """Rows of class, xyxy box and keypoints, as the originals keep them."""
    points = rows[:, 5:].reshape(len(rows), -1, values_per_keypoint)
    seen = points[..., 2] if values_per_keypoint == 3 else 2 * (points[..., 0] != 0)
    return People(rows[:, 1:5], points[..., :2], seen.astype(np.uint8), np.ones(len(rows)), rows[:, 0].astype(np.int64))


def test_random_perspective_of_kapao(shared):
    facts, arrays = numbers(shared, "kapao/public/augment.json")
    assert len(facts) == 36
    for row in facts:
        key, size = row["key"], tuple(row["out_hw"])
        tilt_x, tilt_y, angle, scale, shear_x, shear_y, right, down = arrays[f"{key}/draws"]
        movement = Movement(
            scale=scale,
            degrees=-angle,
            shear=(shear_x, shear_y),
            shift=(right - 0.5, down - 0.5),
            tilt=(tilt_x, tilt_y),
        )
        canvas = (row["height"], row["width"])
        assert np.allclose(movement.matrix(canvas, size), arrays[f"{key}/M"], atol=1e-9)
        before, after = arrays[f"{key}/in"], arrays[f"{key}/out"]
        found = moved(people_of(before[before[:, 0] == 0], 3), movement, canvas=canvas, size=size, limits=Limits())
        expected = people_of(after[after[:, 0] == 0], 3)
        assert len(found) == len(expected)
        assert np.allclose(found.boxes, expected.boxes, atol=1e-3)
        assert np.array_equal(found.visibility, expected.visibility)
        seen = expected.visibility > 0
        assert np.allclose(found.keypoints[seen], expected.keypoints[seen], atol=1e-3)


def test_random_perspective_of_yolo_pose(shared):
    facts, arrays = numbers(shared, "yolo_pose/public/data_ops.json")
    for row in facts["random_perspective"]:
        recipe_values, canvas, size = row["hyp"], (row["canvas"],) * 2, tuple(row["out_wh"][::-1])
        _, _, angle, scale, *shear_and_shift = 2 * np.array(row["raw_random_values"]) - 1
        shear_x, shear_y, right, down = shear_and_shift
        movement = Movement(
            scale=1 + scale * recipe_values["scale"],
            degrees=-angle * recipe_values["degrees"],
            shear=(shear_x * recipe_values["shear"], shear_y * recipe_values["shear"]),
            shift=(right * recipe_values["translate"], down * recipe_values["translate"]),
        )
        key = f"rp{row['index']}"
        assert np.allclose(movement.matrix(canvas, size)[:2], arrays[f"{key}_M"], atol=1e-9)
        found = moved(people_of(arrays[f"{key}_in"], 2), movement, canvas=canvas, size=size, limits=Limits())
        expected = people_of(arrays[f"{key}_out"], 2)
        assert np.allclose(found.boxes, expected.boxes, atol=1e-6)
        assert np.array_equal(found.visibility, expected.visibility)
        assert np.allclose(found.keypoints[found.visibility > 0], expected.keypoints[expected.visibility > 0])


# ---------------------------------------------------------------------------------------------- YOLOX's first stage


class Stage:
    """The images and draws of the recorded first stage, and what is expected after each of its steps."""

    size = (128, 128)

    def __init__(self, shared: Path) -> None:
        facts, self.arrays = numbers(shared, "yolox_pose/public/project_stage1.json")
        self.draws = facts["P1"]
        self.recipe = recipe(shared, "yolox_pose")
        parts = [self.draws["main"], *self.draws["aux"], self.draws["mix"]]
        self.source = InMemory(*(self._picture(*part) for part in parts))
        x, y = self.draws["mosaic_center"]
        self.tiles = place_four([self.source.size(i) for i in range(4)], self.size, (x - 0.5, y - 0.5))

    def _picture(self, seed: int, height: int, width: int, count: int) -> tuple[np.ndarray, People]:
        values = self.recipe.make_targets(seed + 1000, height, width, [count])[0]
        persons = People(
            values["bboxes"],
            values["keypoints"],
            values["keypoints_visible"].astype(np.uint8),
            values["areas"],
            values["labels"],
        )
        return self.recipe.make_image(seed, height, width), persons

    def expected(self, step: str) -> Sample:
        values = {name: self.arrays[f"P1/{step}/{name}"] for name in ("bboxes", "keypoints", "vis", "img")}
        count = len(values["bboxes"])
        persons = People(
            values["bboxes"], values["keypoints"], values["vis"].astype(np.uint8), np.ones(count), np.zeros(count)
        )
        return sample_of(values["img"], persons, untouched(0, "", self.size))


def assert_same_people(found: People, expected: People) -> None:
    """Equal within half a pixel: the original moves labels by the ratio before it is rounded to whole pixels."""
    assert len(found) == len(expected)
    assert np.array_equal(found.visibility > 0, expected.visibility > 0)
    assert np.abs(found.boxes - expected.boxes).max() < 0.5
    seen = found.visibility > 0
    assert np.abs(found.keypoints[seen] - expected.keypoints[seen]).max() < 0.5


def test_yolox_mosaic_movement_mixup_flip_and_filter(shared):
    stage = Stage(shared)
    degrees, scale, shear_x, shear_y, right, down = stage.draws["affine"]
    movement = Movement(scale, degrees, (shear_x, shear_y), (right, down), about="origin")
    sample = mosaic(stage.source, (0, 1, 2, 3), stage.tiles, size=stage.size, movement=movement, augment=EVERYBODY)
    assert_same_people(sample, stage.expected("2_affine"))
    room = int(128 * stage.draws["jit"]) - 128
    y, x = ((offset + 0.5) / room for offset in stage.draws["offs"])
    matrix = place_mixed(stage.source.size(4), stage.size, scale=stage.draws["jit"], flip=True, where=(x, y))
    second = alone(stage.source, 4, matrix, stage.size, EVERYBODY.limits).renamed(COCO)
    mixed = blend(sample, second, 0.5)
    assert_same_people(mixed, stage.expected("3_mixup"))
    flipped = mixed.flipped(COCO)
    assert_same_people(flipped, stage.expected("5_flip"))
    limits = Limits(side=1, area=0, aspect=float("inf"), seen=True)
    assert_same_people(flipped.chosen(kept(flipped, flipped.boxes, limits)), stage.expected("6_filter"))


def test_yolox_mosaic_before_it_is_moved_has_the_same_pixels(shared):
    stage, whole = Stage(shared), 0
    expected = stage.expected("1_mosaic").image
    for index, tile in enumerate(stage.tiles):
        image, _ = stage.source.image(index, 1.0)
        height, width = image.shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ tile[:2, :2].T + tile[:2, 2]
        if corners.min() < 0 or corners.max() > 256:
            continue  # what the canvas cuts off is cut before it is resized here, and after that there
        canvas = images.blank((256, 256))
        assert np.allclose(images.paint(canvas, image, tile, corners), tile)
        (left, top), (right, bottom) = corners.min(0).round().astype(int), corners.max(0).round().astype(int)
        found = canvas[top:bottom, left:right].astype(int)
        assert np.abs(found - expected[top:bottom, left:right]).max() <= 1
        whole += 1
    assert whole >= 2


def test_yolox_colour_is_bit_exact(shared):
    stage = Stage(shared)
    before, after = stage.expected("3_mixup"), stage.arrays["P1/4_hsv/img"]  # BGR there
    rgb = sample_of(np.ascontiguousarray(before.image[..., ::-1]), before.labels, before.origin)
    found = coloured(rgb, colour_tables(np.ones(3), np.array(stage.draws["hsv"])))
    assert np.array_equal(found.image[..., ::-1], after)


def test_the_movement_of_mmposes_own_yolox_stays_about_the_middle_of_the_input(shared):
    facts, arrays = numbers(shared, "yolox_pose/public/core_stage1.json")
    draws = facts["C1"]
    movement = Movement(draws["scale"], draws["rotate"], tuple(draws["shear"]), tuple(draws["offset"]), about="output")
    assert np.allclose(movement.matrix((256, 256), (128, 128)), arrays["C1/2_affine/warp_mat"], atol=1e-5)


def test_flipping_the_labels_of_kapao(shared):
    facts, arrays = numbers(shared, "kapao/public/augment.json")
    schemas = {"coco": COCO, "crowdpose": KeypointSchema.read("crowdpose.yaml")}
    image = np.zeros((1, 1, 3), np.uint8)  # coordinates are shares of the image: it has size 1
    for row in facts:
        schema = schemas[row["key"].split("/")[0]]
        before, after = (people_of(arrays[f"{row['key']}/{step}"], 3) for step in ("normalised", "flipped"))
        persons, expected = before.classes == 0, after.chosen(after.classes == 0)
        flipped = sample_of(image, before.chosen(persons), untouched(0, "", (1, 1))).flipped(schema)
        seen = expected.visibility > 0
        assert np.array_equal(flipped.visibility, expected.visibility)
        assert np.allclose(flipped.keypoints[seen], expected.keypoints[seen], atol=1e-6)
        assert np.allclose(xyxy_to_cxcywh(flipped.boxes)[:, 0], 1 - xyxy_to_cxcywh(before.boxes[persons])[:, 0])


def test_the_way_back_to_the_image_of_kapao(shared):
    """Its clipping reaches into the first two keypoints; the others are moved by the ideal scale and padding."""
    arrays = np.load(shared / "fixtures/kapao/public/augment.npz")
    for number in range(4):
        key = f"scale/{number}"
        height, width, *original = arrays[f"{key}/shapes"].tolist()
        gain = min(height / original[0], width / original[1])
        pad = (width - original[1] * gain) / 2, (height - original[0] * gain) / 2
        points = arrays[f"{key}/pose_in"].reshape(20, -1, 2)
        found = move_points(points, inverse(chain(scaling(gain, gain), translation(*pad))))
        found[:, :2] = found[:, :2].clip(0, original[::-1])
        assert np.allclose(found.reshape(20, -1), arrays[f"{key}/pose_out"], atol=2e-3)
