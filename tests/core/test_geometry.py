"""Geometry: one convention for the pixel centre, letterboxes as published, and ways back that lead back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core.geometry import (
    box_areas,
    chain,
    clip_boxes,
    cxcywh_to_xyxy,
    identity,
    in_pixel_indices,
    inside,
    inverse,
    is_scale_and_shift,
    letterbox,
    mirror,
    move_boxes,
    move_points,
    pairwise_iou,
    rotation,
    scaling,
    translation,
    upside_down,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)

BOX = [10.0, 20.0, 50.0, 100.0]
KINDS = pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["numpy", "torch"])

numbers = st.floats(-2000, 2000, allow_nan=False, width=32)
sides = st.integers(1, 3000)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    corners = draw(st.lists(st.tuples(*[numbers] * 4), max_size=5))
    points = np.array(corners, np.float64).reshape(-1, 2, 2)
    return np.concatenate((points.min(1), points.max(1)), -1)


@st.composite
def affine(draw: st.DrawFn) -> np.ndarray:
    """Turned, scaled, mirrored or not, and moved."""
    scale = st.floats(0.1, 8)
    turn, move = rotation(draw(st.floats(-180, 180))), translation(draw(numbers), draw(numbers))
    flip = mirror(640) if draw(st.booleans()) else identity()
    return chain(flip, scaling(draw(scale), draw(scale)), turn, move)


# ---------------------------------------------------------------------------------------------- matrices


def test_a_chain_does_the_first_matrix_first() -> None:
    double_then_move = chain(scaling(2, 2), translation(5, 0))
    assert move_points(np.array([3.0, 4.0]), double_then_move).tolist() == [11, 8]
    assert np.array_equal(chain(), identity())


def test_a_positive_rotation_turns_x_towards_y() -> None:
    np.testing.assert_allclose(move_points(np.array([1.0, 0.0]), rotation(90)), [0, 1], atol=1e-15)


def test_a_mirror_image_is_the_width_minus_x() -> None:
    assert move_points(np.array([10.0, 40.0]), mirror(100)).tolist() == [90, 40]
    assert move_points(np.array([10.0, 40.0]), upside_down(100)).tolist() == [10, 60]


@given(affine(), st.lists(st.tuples(numbers, numbers), max_size=5))
def test_the_inverse_leads_back(matrix: np.ndarray, points: list[tuple[float, float]]) -> None:
    there = np.array(points, np.float64).reshape(-1, 2)
    np.testing.assert_allclose(move_points(move_points(there, matrix), inverse(matrix)), there, atol=1e-8)
    assert np.array_equal(inverse(matrix)[2], (0, 0, 1))  # affine stays affine to the last digit


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (identity(), True), (chain(scaling(0.5, 2), translation(-3, 0.25)), True), (mirror(100), False),
        (upside_down(100), False), (rotation(1), False), (rotation(90), False), (np.diag([1.0, 1.0, 2.0]), False),
        (np.array([[1.0, 0, 0], [0, 1, 0], [0.001, 0, 1]]), False),
    ],
)  # fmt: skip
def test_a_resize_and_a_border_are_enough_for_scales_and_shifts_only(matrix: np.ndarray, expected: bool) -> None:
    assert is_scale_and_shift(matrix) is expected


# ---------------------------------------------------------------------------------------------- pixel centres


def painted(x: int, y: int) -> np.ndarray:
    image = np.zeros((16, 24), np.float32)
    image[y, x] = 1
    return image


@pytest.mark.parametrize(
    "matrix",
    [mirror(24), upside_down(16), translation(3, -2), chain(rotation(90), translation(16, 0)),
     chain(mirror(24), translation(-4, 1))],
)  # fmt: skip
def test_a_painted_pixel_lands_where_its_centre_is_moved_to(matrix: np.ndarray) -> None:
    moved = cv2.warpAffine(painted(9, 5), in_pixel_indices(matrix)[:2], (24, 24))
    x, y = move_points(np.array([9.5, 5.5]), matrix)
    assert moved.sum() == pytest.approx(1)
    assert moved[int(y), int(x)] == pytest.approx(1, abs=1e-4)


def test_opencv_mirrors_by_the_same_rule_in_pixel_indices() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 24), np.uint8)
    assert np.array_equal(cv2.warpAffine(image, in_pixel_indices(mirror(24))[:2], (24, 16)), image[:, ::-1])


def test_a_painted_pixel_lands_there_under_a_perspective_too() -> None:
    matrix = np.array([[1.0, 0.05, 2.0], [0.02, 1.1, 1.0], [0.002, 0.001, 1.0]])
    block = cv2.GaussianBlur(painted(9, 5), (7, 7), 1.5)
    moved = cv2.warpPerspective(block, in_pixel_indices(matrix), (32, 32))
    rows, columns = np.mgrid[:32, :32] + 0.5
    found = np.array([(moved * columns).sum(), (moved * rows).sum()]) / moved.sum()
    np.testing.assert_allclose(found, move_points(np.array([9.5, 5.5]), matrix), atol=0.1)


# ---------------------------------------------------------------------------------------------- letterbox


def test_a_letterbox_in_numbers() -> None:
    matrix, size = letterbox((480, 640), (640, 640))
    assert size == (480, 640)
    assert move_points(np.array([[0.0, 0.0], [640.0, 480.0]]), matrix).tolist() == [[0, 80], [640, 560]]


def test_a_letterbox_scales_each_axis_by_what_really_happens() -> None:
    """A third of 100 is 33 whole pixels, not 33.3: the last row of the image is the last row of the copy."""
    matrix, size = letterbox((100, 300), (100, 100))
    assert size == (33, 100)
    assert move_points(np.array([300.0, 100.0]), matrix).tolist() == [100, 66]


@given(sides, sides, sides, sides, boxes())
def test_the_inverse_of_a_letterbox_brings_boxes_back(
    height: int, width: int, target_height: int, target_width: int, some: np.ndarray
) -> None:
    matrix, _ = letterbox((height, width), (target_height, target_width))
    np.testing.assert_allclose(move_boxes(move_boxes(some, matrix), inverse(matrix)), some, rtol=1e-9, atol=1e-9)


@given(sides, sides, sides, sides)
def test_the_copy_lies_inside_the_target_in_the_middle_on_whole_pixels(
    height: int, width: int, target_height: int, target_width: int
) -> None:
    matrix, copy = letterbox((height, width), (target_height, target_width))
    low, high = move_points(np.array([[0.0, 0.0], [width, height]]), matrix)
    np.testing.assert_allclose(high - low, copy[::-1])
    assert (low == low.round()).all() and (low >= 0).all()
    after = np.array([target_width, target_height]) - high
    assert (after > -1e-6).all() and (np.abs(after - low) < 1 + 1e-6).all()  # an odd rest: the smaller half is first
    assert copy[0] == target_height or copy[1] == target_width or 1 in copy


def published_letterboxes(shared: Path) -> list[dict[str, Any]]:
    """Those that enlarge where there is room: the others show what happens after an image was enlarged on loading."""
    cases = json.loads((shared / "fixtures/yolo_pose/public/data_ops.json").read_text())["letterbox"]
    return [case for case in cases if case["scaleup"] or case["src_hw"] in ([480, 640], [640, 427])]


def test_the_copy_covers_the_same_rows_and_columns_as_the_published_letterbox(shared: Path) -> None:
    cases = published_letterboxes(shared)
    assert len(cases) == 9
    for case in cases:
        matrix, (height, width) = letterbox(tuple(case["src_hw"]), tuple(case["out_hw"]))
        left, top = matrix[:2, 2]
        assert case["image_rows"] == [top, top + height - 1]
        assert case["image_cols"] == [left, left + width - 1]


def test_the_published_pad_is_half_a_pixel_beside_the_pixels_where_the_rest_is_odd(shared: Path) -> None:
    """With 213 free rows the original pads 106 above and 107 below, and then counts with 106.5 above.

    Its boxes are therefore half an input pixel off the pixels; ours say where the pixels are.
    """
    odd = 0
    for case in published_letterboxes(shared):
        matrix, _ = letterbox(tuple(case["src_hw"]), tuple(case["out_hw"]))
        ours, believed = matrix[:2, 2], np.array(case["dw_dh"])
        assert np.array_equal(ours, np.floor(believed))
        odd += (believed != ours).any()
    assert odd == 3


def test_the_published_way_back_differs_by_the_half_pixel_of_its_pad_and_by_nothing_else(shared: Path) -> None:
    """scale_coords from 640 x 640 to 427 x 640 with the pad it believes in, 106.5; the pixels begin at row 106."""
    values = np.load(shared / "fixtures/yolo_pose/public/data_ops.npz")
    there, back = (values[f"scale_coords_boxes_{end}"].reshape(7, 2, 2).astype(float) for end in ("in", "out"))
    matrix, _ = letterbox((427, 640), (640, 640))
    ours = move_points(there, inverse(matrix))  # (7, 2, 2): corners, since the fixture's are in any order
    np.testing.assert_allclose(ours, there - (0, 106))
    np.testing.assert_allclose((ours - (0, 0.5))[4:], back[4:], atol=1e-4)
    np.testing.assert_allclose((ours - (0, 0.5))[:4].clip(0, (640, 427)), back[:4], atol=1e-4)  # only four are cut


def test_the_published_way_back_of_keypoints_differs_by_the_same_half_pixel(shared: Path) -> None:
    values = np.load(shared / "fixtures/yolo_pose/public/data_ops.npz")
    there, back = (values[f"scale_coords_kpts_{end}"].reshape(7, -1, 3)[..., :2].astype(float) for end in ("in", "out"))
    matrix, _ = letterbox((427, 640), (640, 640))
    ours = move_points(move_points(there, inverse(matrix)), translation(0, -0.5))
    np.testing.assert_allclose(ours.clip(0, (640, 427)), back, atol=1e-4)  # the original cuts keypoints to the image


# ---------------------------------------------------------------------------------------------- points and boxes


@KINDS
def test_a_box_is_the_same_in_every_format(kind: Callable[..., Any]) -> None:
    box = kind([BOX])
    assert xyxy_to_cxcywh(box).tolist() == [[30, 60, 40, 80]]
    assert xyxy_to_xywh(box).tolist() == [[10, 20, 40, 80]]
    assert box_areas(box).tolist() == [3200]
    assert cxcywh_to_xyxy(xyxy_to_cxcywh(box)).tolist() == xywh_to_xyxy(xyxy_to_xywh(box)).tolist() == [BOX]


@given(boxes())
def test_formats_lead_back_to_the_box(some: np.ndarray) -> None:
    for array in (some, torch.from_numpy(some)):
        np.testing.assert_allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(array)), some, atol=1e-9)
        np.testing.assert_allclose(xywh_to_xyxy(xyxy_to_xywh(array)), some, atol=1e-9)


@KINDS
def test_a_turned_box_is_the_upright_box_around_its_corners(kind: Callable[..., Any]) -> None:
    turned = move_boxes(kind([BOX]), rotation(90))  # (x, y) -> (-y, x)
    np.testing.assert_allclose(turned, [[-100, 10, -20, 50]], atol=1e-4)
    square = move_boxes(kind([[-1.0, -1.0, 1.0, 1.0]]), rotation(45))
    np.testing.assert_allclose(square, [[-(2**0.5), -(2**0.5), 2**0.5, 2**0.5]], atol=1e-6)


@KINDS
def test_a_mirrored_box_keeps_its_lower_corner_first(kind: Callable[..., Any]) -> None:
    assert move_boxes(kind([BOX]), mirror(100)).tolist() == [[50, 20, 90, 100]]
    assert move_boxes(kind([BOX]), upside_down(200)).tolist() == [[10, 100, 50, 180]]


@KINDS
def test_a_perspective_divides_by_the_depth(kind: Callable[..., Any]) -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [0.01, 0, 1]])
    np.testing.assert_allclose(move_points(kind([[100.0, 50.0], [0.0, 50.0]]), matrix), [[50, 25], [0, 50]])
    np.testing.assert_allclose(move_boxes(kind([[0.0, 0.0, 100.0, 50.0]]), matrix), [[0, 0, 50, 50]])
    np.testing.assert_allclose(move_points(kind([8.0, 6.0]), np.diag([1.0, 1.0, 2.0])), [4, 3])


@given(affine(), boxes())
def test_numpy_and_torch_move_alike(matrix: np.ndarray, some: np.ndarray) -> None:
    moved = move_boxes(torch.from_numpy(some), matrix)
    assert moved.dtype == torch.float64
    np.testing.assert_allclose(moved.numpy(), move_boxes(some, matrix), rtol=1e-9, atol=1e-9)


@KINDS
def test_whole_numbers_move_by_fractions(kind: Callable[..., Any]) -> None:
    assert move_points(kind([[1, 3]]), scaling(0.5, 0.5)).tolist() == [[0.5, 1.5]]
    assert move_boxes(kind([[1, 2, 3, 4]]), translation(0.5, 0)).tolist() == [[1.5, 2, 3.5, 4]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_stays_what_it_was(dtype: torch.dtype) -> None:
    assert move_points(torch.ones(2, 2, dtype=dtype), scaling(2, 2)).dtype == dtype
    assert move_points(np.ones((2, 2), np.float32), scaling(2, 2)).dtype == np.float32


@KINDS
@pytest.mark.parametrize("shape", [(0,), (2, 0), (3, 5), (2, 3, 5)])
def test_any_leading_dimensions_are_kept_also_when_there_is_nobody(kind: Callable[..., Any], shape: tuple) -> None:
    points, some = kind(np.ones((*shape, 2))), kind(np.ones((*shape, 4)))
    for matrix in (rotation(30), np.array([[1.0, 0, 0], [0, 1, 0], [0.01, 0, 1]])):
        assert move_points(points, matrix).shape == (*shape, 2)
        assert move_boxes(some, matrix).shape == (*shape, 4)
    assert clip_boxes(some, (10, 10)).shape == xyxy_to_cxcywh(some).shape == (*shape, 4)
    assert box_areas(some).shape == inside(points, (10, 10)).shape == shape


@KINDS
def test_boxes_are_cut_to_the_image(kind: Callable[..., Any]) -> None:
    beyond = kind([[-5.0, -6.0, 700.0, 500.0], [10.0, 20.0, 30.0, 40.0], [800.0, 800.0, 900.0, 900.0]])
    expected = [[0, 0, 640, 480], [10, 20, 30, 40], [640, 480, 640, 480]]
    assert clip_boxes(beyond, (480, 640)).tolist() == expected


@KINDS
def test_a_point_on_the_far_edge_is_outside(kind: Callable[..., Any]) -> None:
    points = kind([[0.0, 0.0], [639.9, 479.9], [640.0, 0.0], [0.0, 480.0], [-0.1, 3.0]])
    assert inside(points, (480, 640)).tolist() == [True, True, False, False, False]


def test_overlap_by_hand() -> None:
    first = torch.tensor([[0.0, 0, 10, 10]])
    second = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 5, 5], [30, 30, 30, 30]])
    torch.testing.assert_close(pairwise_iou(first, second), torch.tensor([[1, 1 / 3, 0, 0.25, 0]]))
    assert pairwise_iou(torch.zeros(0, 4), second).shape == (0, 5)
    assert pairwise_iou(second[-1:], second[-1:]).item() == 0  # two boxes without an area share nothing


@given(boxes(), boxes())
def test_overlap_is_symmetric_and_between_nothing_and_all(first: np.ndarray, second: np.ndarray) -> None:
    a, b = torch.from_numpy(first), torch.from_numpy(second)
    shared = pairwise_iou(a, b)
    torch.testing.assert_close(shared, pairwise_iou(b, a).T)
    assert ((shared >= 0) & (shared <= 1 + 1e-9)).all()
