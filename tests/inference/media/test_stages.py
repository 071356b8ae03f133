"""Threads before and behind the model: order, bounds, ends and errors."""

import threading
import time
from collections.abc import Iterator

import pytest

from utils.inference.media.stages import Ahead, Behind


def test_items_come_in_order_and_never_run_far_ahead() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    with Ahead(numbers(), 3) as items:
        time.sleep(0.1)
        assert len(made) <= 5  # three wait, one is in the hand
        assert list(items) == list(range(50))
        assert list(items) == []  # and asking again does not hang


def test_what_goes_wrong_ahead_is_raised_where_the_items_are_wanted() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("a bad file")

    with Ahead(broken()) as items:
        taken = iter(items)
        assert next(taken) == 1
        with pytest.raises(ValueError, match="a bad file"):
            next(taken)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    for _ in range(20):
        with Ahead(iter(range(1000)), 2) as items:
            next(iter(items))
    assert threading.active_count() == before


def test_work_behind_is_done_in_order_and_finished_at_the_end() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.001)
        done.append(number)

    with Behind(work, 2) as behind:
        for number in range(30):
            behind.put(number)
    assert done == list(range(30)) and behind.seconds > 0.03


def test_what_was_found_before_an_interruption_is_written() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), Behind(done.append, 8) as behind:
        for number in range(5):
            behind.put(number)
        raise KeyboardInterrupt
    assert done == [0, 1, 2, 3, 4]


def test_what_goes_wrong_behind_is_raised_in_front_and_nobody_hangs() -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"), Behind(full, 2) as behind:
        for number in range(1000):
            behind.put(number)
    with pytest.raises(OSError, match="No space left"), Behind(full, 2) as behind:
        behind.put(1)


def test_all_three_stages_work_at_the_same_time() -> None:
    """Each waits for what another does meanwhile: one after another, nobody would ever be done."""
    read, written = ([threading.Event() for _ in range(6)] for _ in range(2))

    def numbers() -> Iterator[int]:
        for number in range(5):
            read[number].set()
            yield number

    with Ahead(numbers(), 4) as items, Behind(lambda number: written[number].set(), 4) as behind:
        read[5].set()  # behind the last one nothing is read
        for number in items:
            assert read[number + 1].wait(10)  # the next one is read while this one is looked at
            assert number == 0 or written[number - 1].wait(10)  # and the one before is written
            behind.put(number)
    assert all(event.is_set() for event in written[:5])
