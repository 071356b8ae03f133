import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.data.pictures import SPOT, THREE, middle_of_spot, people, spotted
from utils.core.geometry import inverse, rotation, scaling
from utils.core.poses import untouched
from utils.data.sample import Limits, Sample, joined, kept, nobody, sample_of

SIZE = (60, 100)


def one_person() -> Sample:
    persons = people([(10, 40, 2), (30, 20, 1), (80, 50, 0)], box=(5, 10, 60, 55))
    return sample_of(spotted(SIZE, persons), persons, untouched(7, "7.png", SIZE))


def test_a_left_hand_becomes_a_right_hand_when_the_image_is_mirrored():
    mirrored = one_person().flipped(THREE)
    assert mirrored.keypoints[0].tolist() == [[90, 40], [20, 50], [70, 20]]
    assert mirrored.visibility[0].tolist() == [2, 0, 1]
    assert mirrored.boxes[0].tolist() == [40, 10, 95, 55]
    assert (mirrored.image == one_person().image[:, ::-1]).all()


def test_flipping_twice_changes_nothing_in_pixels_points_or_names():
    once = one_person()
    for twice in (once.flipped(THREE).flipped(THREE), once.upended().upended()):
        assert (twice.image == once.image).all()
        assert np.array_equal(twice.keypoints, once.keypoints)
        assert np.array_equal(twice.visibility, once.visibility)
        assert np.array_equal(twice.boxes, once.boxes)
        assert np.allclose(twice.origin.to_input, np.eye(3))


def test_upside_down_a_left_hand_stays_a_left_hand():
    upended = one_person().upended()
    assert upended.keypoints[0, 1].tolist() == [30, 40]
    assert upended.visibility[0].tolist() == [2, 1, 0]


def test_a_keypoint_outside_becomes_invisible_and_stays_where_it_is():
    cut = one_person().cut_to((60, 25))
    assert cut.visibility[0].tolist() == [2, 0, 0]
    assert cut.keypoints[0].tolist() == [[10, 40], [30, 20], [80, 50]]
    assert cut.boxes[0].tolist() == [5, 10, 25, 55]


def test_a_hidden_keypoint_stays_hidden_and_is_not_seen_after_any_step():
    sample = one_person()
    for changed in (sample.flipped(THREE), sample.upended(), sample.carried(scaling(0.5, 0.5)).cut_to((30, 50))):
        assert sorted(changed.visibility[0].tolist()) == [0, 1, 2]


def test_the_area_grows_with_the_matrix():
    person = one_person()
    assert np.allclose(person.carried(scaling(2, 3)).areas, 6 * person.areas)
    assert np.allclose(person.carried(rotation(30)).areas, person.areas)


@given(st.floats(-180, 180), st.floats(0.2, 3))
def test_moving_and_moving_back_returns_the_keypoints(degrees, scale):
    person = one_person()
    matrix = rotation(degrees) @ scaling(scale, scale)
    back = person.carried(matrix).carried(inverse(matrix))
    assert np.allclose(back.keypoints, person.keypoints, atol=1e-3)
    assert np.allclose(back.areas, person.areas, rtol=1e-4)


def test_who_is_too_small_too_thin_or_mostly_gone_is_dropped():
    box = {"whole": (0, 0, 20, 20), "thin": (0, 0, 2, 20), "long": (0, 0, 100, 5), "cut": (0, 0, 10, 3)}
    persons = joined([people([(1, 1, 2)] * 3, box=corners) for corners in box.values()])
    before = persons.boxes.copy()
    before[3] = (0, 0, 20, 20)  # of whom 30 of 400 pixels are left
    assert kept(persons, before, Limits()).tolist() == [True, False, False, False]
    assert kept(persons, before, Limits(area=0)).tolist() == [True, False, False, True]


def test_only_a_recipe_that_says_so_drops_people_without_a_visible_keypoint():
    persons = people([(1, 1, 0)] * 3, box=(0, 0, 20, 20))
    assert kept(persons, persons.boxes, Limits()).all()
    assert not kept(persons, persons.boxes, Limits(seen=True)).any()


def test_nobody_can_be_moved_cut_and_joined():
    empty = nobody(THREE.count).carried(rotation(20)).cut_to(SIZE)
    assert len(joined([empty, one_person().labels, empty])) == 1
    assert len(empty.chosen(kept(empty, empty.boxes, Limits()))) == 0


def test_a_spot_of_the_test_pictures_is_where_its_keypoint_is():
    persons = people([(40.3, 30.7, 2)] * 3, box=(0, 0, 80, 60))
    assert np.allclose(
        middle_of_spot(spotted((60, 80), persons), np.array([40, 30]), int(3 * SPOT)), [40.3, 30.7], atol=0.1
    )
