"""Poses, Targets, Batch and Candidates: nobody, one and many; tensors and arrays; any number of keypoints."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core.geometry import chain, identity, inverse, mirror, scaling, translation
from utils.core.poses import Batch, Candidates, Poses, Targets, person_areas, untouched

KINDS = pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["numpy", "torch"])
COUNTS = pytest.mark.parametrize("keypoints", [0, 1, 5, 17])


def people(count: int, keypoints: int, kind: Callable[..., Any] = np.array) -> Poses:
    """Person i stands at (10 i, 0), 10 wide and 20 high, every keypoint in the middle."""
    return Poses(
        boxes=kind([[10.0 * i, 0.0, 10.0 * i + 10, 20.0] for i in range(count)]).reshape(count, 4),
        scores=kind([1.0 - i / 10 for i in range(count)]),
        classes=kind([i % 2 for i in range(count)]),
        keypoints=kind([[[10.0 * i + 5, 10.0]] * keypoints for i in range(count)]).reshape(count, keypoints, 2),
        keypoint_scores=kind([[0.5] * keypoints for i in range(count)]).reshape(count, keypoints),
    )


@KINDS
def test_some_of_the_people_are_chosen_by_number_mask_list_or_slice(kind: Callable[..., Any]) -> None:
    poses = people(3, 5, kind)
    assert poses[0].boxes.tolist() == [[0, 0, 10, 20]]
    assert poses[-1].boxes.tolist() == [[20, 0, 30, 20]]
    for chosen in (slice(1, None), [1, 2], kind([1, 2]), kind([False, True, True])):
        assert poses[chosen].scores.tolist() == poses.scores.tolist()[1:]
    assert len(poses[[]]) == len(poses[:0]) == 0
    assert [person.keypoints.shape for person in poses] == [(1, 5, 2)] * 3


@KINDS
def test_the_person_that_argmax_names_keeps_the_first_dimension(kind: Callable[..., Any]) -> None:
    best = people(3, 5, kind)
    best = best[best.scores.argmax()]
    assert len(best) == 1 and best.keypoints.shape == (1, 5, 2)


def test_ids_go_with_their_people() -> None:
    poses = people(3, 2)
    tracked = Poses(**{**vars(poses), "ids": np.array([7, 8, 9])})
    assert tracked[1].ids.tolist() == [8]
    assert tracked.moved(identity()).ids.tolist() == [7, 8, 9]
    assert poses[1].ids is None
    assert [person["id"] for person in json.loads(tracked.to_json())] == [7, 8, 9]


@KINDS
@COUNTS
@pytest.mark.parametrize("count", [0, 2])
def test_every_way_out_takes_nobody_and_any_number_of_keypoints(
    kind: Callable[..., Any], keypoints: int, count: int
) -> None:
    poses = people(count, keypoints, kind)
    rows = poses.to_coco("image")
    assert len(rows) == len(json.loads(poses.to_json())) == len(poses.moved(mirror(100))) == len(poses) == count
    assert all(len(row["keypoints"]) == 3 * keypoints for row in rows)
    assert poses.cut_to((5, 5)).keypoints.shape == poses.numpy().keypoints.shape == (count, keypoints, 2)


@KINDS
def test_a_coco_row_is_left_top_width_height_and_triples(kind: Callable[..., Any]) -> None:
    row = people(2, 2, kind).to_coco(42)[1]
    assert row == {
        "image_id": 42, "category_id": 2, "bbox": [10, 0, 10, 20], "keypoints": [15, 10, 0.5] * 2, "score": 0.9,
    }  # fmt: skip
    assert json.loads(json.dumps(row)) == row  # plain numbers, not numpy's


@pytest.mark.parametrize("ids", [[90, 7], (90, 7), np.array([90, 7])])
def test_a_coco_row_takes_the_categories_of_the_data(ids: Any) -> None:
    assert [row["category_id"] for row in people(2, 2).to_coco(1, ids)] == [90, 7]


def test_json_names_the_keypoints_where_names_are_given() -> None:
    [first, _] = json.loads(people(2, 2).to_json(["head", "tail"]))
    assert first == {
        "box": [0, 0, 10, 20], "score": 1, "class": 0, "keypoints": {"head": [5, 10, 0.5], "tail": [5, 10, 0.5]},
    }  # fmt: skip


def test_tensors_become_arrays_also_from_half_precision_and_with_a_gradient() -> None:
    poses = people(2, 3, torch.tensor)
    poses = Poses(**{**vars(poses), "boxes": poses.boxes.bfloat16(), "scores": poses.scores.clone().requires_grad_()})
    arrays = poses.numpy()
    assert arrays.boxes.dtype == arrays.scores.dtype == np.float32 and arrays.classes.dtype == np.int64
    assert np.array_equal(arrays.numpy().boxes, arrays.boxes)


@given(st.floats(0.1, 10), st.floats(-500, 500), st.floats(-500, 500), st.booleans())
def test_people_moved_there_and_back_are_where_they_were(scale: float, x: float, y: float, flip: bool) -> None:
    to_input = chain(mirror(640) if flip else identity(), scaling(scale, scale / 2), translation(x, y))
    poses = people(3, 5)
    back = poses.moved(to_input).moved(inverse(to_input))
    np.testing.assert_allclose(back.boxes, poses.boxes, atol=1e-9)
    np.testing.assert_allclose(back.keypoints, poses.keypoints, atol=1e-9)


def test_boxes_are_cut_to_the_image_and_hands_may_leave_it() -> None:
    poses = people(2, 1).cut_to((12, 12))
    assert poses.boxes.tolist() == [[0, 0, 10, 12], [10, 0, 12, 12]]
    assert poses.keypoints[1].tolist() == [[15, 10]]


def test_a_missing_supervision_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        people(1, 1).to_supervision()


@COUNTS
def test_nobody_has_the_shapes_of_somebody(keypoints: int) -> None:
    nobody = Targets.nobody(keypoints)
    assert len(nobody) == 0
    assert nobody.keypoints.shape == (0, keypoints, 2) and nobody.visibility.shape == (0, keypoints)
    assert nobody.image_index.dtype == nobody.classes.dtype == torch.int64


def test_targets_of_different_lengths_are_a_mistake_in_the_program() -> None:
    values = vars(Targets.nobody(3))
    with pytest.raises(AssertionError, match=r"Targets.boxes: \(2, 4\) found; expected 0 rows"):
        Targets(**{**values, "boxes": torch.zeros(2, 4)})


def test_a_batch_moves_as_a_whole() -> None:
    origin = untouched("one", "one.jpg", (4, 6))
    batch = Batch(torch.zeros(1, 3, 4, 6, dtype=torch.uint8), Targets.nobody(5), (origin,)).to("meta")
    assert batch.images.device.type == batch.targets.boxes.device.type == "meta"
    assert batch.origins == (origin,) and np.array_equal(origin.to_input, np.eye(3)) and origin.box_score == 1


def test_candidates_of_several_views_are_pooled_in_order() -> None:
    parts = [
        Candidates(torch.full((2, n, 4), n), torch.zeros(2, n, 1), torch.zeros(2, n, 5, 2), torch.zeros(2, n, 5))
        for n in (3, 0, 2)
    ]
    pooled = Candidates.pooled(parts)
    assert pooled.boxes[1, :, 0].tolist() == [3, 3, 3, 2, 2]
    assert pooled.keypoints.shape == (2, 5, 5, 2)
    assert Candidates.pooled(parts[:1]) is parts[0]


@KINDS
def test_the_area_of_a_person_is_half_a_box(kind: Callable[..., Any]) -> None:
    assert person_areas(kind([[0.0, 0, 10, 20]])).tolist() == [pytest.approx(106)]
