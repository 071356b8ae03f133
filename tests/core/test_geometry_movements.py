import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core import images
from utils.core.geometry import (
    Fit,
    area_factors,
    box_corners,
    chain,
    from_pixel_indices,
    in_pixel_indices,
    inverse,
    is_affine,
    letterbox,
    magnification,
    mirror,
    move_boxes,
    move_points,
    rotation,
    scaling,
    shearing,
    tilting,
    translation,
)

FINITE = st.floats(-3, 3)


@given(FINITE, FINITE, st.floats(-60, 60), st.floats(0.2, 3))
def test_pixel_indices_there_and_back_are_the_same_movement(x, y, degrees, scale):
    matrix = chain(scaling(scale, scale), rotation(degrees), translation(x, y))
    assert np.allclose(from_pixel_indices(in_pixel_indices(matrix)), matrix)


def test_the_centre_of_a_pixel_stays_the_centre_of_a_pixel_under_a_movement_between_indices():
    between = from_pixel_indices(translation(2, 3))
    assert np.allclose(move_points(np.array([0.5, 0.5]), between), [2.5, 3.5])
    doubled = from_pixel_indices(scaling(2, 2))  # index 3 goes to index 6, its centre 3.5 to 6.5
    assert np.allclose(move_points(np.array([3.5, 3.5]), doubled), [6.5, 6.5])


def test_shearing_slants_by_the_tangent():
    assert np.allclose(move_points(np.array([0.0, 10.0]), shearing(45, 0)), [10, 10])
    assert np.allclose(move_points(np.array([10.0, 0.0]), shearing(0, 45)), [10, 10])


def test_tilting_makes_the_far_side_smaller():
    assert np.allclose(move_points(np.array([100.0, 50.0]), tilting(0.01, 0)), [50, 25])
    assert not is_affine(tilting(0.01, 0)) and is_affine(rotation(10))


@given(st.floats(-180, 180), st.floats(0.1, 4), st.floats(0.1, 4))
def test_magnification_is_the_larger_scale_whatever_the_rotation(degrees, x, y):
    assert np.isclose(magnification(chain(scaling(x, y), rotation(degrees))), max(x, y))


@given(st.floats(-60, 60), st.floats(0.2, 3), st.floats(0.2, 3))
def test_areas_grow_by_the_product_of_the_scales(degrees, x, y):
    points = np.array([[3.0, 4.0], [50.0, 60.0]])
    assert np.allclose(area_factors(points, chain(scaling(x, y), rotation(degrees), mirror(9))), x * y)


def test_under_perspective_a_small_square_grows_as_its_area_factor_says():
    matrix = chain(rotation(20), tilting(0.003, -0.001), scaling(1.3, 0.8))
    centre = np.array([40.0, 30.0])
    corners = move_points(box_corners(np.concatenate((centre - 0.01, centre + 0.01))), matrix)
    (x, y), (after_x, after_y) = corners.T, np.roll(corners, -1, 0).T
    assert np.isclose(abs((x * after_y - after_x * y).sum()) / 2 / 0.02**2, area_factors(centre, matrix), rtol=1e-5)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.2, 3), st.floats(0.2, 3))
def test_the_short_way_for_upright_boxes_is_the_long_way(x, y, across, down):
    boxes = np.array([[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 6.0, 7.0]])
    matrix = chain(scaling(across, down), translation(x, y))
    corners = np.stack([move_points(box_corners(box), matrix) for box in boxes])
    expected = np.concatenate((corners.min(1), corners.max(1)), 1)
    assert np.allclose(move_boxes(boxes, matrix), expected)
    assert np.allclose(move_boxes(torch.from_numpy(boxes), matrix).numpy(), expected)


def test_how_an_image_is_fitted_into_a_rectangle():
    assert letterbox((333, 251), (256, 256))[1] == (256, 193)
    assert letterbox((333, 251), (256, 256), Fit(rounding="down"))[1] == (256, 192)
    corner, _ = letterbox((100, 200), (400, 400), Fit(place="corner"))
    assert corner[:2, 2].tolist() == [0, 0] and corner[0, 0] == 2
    exact, (height, width) = letterbox((333, 251), (256, 256), Fit(rounding="none"))
    assert exact[0, 0] == exact[1, 1] == 256 / 333 and (height, round(width, 3)) == (256, 192.961)
    unscaled, _ = letterbox((100, 200), (400, 400), longest=200)
    assert unscaled[:2, 2].tolist() == [100, 150] and unscaled[0, 0] == 1


def test_a_blank_image_has_one_colour():
    assert (images.blank((2, 3)) == 114).all()
    assert images.blank((1, 1), (1, 2, 3)).tolist() == [[[1, 2, 3]]]


def test_flipping_pixels_twice_changes_nothing_and_agrees_with_the_matrix():
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    assert np.array_equal(images.mirrored(images.mirrored(picture)), picture)
    assert np.array_equal(images.upended(images.upended(picture)), picture)
    assert np.array_equal(images.warp(picture, mirror(8), (6, 8)), images.mirrored(picture))


def test_stacked_images_are_the_same_images_with_their_channels_first():
    pictures = np.random.default_rng(0).integers(0, 255, (3, 6, 8, 3)).astype(np.uint8)
    assert np.array_equal(images.stack(list(pictures)).numpy(), pictures.transpose(0, 3, 1, 2))
    assert np.array_equal(images.stack([pictures[0][:, ::-1]]).numpy()[0], pictures[0][:, ::-1].transpose(2, 0, 1))


def test_a_matrix_and_its_inverse_cancel():
    matrix = chain(scaling(2, 3), rotation(10), shearing(3, 4), translation(5, 6))
    assert np.allclose(chain(matrix, inverse(matrix)), np.eye(3))
