"""Pictures of a run: labels where they are, people where they were found, and only so many."""

from pathlib import Path

import numpy as np
import pytest
import torch

from doors.pictures import BATCHES, CROWD, Pictured, labelled, likely, save_labels
from tests.training.small import KEYPOINTS, SIDE, Drawn, spots
from utils.core import images
from utils.core.poses import Batch, Poses


@pytest.fixture
def batch() -> Batch:
    return Drawn(batch_size=2).batch(0, 0)


def test_labels_are_drawn_where_the_targets_are(batch: Batch, tmp_path: Path) -> None:
    schema = spots().spec.schema
    people = [labelled(batch.targets, image) for image in range(2)]
    assert [len(one) for one in people] == [1, 1]
    assert np.array_equal(people[1].keypoints[0], batch.targets.keypoints[1].numpy())
    save_labels(tmp_path / "train_batch0.jpg", batch, schema)
    page = images.read(tmp_path / "train_batch0.jpg")
    assert page.shape[0] >= SIDE and page.shape[1] >= 2 * SIDE


def test_hidden_keypoints_are_fainter_and_those_without_a_label_are_left_out(batch: Batch) -> None:
    batch.targets.visibility[0, :3] = torch.tensor([0.0, 1.0, 2.0])
    scores = labelled(batch.targets, 0).keypoint_scores[0]
    assert scores[0] == 0 < scores[1] < scores[2] == 1


def test_only_the_first_batches_are_drawn_and_what_is_predicted_is_handed_on(batch: Batch, tmp_path: Path) -> None:
    found = crowd(30)
    predict = Pictured(lambda batch: [found, found], tmp_path, spots().spec.schema)
    for _ in range(BATCHES + 2):
        assert predict(batch)[0] is found
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"val_batch{n}_{kind}.jpg" for n in range(BATCHES) for kind in ("labels", "pred")}


def test_a_picture_shows_the_likely_people_and_not_all_of_a_crowd() -> None:
    assert len(likely(crowd(30))) == CROWD
    assert len(likely(crowd(30, score=0.1))) == 0


def crowd(count: int, score: float = 0.9) -> Poses:
    boxes = np.tile(np.array([10.0, 10.0, 60.0, 90.0], np.float32), (count, 1))
    points = np.full((count, KEYPOINTS, 2), 40, np.float32)
    sure = np.full((count, KEYPOINTS), 0.9, np.float32)
    return Poses(boxes, np.full(count, score, np.float32), np.zeros(count, np.int64), points, sure)
