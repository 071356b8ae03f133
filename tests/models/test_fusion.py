"""Fusion: all objects at once decide what they would decide one after another."""

import pytest
import torch

from models.fusion import fuse


def one_after_another(keypoints: torch.Tensor, points: torch.Tensor, kinds: torch.Tensor, tolerance: float) -> set:
    """The definition, as a loop."""
    places, taken, pairs = keypoints.clone(), set(), set()
    for i, (point, kind) in enumerate(zip(points, kinds.tolist(), strict=True)):
        away = (places[:, kind] - point).norm(dim=-1)
        nearest = int(away.argmin())
        if away[nearest] < tolerance and (nearest, kind) not in taken:
            places[nearest, kind] = point
            taken.add((nearest, kind))
            pairs.add((i, nearest))
    return pairs


def pairs_of(keypoints: torch.Tensor, points: torch.Tensor, kinds: torch.Tensor, tolerance: float) -> set:
    written, person = fuse(keypoints, points, kinds, tolerance=tolerance)
    return set(zip(written.tolist(), person.tolist(), strict=True))


def test_the_nearest_object_of_the_right_kind_takes_the_place_of_a_guess() -> None:
    keypoints = torch.tensor([[[10.0, 10.0], [50.0, 50.0]]])  # one person with two keypoints
    points, kinds = torch.tensor([[12.0, 10.0], [11.0, 10.0]]), torch.tensor([0, 1])
    assert pairs_of(keypoints, points, kinds, 5) == {(0, 0)}


def test_the_tolerance_itself_is_too_far() -> None:
    keypoints, points = torch.zeros(1, 1, 2), torch.tensor([[3.0, 4.0]])
    assert pairs_of(keypoints, points, torch.zeros(1, dtype=torch.int64), 5) == set()
    assert pairs_of(keypoints, points, torch.zeros(1, dtype=torch.int64), 5.01) == {(0, 0)}


def test_of_two_objects_at_one_guess_the_better_stays_though_the_other_is_nearer() -> None:
    keypoints, kinds = torch.zeros(1, 1, 2), torch.zeros(2, dtype=torch.int64)
    assert pairs_of(keypoints, torch.tensor([[4.0, 0.0], [1.0, 0.0]]), kinds, 50) == {(0, 0)}


def test_there_is_no_second_choice() -> None:
    """The second object is nearest to a place that is taken; the free one would be within reach and is left alone."""
    keypoints = torch.tensor([[[0.0, 0.0]], [[10.0, 0.0]]])
    points = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    assert pairs_of(keypoints, points, torch.zeros(2, dtype=torch.int64), 50) == {(0, 0)}


def test_a_person_who_was_moved_away_leaves_room() -> None:
    """The first object carries the first person's point far off, so the second finds the second person nearest."""
    keypoints = torch.tensor([[[0.0, 0.0]], [[9.0, 0.0]]])
    points = torch.tensor([[-8.0, 0.0], [2.0, 0.0]])
    assert pairs_of(keypoints, points, torch.zeros(2, dtype=torch.int64), 50) == {(0, 0), (1, 1)}


@pytest.mark.parametrize("seed", range(20))
def test_crowds_are_fused_as_by_the_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    people, objects, kinds = (int(torch.randint(0, top, (1,), generator=generator)) for top in (40, 300, 18))
    keypoints = torch.rand(people, kinds + 1, 2, generator=generator) * 60
    points = torch.rand(objects, 2, generator=generator) * 60
    classes = torch.randint(0, kinds + 1, (objects,), generator=generator)
    if people:
        assert pairs_of(keypoints, points, classes, 20.0) == one_after_another(keypoints, points, classes, 20.0)
    else:
        assert pairs_of(keypoints, points, classes, 20.0) == set()
