"""The pairs with the largest sum."""

from itertools import permutations

import numpy as np
import pytest

from utils.core.assignment import assign


def largest_sum(gains: np.ndarray) -> float:
    """By trying every way to seat the shorter side."""
    short = gains if gains.shape[0] <= gains.shape[1] else gains.T
    seats = permutations(range(short.shape[1]), short.shape[0])
    return max(sum(max(short[i, j], 0.0) for i, j in enumerate(seat)) for seat in seats)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 4), (3, 6), (6, 3), (6, 6)])
def test_no_other_pairs_have_a_larger_sum(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    for whole in (False, True) * 30:  # whole numbers: many ties
        gains = rng.integers(-2, 4, shape).astype(float) if whole else rng.uniform(-0.5, 1, shape)
        rows, columns = assign(gains)
        assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows) == len(columns)
        assert (gains[rows, columns] > 0).all() and (np.diff(rows) > 0).all()
        assert gains[rows, columns].sum() == pytest.approx(largest_sum(gains))


def test_the_best_pair_gives_way_where_two_others_are_worth_more() -> None:
    rows, columns = assign(np.array([[0.9, 0.8], [0.8, 0.0]]))
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]


def test_a_gain_of_nothing_is_no_pair() -> None:
    rows, columns = assign(np.array([[-1.0, 0.0], [0.5, -1.0]]))
    assert (rows.tolist(), columns.tolist()) == ([1], [0])


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_where_one_side_is_empty_nobody_is_paired(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape))
    assert len(rows) == len(columns) == 0
