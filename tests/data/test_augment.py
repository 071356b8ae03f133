from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.pictures import THREE, InMemory, crowd_of_spots, middle_of_spot, people, spotted
from utils.core import images
from utils.core.geometry import inside, inverse, move_points
from utils.data.augment import (
    augmented,
    blend,
    colour_tables,
    coloured,
    draw_mosaic,
    draw_tables,
    mosaic,
    place_four,
    place_nine,
    single,
)
from utils.data.recipe import Augment, Movement, draw_movement
from utils.data.sample import Sample

SIZE = (192, 256)
CALM = Augment(mosaic=1.0, translate=0.1, scale=0.3)
WILD = Augment(
    mosaic=1.0,
    mosaic9=0.3,
    mixup=0.3,
    degrees=25,
    translate=0.2,
    scale=0.5,
    shear=8,
    perspective=0.0005,
    hsv_h=0.1,
    hsv_s=0.5,
    hsv_v=0.5,
    fliplr=0.5,
    flipud=0.5,
)


def source(seed: int = 0, count: int = 5) -> InMemory:
    rng = np.random.default_rng(seed)
    sizes = [tuple(int(side) for side in rng.integers(120, 260, 2)) for _ in range(count)]
    return InMemory(*(crowd_of_spots(rng, size) for size in sizes))


def away_from_edges(sample: Sample, margin: float) -> np.ndarray:
    """Which visible keypoints (N, K) lie well inside the image."""
    height, width = sample.size
    well = inside(sample.keypoints - margin, (height - 2 * margin, width - 2 * margin))
    return well & (sample.visibility > 0)


def misplaced(sample: Sample, margin: float = 14) -> np.ndarray:
    """How far the spots are from the keypoints that should be on them, for whole spots only: (M)."""
    distances = []
    for point in sample.keypoints[away_from_edges(sample, margin)]:
        column, row = point.astype(int)
        part = sample.image[row - 11 : row + 12, column - 11 : column + 12, 0].astype(float) - 114
        alone = part[[0, -1]].max(initial=0) < 6 and part[:, [0, -1]].max(initial=0) < 6
        if alone and part.max() > 60:
            distances.append(np.linalg.norm(middle_of_spot(sample.image, point, 10) - point))
    return np.array(distances)


@pytest.mark.parametrize(
    "movement",
    [
        Movement(),
        Movement(scale=0.83, shift=(0.07, -0.04)),
        Movement(scale=1.3, degrees=17, shear=(5, -3), shift=(0.02, 0.05)),
        Movement(scale=0.9, degrees=-12, tilt=(0.0004, -0.0003)),
        Movement(scale=0.8, degrees=6, shear=(1, -1.5), shift=(0.05, -0.07), about="origin"),
    ],
)
@pytest.mark.parametrize("tiles", [4, 9])
def test_every_keypoint_of_a_mosaic_is_on_its_spot(movement, tiles):
    pixels = source(seed=3, count=tiles)
    place = place_four if tiles == 4 else place_nine
    chosen = tuple(range(tiles))
    matrices = place([pixels.size(i) for i in chosen], SIZE, (0.4, 0.6))
    sample = mosaic(pixels, chosen, matrices, size=SIZE, movement=movement, augment=CALM)
    distances = misplaced(sample)
    assert len(distances) >= 3
    assert distances.max() < 0.2


def test_an_upright_piece_is_resized_between_whole_pixels_and_the_matrix_says_so():
    (image, persons), *_ = source(seed=2).pictures
    canvas, wanted = images.blank(SIZE), np.array([[1.013, 0, -7.3], [0, 1.013, 3.6], [0, 0, 1.0]])
    height, width = image.shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ wanted[:2, :2] + wanted[:2, 2]
    done = images.paint(canvas, image, wanted, frame)
    points = persons.keypoints.reshape(-1, 2)
    assert 0 < np.abs(move_points(points, done) - move_points(points, wanted)).max() < 1
    visible = inside(move_points(points, done) - 14, (SIZE[0] - 28, SIZE[1] - 28))
    found = [middle_of_spot(canvas, point, 10) for point in move_points(points[visible], done)]
    assert len(found) >= 3 and np.abs(found - move_points(points[visible], done)).max() < 0.1


def test_every_keypoint_of_a_single_image_is_on_its_spot():
    pixels = source(seed=5)
    for movement in (Movement(), Movement(scale=1.2, degrees=30), Movement(scale=0.7, tilt=(0.0005, 0))):
        sample = single(pixels, 0, size=SIZE, movement=movement, augment=CALM)
        distances = misplaced(sample)
        assert len(distances) >= 2
        assert distances.max() < 0.2


def test_a_mosaic_in_one_warp_per_tile_shows_what_the_large_canvas_showed():
    pixels, chosen, where = source(seed=9), (0, 1, 2, 3), (0.3, 0.7)
    matrices = place_four([pixels.size(i) for i in chosen], SIZE, where)
    movement = Movement(scale=0.9, degrees=8, shift=(0.05, 0.02))
    direct = mosaic(pixels, chosen, matrices, size=SIZE, movement=movement, augment=CALM)
    canvas = images.blank((2 * SIZE[0], 2 * SIZE[1]))
    for index, matrix in zip(chosen, matrices, strict=True):
        corners = move_points(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * pixels.size(index)[::-1], matrix)
        images.paint(canvas, pixels.image(index, 1)[0], matrix, corners)
    plain = images.warp(canvas, movement.matrix(canvas.shape[:2], SIZE), SIZE)
    assert np.abs(direct.image.astype(int) - plain).mean() < 0.5  # twice interpolated there, once here


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_augmenting_and_undoing_returns_the_keypoints(seed):
    rng = np.random.default_rng(seed)
    pixels = source(seed=1)
    recipe = replace(WILD, mosaic=0.0, fliplr=0.0, flipud=0.0)
    sample = augmented(pixels, 2, size=SIZE, augment=recipe, schema=THREE, rng=rng)
    back = move_points(sample.keypoints, inverse(sample.origin.to_input))
    originals = pixels.people(2).keypoints
    for person in back:
        assert min(np.abs(person - original).max() for original in originals) < 0.01


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_visibility_never_grows_and_what_is_visible_lies_in_the_image(seed):
    rng = np.random.default_rng(seed)
    hidden = people([(40, 50, 1), (90, 60, 0), (120, 70, 1)])
    pixels = InMemory(*[(spotted((150, 180), hidden), hidden)] * 3)
    sample = augmented(pixels, 0, size=SIZE, augment=WILD, schema=THREE, rng=rng)
    assert set(np.unique(sample.visibility)) <= {0, 1}
    assert inside(sample.keypoints, SIZE)[sample.visibility > 0].all()
    assert (sample.visibility > 0).sum(1).max(initial=0) <= 2
    assert sample.boxes.min(initial=0) >= 0 and (sample.boxes <= [SIZE[1], SIZE[0]] * 2).all()


def test_a_keypoint_that_leaves_the_image_is_invisible_and_not_on_the_border():
    person = people([(20, 96, 2), (128, 96, 2), (236, 96, 2)], box=(10, 40, 246, 150))
    pixels = InMemory((spotted(SIZE, person), person))
    sample = single(pixels, 0, size=SIZE, movement=Movement(scale=1.5), augment=CALM)
    assert sample.visibility[0].tolist() == [0, 2, 0]
    assert np.allclose(sample.keypoints[0, :, 0], [-34, 128, 290], atol=1)  # whole pixels: the zoom is 1.497


def test_a_keypoint_cut_away_by_the_mosaic_is_invisible_wherever_it_lands():
    person = people([(5, 90, 2), (120, 90, 2), (250, 90, 2)], box=(0, 40, 255, 150))
    pixels = InMemory(*[(spotted(SIZE, person), person)] * 4)
    matrices = place_four([SIZE] * 4, SIZE, (0.0, 0.5))  # the point is at x = 128: the left images are cut in half
    movement = Movement(shift=(0.5, 0), about="origin")
    sample = mosaic(pixels, (0, 1, 2, 3), matrices, size=SIZE, movement=movement, augment=CALM)
    assert sample.keypoints[0].tolist() == [[5, 90], [120, 90], [250, 90]]
    assert sample.visibility[0].tolist() == [0, 0, 2]


def test_the_same_seed_gives_the_same_sample_and_another_seed_another():
    pixels = source()
    first, second, third = (
        augmented(pixels, 1, size=SIZE, augment=WILD, schema=THREE, rng=np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    assert (first.image == second.image).all() and np.array_equal(first.keypoints, second.keypoints)
    assert (first.image != third.image).any()


def test_no_image_is_read_twice_for_a_mosaic():
    asked = []

    class Counting(InMemory):
        def image(self, index, scale):
            asked.append(index)
            return super().image(index, scale)

    pixels = Counting(*source().pictures)
    draw_mosaic(pixels, 0, size=SIZE, augment=CALM, rng=np.random.default_rng(1))
    assert 1 <= len(asked) <= 4


def test_images_without_people_make_samples_without_people():
    empty = people([(0, 0, 0)] * 3).chosen(np.zeros(1, bool))
    pixels = InMemory(*[(spotted((100, 120), empty), empty)] * 2)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sample = augmented(pixels, 0, size=SIZE, augment=WILD, schema=THREE, rng=rng)
        assert len(sample) == 0 and sample.image.shape == (*SIZE, 3)
        assert sample.keypoints.shape == (0, THREE.count, 2)


def test_yolox_mixup_adds_one_image_half_and_half_and_exchanges_the_hands_of_a_mirrored_one():
    recipe = replace(CALM, mixup=1.0, mixup_style="image", mixup_scale=(1.0, 1.0), scale=0.0, translate=0.0)
    person = people([(60, 90, 2), (110, 90, 2), (160, 90, 1)], box=(40, 40, 180, 150))
    pixels = InMemory((spotted(SIZE, person), person))
    seen = set()
    for seed in range(12):
        sample = augmented(pixels, 0, size=SIZE, augment=recipe, schema=THREE, rng=np.random.default_rng(seed))
        mixed = sample.keypoints[-1]
        seen.add(tuple(mixed[:, 0].tolist()))
    assert seen == {(60, 110, 160), (196, 96, 146)}


def test_a_blend_keeps_everybody_and_the_share_of_both_pictures():
    sample = single(source(), 0, size=SIZE, movement=Movement(), augment=CALM)
    dark = replace(sample, image=np.zeros_like(sample.image))
    mixed = blend(sample, dark, 0.25)
    assert len(mixed) == 2 * len(sample)
    assert np.abs(mixed.image - sample.image * 0.25).max() <= 0.5


def test_colour_wraps_hue_and_cuts_saturation_and_value():
    tables = colour_tables(np.array([1.0, 2.0, 0.5]), np.array([0.0, 0.0, 0.0]))
    assert tables[[0, 100, 179, 180]].tolist() == [[0, 0, 0], [100, 200, 50], [179, 255, 89], [0, 255, 90]]
    moved = colour_tables(np.ones(3), np.array([3.0, -20.0, 15.0]))
    assert moved[[0, 178, 250]].tolist() == [[3, 0, 15], [1, 158, 193], [73, 230, 255]]


def test_no_colour_in_the_recipe_leaves_the_pixels_alone():
    assert draw_tables(Augment(), np.random.default_rng(0)) is None
    sample = single(source(), 0, size=SIZE, movement=Movement(), augment=CALM)
    assert coloured(sample, None) is sample
    plain = coloured(sample, colour_tables(np.ones(3), np.zeros(3)))
    assert np.abs(plain.image.astype(int) - sample.image).max() <= 2  # there and back through eight-bit hue


def test_movements_stay_within_what_the_recipe_allows():
    recipe = Augment(degrees=10, translate=0.1, scale=(0.75, 1.0), shear=2, perspective=0.001, about="origin")
    drawn = [draw_movement(recipe, np.random.default_rng(seed)) for seed in range(200)]
    assert all(0.75 <= movement.scale <= 1.0 and abs(movement.degrees) <= 10 for movement in drawn)
    assert all(max(map(abs, movement.shift)) <= 0.1 and max(map(abs, movement.shear)) <= 2 for movement in drawn)
    assert min(movement.scale for movement in drawn) < 0.77 and max(movement.degrees for movement in drawn) > 9


def test_no_tilt_is_so_strong_that_a_corner_comes_behind_the_viewer():
    canvas = (1280, 1280)
    matrix = Movement(tilt=(0.001, -0.001)).matrix(canvas, (640, 640))
    corners = np.array([[0, 0, 1], [1280, 0, 1], [1280, 1280, 1], [0, 1280, 1]])
    depths = corners @ matrix[2]
    assert depths.min() > 0.19 and depths.max() < 1.81


def test_a_recipe_is_read_strictly_and_says_what_is_wrong():
    assert Augment.from_values({"mosaic": 1, "scale": [0.75, 1.0]}, "hyp.yaml").scale_range == (0.75, 1.0)
    assert Augment.from_values({"scale": 0.5}, "hyp.yaml").scale_range == (0.5, 1.5)
    with pytest.raises(ValueError, match=r"hyp.yaml: no key 'mozaic'.*did you mean 'mosaic'"):
        Augment.from_values({"mozaic": 1}, "hyp.yaml")
    with pytest.raises(ValueError, match=r"hyp.yaml: fliplr: 50 found; expected a chance from 0 to 1"):
        Augment.from_values({"fliplr": 50}, "hyp.yaml")
    with pytest.raises(ValueError, match="scale"):
        Augment.from_values({"scale": 1.0}, "hyp.yaml")


def test_the_plain_form_of_a_recipe_keeps_colour_and_flips():
    plain = WILD.plain()
    assert plain.mosaic == plain.mixup == plain.degrees == 0 and plain.scale_range == (1, 1)
    assert (plain.hsv_s, plain.fliplr) == (WILD.hsv_s, WILD.fliplr)
