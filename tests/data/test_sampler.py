import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.data.sampler import (
    EvaluationSampler,
    Plan,
    TrainingSampler,
    copies,
    evaluation_batches,
    order,
    rectangle,
    steps,
    training_batches,
)


def epoch(count: int, batch_size: int, rank: int, world: int, number: int = 0, start: int = 0) -> list[list[int]]:
    sampler = TrainingSampler(count, Plan(batch_size, seed=3, rank=rank, world=world))
    sampler.epoch, sampler.start = number, start
    return [[ticket.index for ticket in tickets] for tickets in sampler]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [12, 13, 17, 100, 101])
def test_every_index_comes_exactly_once_and_every_rank_takes_as_many_steps(count, world):
    ranks = [epoch(count, 4, rank, world) for rank in range(world)]
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert sorted(seen) == list(range(count))
    assert len({len(batches) for batches in ranks}) == 1
    assert all(batch for batches in ranks for batch in batches)


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 5))
@settings(max_examples=200)
def test_no_rank_is_left_without_work_and_nothing_is_lost(count, batch_size, world):
    parts = [training_batches(np.arange(count), batch_size, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    sizes = [len(batch) for part in parts for batch in part]
    assert min(sizes) >= 1 and max(sizes) <= batch_size
    seen = np.sort(np.concatenate([batch for part in parts for batch in part]))
    assert np.array_equal(np.unique(seen), np.arange(count))
    assert len(seen) - count < world  # only where even sharing the last two steps cannot help


def test_the_last_two_steps_share_what_would_leave_a_rank_idle():
    assert steps(100, 16, 1) == [16, 16, 16, 16, 16, 16, 4]
    assert steps(33, 8, 2) == [16, 9, 8]
    assert steps(35, 8, 2) == [16, 16, 3]


def test_two_ranks_with_half_the_batch_see_the_same_steps_as_one():
    alone = epoch(37, 8, 0, 1)
    first, second = epoch(37, 4, 0, 2), epoch(37, 4, 1, 2)
    assert [sorted(batch) for batch in alone] == [sorted(a + b) for a, b in zip(first, second, strict=True)]


def test_an_epoch_can_go_on_where_it_stopped():
    assert epoch(50, 4, 0, 1, number=2)[5:] == epoch(50, 4, 0, 1, number=2, start=5)


def test_epochs_and_seeds_have_orders_of_their_own_and_the_same_one_again():
    assert np.array_equal(order(50, 1, 2), order(50, 1, 2))
    assert not np.array_equal(order(50, 1, 2), order(50, 1, 3))
    assert not np.array_equal(order(50, 1, 2), order(50, 2, 2))


def test_weights_make_images_more_frequent_and_their_copies_count_up():
    weights = np.ones(100)
    weights[7] = 200
    indices = order(100, 0, 0, weights)
    assert 50 < (indices == 7).sum() < 85
    counted = copies(indices)
    assert counted[indices == 7].tolist() == list(range((indices == 7).sum()))
    assert not copies(np.arange(5)).any() and len(copies(np.zeros(0, np.int64))) == 0
    with pytest.raises(ValueError, match="one each"):
        order(100, 0, 0, np.ones(99))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_shows_every_image_once_in_the_same_batch_for_any_number_of_ranks(world):
    aspects = np.random.default_rng(0).uniform(0.5, 2, 23)
    found = {}
    for rank in range(world):
        sampler = EvaluationSampler(23, Plan(4, rank=rank, world=world), aspects=aspects, longest=640)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        for tickets in batches:
            for ticket in tickets:
                assert ticket.index not in found
                found[ticket.index] = (ticket.size, sorted(other.index for other in tickets))
    assert sorted(found) == list(range(23))
    alone = EvaluationSampler(23, Plan(4), aspects=aspects, longest=640)
    for tickets in alone:
        for ticket in tickets:
            assert found[ticket.index] == (ticket.size, sorted(other.index for other in tickets))


def test_rectangles_are_as_flat_as_their_images_in_whole_strides():
    assert rectangle(np.array([0.5, 0.6]), 640, 32) == (384, 640)
    assert rectangle(np.array([1.5, 2.0]), 640, 32) == (640, 448)
    assert rectangle(np.array([0.5, 2.0]), 640, 32) == (640, 640)
    assert rectangle(np.array([0.5]), 640, 64, pad=0.5) == (384, 704)


def test_nothing_to_evaluate_has_no_batches():
    assert evaluation_batches(0, 4, 0, 1) == []
