"""Records are a few packed arrays; choosing from them keeps images and persons together."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.makers import records_of
from utils.data.records import Packer, Records


def of_counts(counts: list[int]) -> Records:
    """Images with so many persons each; person n of image i has the id 100 i + n."""
    packer = Packer(2)
    for i, count in enumerate(counts):
        packer.image(f"folder/bild ü{i}.png", (10 + i, 20), 7 * i)
        for n in range(count):
            packer.person((i, n, i + 1, n + 1), [n] * 6, area=n + 0.5, kind=0, annotation_id=100 * i + n)
    return packer.records("/root")


def test_names_sizes_and_persons_come_back():
    records = of_counts([2, 0, 1])
    assert len(records) == 3
    assert Path(records.path(2)) == Path("/root/folder/bild ü2.png")
    assert records.size(1) == (11, 20)
    assert records.image_id(2) == 14
    assert records.persons(0).ids.tolist() == [0, 1]
    assert len(records.persons(1)) == 0
    assert records.persons(2).boxes.tolist() == [[2, 0, 3, 1]]
    assert records.image_of_person().tolist() == [0, 0, 2]


@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_chosen_images_keep_their_persons_in_any_order(counts: list[int], data: st.DataObject):
    records = of_counts(counts)
    order = data.draw(st.permutations(range(len(counts)))) if counts else []
    order = order[: data.draw(st.integers(0, len(order)))]
    chosen = records.chosen(np.array(order, np.int64))
    assert [chosen.name(k) for k in range(len(chosen))] == [records.name(i) for i in order]
    for k, i in enumerate(order):
        assert chosen.persons(k).ids.tolist() == records.persons(i).ids.tolist()


@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_chosen_persons_leave_all_images_where_they_are(counts: list[int], data: st.DataObject):
    records = of_counts(counts)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=sum(counts), max_size=sum(counts))), bool)
    chosen = records.chosen_persons(mask)
    assert len(chosen) == len(records)
    assert chosen.ids.tolist() == records.ids[mask].tolist()
    for i in range(len(records)):
        mine = mask[records.person_ends[i] : records.person_ends[i + 1]]
        assert chosen.persons(i).ids.tolist() == records.persons(i).ids[mine].tolist()


def test_persons_are_views_that_nobody_can_write_to():
    records = records_of([{"box": (0, 0, 10, 10)}])
    persons = records.persons(0)
    assert np.shares_memory(persons.boxes, records.boxes)
    with pytest.raises(ValueError, match="read-only"):
        persons.boxes[0, 0] = 5


def test_records_travel_to_another_process():
    records = pickle.loads(pickle.dumps(of_counts([1, 2])))
    assert records.persons(1).ids.tolist() == [100, 101]
