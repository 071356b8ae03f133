"""Anchors for a data set: left alone while they are good, replaced by better ones when they are bad."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.autoanchor import ENOUGH, best_possible_recall, by_level, find_anchors, fitted
from tests.training.small import KEYPOINTS, SIDE, spots, tiny_model

LIMIT = 4.0
MANY = np.full(KEYPOINTS, 100)  # how often each keypoint is labelled


def people(height: float, count: int = 400) -> np.ndarray:
    """Standing people of about this height, half as wide."""
    rng = np.random.default_rng(1)
    heights = height * np.exp(rng.normal(0, 0.25, count))
    return np.stack((heights * rng.uniform(0.35, 0.6, count), heights), 1)


def test_recall_is_the_share_of_people_within_the_limit() -> None:
    shapes = np.array([[10.0, 10.0], [39.0, 10.0], [41.0, 10.0], [10.0, 2.4]])
    assert best_possible_recall(shapes, np.array([[10.0, 10.0]]), LIMIT) == pytest.approx(2 / 4)
    assert best_possible_recall(shapes, np.array([[10.0, 10.0], [20.0, 10.0]]), LIMIT) == pytest.approx(3 / 4)


def test_good_anchors_stay_as_they_are() -> None:
    model = tiny_model()
    assert fitted(model, people(110), MANY) is model


def test_bad_anchors_are_replaced_and_the_weights_stay() -> None:
    model = tiny_model()
    shapes = people(8.0)  # the smallest anchor is 19 x 27
    before = np.array(model.spec.head["anchors"]).reshape(-1, 2)
    assert best_possible_recall(shapes, before, LIMIT) < ENOUGH
    better = fitted(model, shapes, MANY)
    after = np.array(better.spec.head["anchors"]).reshape(-1, 2)
    assert best_possible_recall(shapes, after, LIMIT) > 0.999
    assert (np.diff(after.prod(1)) >= 0).all()
    assert np.allclose(better.anchors.reshape(-1, 2).numpy(), after)
    assert all((better.state_dict()[name] == value).all() for name, value in model.state_dict().items())
    assert (
        fitted(model, shapes, MANY).spec.head == better.spec.head
    )  # the same every time, or a resumed run would differ


def test_mutations_only_ever_improve_on_the_clusters() -> None:
    shapes = np.concatenate((people(20), people(200)))
    anchors = find_anchors(shapes, 4, LIMIT, np.random.default_rng(0))
    assert anchors[0, 1] < 40 and anchors[-1, 1] > 120
    assert by_level(anchors, 2)[0][:2] == tuple(round(side, 1) for side in anchors[0])


def test_a_model_without_anchors_and_data_without_people_change_nothing() -> None:
    assert isinstance(fitted(spots(), people(8.0), MANY), type(spots()))
    model = tiny_model()
    assert fitted(model, np.zeros((0, 2)), MANY) is model


def test_keypoints_that_are_objects_count_too() -> None:
    """A family whose keypoints are squares of 3% of the input: 4 pixels here, for which there is no anchor."""
    model = tiny_model()
    assert fitted(model, people(110), MANY) is model
    model.gains = SimpleNamespace(anchor_t=LIMIT, kp_bbox=0.03)
    before = model.spec.head["anchors"]
    [smallest, *_] = fitted(model, people(110), MANY).spec.head["anchors"]
    assert smallest != before[0] and 0.03 * SIDE / LIMIT < min(smallest[:2]) < 0.03 * SIDE * LIMIT
