"""Object keypoint similarity by hand, and its properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core.geometry import move_points, scaling
from utils.core.oks import oks, oks_exponent, pairwise_oks


def test_one_keypoint_by_hand() -> None:
    """5 pixels off (3, 4), a person of 1000 square pixels, sigma 0.1: exp(-25 / (8 * 1000 * 0.01))."""
    found = oks(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.ones(1), torch.tensor(1000.0), torch.tensor([0.1]))
    assert found.item() == pytest.approx(math.exp(-25 / 80))


def test_the_exponent_is_coco_s() -> None:
    """pycocotools: e = d² / (2 sigma)² / area / 2."""
    distance2, areas, sigmas = torch.tensor([[9.0, 16.0]]), torch.tensor([200.0]), torch.tensor([0.05, 0.1])
    expected = distance2 / (sigmas * 2) ** 2 / areas / 2
    torch.testing.assert_close(oks_exponent(distance2, areas, sigmas), expected)


def test_only_visible_keypoints_count() -> None:
    predicted, target = torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [1000.0, 1000.0]])
    sigmas, area = torch.full((2,), 0.1), torch.tensor(100.0)
    assert oks(predicted, target, torch.tensor([1.0, 0.0]), area, sigmas).item() == 1
    assert oks(predicted, target, torch.tensor([1.0, 1.0]), area, sigmas).item() == pytest.approx(0.5)
    assert oks(predicted, target, torch.zeros(2), area, sigmas).item() == 0


@given(st.integers(0, 6), st.integers(0, 4), st.integers(0, 3), st.floats(0.1, 10))
def test_similarity_is_within_bounds_and_does_not_depend_on_the_scale(
    keypoints: int, first: int, second: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(keypoints + 10 * first)
    a = torch.rand(first, keypoints, 2, generator=generator, dtype=torch.float64) * 50
    b = torch.rand(second, keypoints, 2, generator=generator, dtype=torch.float64) * 50
    visible = (torch.rand(second, keypoints, generator=generator) > 0.3).double()
    areas, sigmas = torch.full((second,), 900.0).double(), torch.full((keypoints,), 0.07).double()
    found = pairwise_oks(a, b, visible, areas, sigmas)
    assert found.shape == (first, second)
    assert ((found >= 0) & (found <= 1)).all()
    larger = scaling(scale, scale)
    again = pairwise_oks(move_points(a, larger), move_points(b, larger), visible, areas * scale**2, sigmas)
    torch.testing.assert_close(again, found, rtol=1e-6, atol=1e-6)
    same = pairwise_oks(b, b, visible, areas, sigmas).diagonal()
    assert same.tolist() == (visible.sum(-1) > 0).double().tolist()


def test_the_area_and_the_visible_points_are_those_of_the_second() -> None:
    first, second = torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]]])
    found = pairwise_oks(first, second, torch.ones(2, 1), torch.tensor([100.0, 1000.0]), torch.tensor([0.1]))
    torch.testing.assert_close(found, torch.tensor([[math.exp(-25 / 8), math.exp(-25 / 80)]]))


def test_a_person_without_an_area_is_similar_to_itself_only() -> None:
    point = torch.tensor([[5.0, 5.0]])
    areas, sigmas = torch.tensor(0.0), torch.tensor([0.1])
    assert oks(point, point, torch.ones(1), areas, sigmas).item() == 1
    assert oks(point, point + 1, torch.ones(1), areas, sigmas).item() == 0


def test_gradients_are_finite_also_without_an_area() -> None:
    predicted = torch.ones(1, 3, 2, requires_grad=True)
    oks(predicted, torch.zeros(1, 3, 2), torch.ones(1, 3), torch.zeros(1), torch.full((3,), 0.1)).sum().backward()
    assert torch.isfinite(predicted.grad).all()
