"""The batch that fits: the line through what was measured, and never more than was seen to fail."""

from pathlib import Path

import pytest
import torch

from tests.training.small import QUICK, spots
from utils.training.autobatch import TRIED, batch_that_fits, fitting_batch_size, grey, measured
from utils.training.learner import Learner
from utils.training.ranks import Ranks

GB = 10**9


def test_the_line_through_the_measurements_meets_the_room() -> None:
    used = {size: 2 * GB + size * GB for size in TRIED}
    assert batch_that_fits(used, 42.5 * GB) == 40


def test_a_batch_that_failed_is_not_believed_to_fit() -> None:
    used = measured(lambda size: failing_from(size, 8))
    assert list(used) == [1, 2, 4]
    assert batch_that_fits(used, 100 * GB) == 7


def failing_from(size: int, limit: int) -> int:
    if size >= limit:
        raise torch.OutOfMemoryError
    return size * GB


def test_a_gpu_without_room_for_one_image_is_told() -> None:
    with pytest.raises(ValueError, match="not even one image fits on this GPU"):
        measured(lambda size: failing_from(size, 1))
    assert batch_that_fits({1: 5 * GB}, 6 * GB) == 1


def test_without_a_gpu_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--batch-size -1: found the device cpu; what fits can only be measured"):
        fitting_batch_size(spots(), QUICK, torch.device("cpu"))


def test_the_grey_batch_can_be_learned_from() -> None:
    model = spots()
    learner = Learner(model, QUICK, device=torch.device("cpu"), steps_per_epoch=4, ranks=Ranks(alone=True))
    learner.start_epoch()
    learner.learn(grey(model, 3), 0)
    assert learner.mean_losses()["total"] > 0
