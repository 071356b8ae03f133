import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.pictures import SPOT, THREE, InMemory, middle_of_spot, people, spotted
from utils.core import images
from utils.core.geometry import inverse, move_points, person_crop, person_extent, unbiased_person_crop
from utils.core.schema import KeypointSchema
from utils.data.crops import (
    Framing,
    choose_half,
    cropped,
    draw_crop,
    draw_framing,
    half_body_extent,
    lower_body,
    trimmed_box,
)
from utils.data.recipe import Augment

SIZE = (256, 192)
COCO = KeypointSchema.read("coco_kpts.yaml")
HRNET = Augment(half_body=0.3, crop_scale=0.35, rotation=45, fliplr=0.5)


# ---------------------------------------------------------------------------------------------- by hand


def test_a_tall_person_gets_room_around_and_a_crop_of_the_right_shape():
    centre, extent = person_extent(np.array([100.0, 50.0, 150.0, 250.0]), SIZE)
    assert centre.tolist() == [125, 150]
    assert extent.tolist() == [187.5, 250]  # 200 * 1.25 high, three quarters of that wide


def test_the_middle_of_the_box_is_the_middle_of_the_crop_and_stays_there_when_it_turns():
    centre, extent = np.array([125.0, 150.0]), np.array([187.5, 250.0])
    for degrees in (0, 30, -90):
        matrix = person_crop(centre, extent, SIZE, degrees)
        assert np.allclose(move_points(centre, matrix), [96, 128])
    upright = person_crop(centre, extent, SIZE)
    assert np.allclose(move_points(centre - extent / 2, upright), [0, 0])
    assert np.allclose(move_points(centre + extent / 2, unbiased_person_crop(centre, extent, SIZE)), [191, 255])


def test_an_annotated_box_is_trimmed_by_one_pixel_and_cut_to_the_image():
    assert trimmed_box(np.array([10.0, 20.0, 50.0, 90.0]), (100, 200)).tolist() == [10, 20, 49, 89]
    assert trimmed_box(np.array([-5.0, -5.0, 205.0, 120.0]), (100, 200)).tolist() == [0, 0, 199, 99]


def test_hips_knees_and_ankles_are_the_lower_body_unless_the_schema_says_otherwise():
    assert [COCO.names[i] for i in np.flatnonzero(lower_body(COCO))] == [
        f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right")
    ]
    own = KeypointSchema(THREE.names, THREE.swap, THREE.sigmas, groups={"lower_body": (2,)})
    assert lower_body(own).tolist() == [False, False, True]
    assert not lower_body(THREE).any()


def test_a_mirrored_crop_shows_the_mirrored_person_with_exchanged_hands():
    person = people([(60, 50, 2), (90, 80, 2), (40, 80, 1)], box=(30, 30, 100, 110))
    source = InMemory((spotted((140, 160), person), person))
    recipe = Augment(fliplr=1.0, rotation_chance=0.0)
    plain = draw_crop(
        source, 0, person, size=SIZE, augment=Augment(rotation_chance=0), schema=THREE, rng=np.random.default_rng(0)
    )
    mirrored = draw_crop(source, 0, person, size=SIZE, augment=recipe, schema=THREE, rng=np.random.default_rng(0))
    # Between pixel centres the mirror image of x in a crop is W - x here: its middle is W / 2, as published.
    expected = plain.keypoints[0] * [-1, 1] + [SIZE[1], 0]
    assert np.allclose(mirrored.keypoints[0], expected[[0, 2, 1]], atol=1e-4)
    assert mirrored.visibility[0].tolist() == [2, 1, 2]


@given(st.floats(-90, 90), st.booleans(), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_keypoint_of_a_crop_is_on_its_spot_between_pixel_centres(degrees, mirrored, seed):
    rng = np.random.default_rng(seed)
    points = np.array([[60, 50], [100, 90], [55, 100]]) + rng.uniform(-5, 5, (3, 2))
    person = people([(x, y, 2) for x, y in points], box=(30, 30, 130, 130))
    source = InMemory((spotted((160, 170), person), person))
    framing = Framing(*person_extent(person.boxes[0], SIZE), degrees, mirrored)
    # The crop counts from pixel centres, where a spot at x has its middle at index x - 0.5.
    indexed = people([(x - 0.5, y - 0.5, 2) for x, y in points], box=(30, 30, 130, 130))
    sample = cropped(source, 0, indexed, framing, size=SIZE)
    for point, seen in zip(sample.keypoints[0], sample.visibility[0], strict=True):
        if seen and (point > 20).all() and (point < (SIZE[1] - 20, SIZE[0] - 20)).all():
            found = middle_of_spot(sample.image, point, int(4 * SPOT))
            assert np.abs(found - 0.5 - point).max() < 0.35


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_drawn_crop_undone_returns_the_keypoints(seed):
    person = people([(60, 50, 2), (90, 80, 2), (40, 80, 1)], box=(30, 30, 100, 110))
    source = InMemory((spotted((140, 160), person), person))
    sample = draw_crop(source, 0, person, size=SIZE, augment=HRNET, schema=THREE, rng=np.random.default_rng(seed))
    back = move_points(sample.keypoints[0].astype(float), inverse(sample.origin.to_input))
    straight, exchanged = person.keypoints[0], person.keypoints[0][list(THREE.swap)]
    assert min(np.abs(back - straight).max(), np.abs(back - exchanged).max()) < 1e-2


def test_scale_and_rotation_stay_within_the_published_limits():
    person = people([(60, 50, 2), (90, 80, 2), (40, 80, 1)], box=(30, 30, 100, 110))
    _, extent = person_extent(person.boxes[0], SIZE)
    framings = [
        draw_framing(person.boxes[0], person, size=SIZE, augment=HRNET, schema=THREE, rng=np.random.default_rng(seed))
        for seed in range(400)
    ]
    scales = np.array([framing.extent[0] / extent[0] for framing in framings])
    turns = np.array([framing.degrees for framing in framings])
    assert scales.min() >= 0.65 and scales.max() <= 1.35 and 0.15 < scales.std() < 0.35
    assert np.abs(turns).max() <= 90 and 0.3 < (turns == 0).mean() < 0.5
    assert 0.4 < np.mean([framing.mirrored for framing in framings]) < 0.6


def test_half_a_body_needs_enough_labelled_keypoints():
    labelled, lower = np.ones(COCO.count, bool), lower_body(COCO)
    assert choose_half(labelled, lower, upper_first=True).sum() == (~lower).sum()
    assert choose_half(labelled, lower, upper_first=False).sum() == lower.sum()
    legs_only = labelled & lower
    assert np.array_equal(choose_half(legs_only, lower, upper_first=True), legs_only)
    assert choose_half(np.zeros_like(labelled), lower, upper_first=True) is None


# ---------------------------------------------------------------------------------------------- the original numbers


@pytest.fixture(scope="module")
def crops(shared):
    return json.loads((shared / "fixtures/topdown/public/crops.json").read_text())["rows"]


def close(found: np.ndarray, expected: list[list[float]], extent: np.ndarray) -> bool:
    """Equal but for the original's float32: it makes the matrix from three rounded points (worse for tiny boxes)."""
    return np.allclose(found[:2], expected, rtol=2e-4, atol=2e-3 if extent.min() > 20 else 0.2)


def test_the_published_crops_have_the_same_matrix_and_the_same_pixels(shared, crops):
    for row in crops:
        image = images.read(shared / "data/coco_four" / row["image"])
        box = np.array(row["box_xyxy"], float)
        for name, size in (("256x192", (256, 192)), ("384x288", (384, 288))):
            centre, extent = person_extent(box, size)
            assert np.allclose(extent / 200, row["scale_over_200"], rtol=1e-6)
            matrix = person_crop(centre, extent, size)
            assert close(matrix, row[name]["matrix"], extent)
            assert close(inverse(matrix), row[name]["inverse"], extent)
            crop = images.crop(image, matrix, size)
            assert np.allclose(crop.mean((0, 1)), row[name]["crop"]["mean"], atol=0.03)
            assert abs((crop == 0).all(2).mean() - row[name]["crop"]["zero_fraction"]) < 2e-3
            blocks = row[name]["crop"].get("block_means_8x6")
            if blocks is not None:
                found = crop.reshape(8, size[0] // 8, 6, size[1] // 6, 3).mean((1, 3))
                assert np.abs(found - blocks).max() < 1


def test_turned_and_unbiased_crops_are_the_published_ones(shared, crops):
    for row in crops:
        image = images.read(shared / "data/coco_four" / row["image"])
        centre, extent = person_extent(np.array(row["box_xyxy"], float), SIZE)
        for turned in row["rotated"]:
            matrix = person_crop(centre, extent, SIZE, turned["rot_deg"])
            assert close(matrix, turned["matrix"], extent) and close(matrix, turned["repo_matrix"], extent)
            assert np.allclose(images.crop(image, matrix, SIZE).mean((0, 1)), turned["crop"]["mean"], atol=0.03)
        matrix = unbiased_person_crop(centre, extent, SIZE)
        assert close(matrix, row["udp"]["matrix"], extent)
        assert close(inverse(matrix), row["udp"]["official_inverse_matrix"], extent)
        assert np.allclose(images.crop(image, matrix, SIZE).mean((0, 1)), row["udp"]["crop"]["mean"], atol=0.03)
        assert close(unbiased_person_crop(centre, extent, SIZE, 30), row["udp"]["matrix_rot30"], extent)


def test_points_of_a_crop_go_back_to_the_published_places(crops):
    for row in crops:
        matrix = person_crop(*person_extent(np.array(row["box_xyxy"], float), SIZE), SIZE)
        back = row["inverse"]
        cells = np.array(back["heatmap_points"]) * 4  # a heat map has a cell for every four pixels
        assert np.allclose(move_points(cells, inverse(matrix)), back["official"], atol=2e-3)
        inputs = np.array(back["input_points"])
        assert np.allclose(move_points(inputs, inverse(matrix)), back["official_input"], atol=2e-3)
        for points, name in ((cells, "repo"), (inputs, "repo_input")):
            assert np.allclose(move_points(points, inverse(matrix)), back[name], atol=2e-3)
        found = move_points(cells, inverse(matrix))
        certain = np.abs(found - found.round()) > 1e-3  # this seed cuts to whole pixels
        assert (np.trunc(found) == back["repo_int"])[certain].all() and certain.any()


def test_half_bodies_have_the_published_boxes(shared):
    rows = json.loads((shared / "fixtures/topdown/public/train.json").read_text())["half_body"]
    checked = 0
    for row in rows:
        labelled = np.array(row["visible"]) > 0
        half = choose_half(labelled, lower_body(COCO), upper_first=row["branch"].startswith("upper"))
        if row["center"] is None:
            assert half is None
            continue
        centre, extent = half_body_extent(np.array(row["joints_xy"])[half], SIZE)
        assert np.allclose(centre, row["center"], atol=1e-4)
        assert np.allclose(extent / 200, row["scale_over_200"], atol=1e-6)
        checked += 1
    assert checked >= 6
