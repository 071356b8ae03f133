"""Another size for each batch: whole strides, and persons that stay on their pixels."""

import numpy as np
import torch

from tests.training.small import Drawn
from utils.core.images import to_unit
from utils.training.multiscale import draw_side, rescaled


def test_sides_are_whole_strides_between_the_two_shares_and_all_of_them_come_up() -> None:
    rng = np.random.default_rng(0)
    sides = {draw_side(640, (0.5, 1.5), 64, rng) for _ in range(500)}
    assert sides == set(range(320, 961, 64))


def test_a_person_stays_on_its_pixels_when_the_batch_is_halved() -> None:
    batch = Drawn().batch(0, 0)
    images, targets = rescaled(to_unit(batch.images), batch.targets, 64, 32)
    assert images.shape[-2:] == (64, 64)
    torch.testing.assert_close(targets.keypoints, batch.targets.keypoints / 2)
    torch.testing.assert_close(targets.boxes, batch.targets.boxes / 2)
    torch.testing.assert_close(targets.areas, batch.targets.areas / 4)
    x, y = targets.keypoints[0, 0].int().tolist()  # the first joint is a red spot
    assert images[0, 0, y, x] > 0.8 and images[0, 1, y, x] < 0.4


def test_a_flat_batch_keeps_whole_strides_and_each_axis_its_own_factor() -> None:
    batch = Drawn().batch(0, 0)
    images, targets = rescaled(to_unit(batch.images)[:, :, :96], batch.targets, 160, 32)
    assert images.shape[-2:] == (128, 160)
    factors = torch.tensor([160 / 128, 128 / 96])
    torch.testing.assert_close(targets.keypoints, batch.targets.keypoints * factors)


def test_the_same_size_changes_nothing() -> None:
    batch = Drawn().batch(0, 0)
    images = to_unit(batch.images)
    same, targets = rescaled(images, batch.targets, 128, 32)
    assert same is images and targets is batch.targets
