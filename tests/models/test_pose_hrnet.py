"""Heat maps in their three codings: what is drawn is read off again, between the cells and in the mirror."""

import numpy as np
import pytest
import torch

from tests.models.original_topdown import small, targets_of
from utils.core.tta import View

COUNT, HEIGHT, WIDTH = 17, 256, 192
# Pixels of the crop: published bells stand on whole cells of four pixels, the others where the keypoint is.
EXACT = {"published": 2.0, "dark": 0.1, "unbiased": 0.1}


def drawn(model, points: np.ndarray) -> torch.Tensor:
    """Maps as a perfect network gives them for keypoints (K, 2)."""
    joints = np.concatenate((points, np.zeros((COUNT, 1))), 1)
    maps, weight = model.rendered(targets_of([joints], [np.ones((COUNT, 3))]), torch.zeros(1, COUNT, 64, 48))
    assert weight.all()
    return maps


@pytest.mark.parametrize("coding", EXACT)
def test_what_is_drawn_is_read_off_again_also_in_the_mirror(coding: str) -> None:
    model = small("pose_hrnet", coding=coding)
    points = np.random.default_rng(0).uniform((40, 40), (150, 210), (COUNT, 2))
    maps = drawn(model, points)
    found = model.decode([maps], [View()]).keypoints[0, 0].numpy()
    assert np.abs(found - points).max() < EXACT[coding]
    mirrored = np.stack((WIDTH - 1 - points[:, 0], points[:, 1]), 1)[list(model.spec.schema.swap)]
    views = [View(), View(flip="horizontal").of(torch.zeros(1, 3, HEIGHT, WIDTH))]
    both = model.decode([maps, drawn(model, mirrored)], views).keypoints[0, 0].numpy()
    # A cell is shifted where the crop's mirror image is three quarters of one away: half a pixel on average.
    assert np.abs(both - points).max() < EXACT[coding] + (0 if coding == "unbiased" else 0.6)


def test_a_map_of_one_value_stays_where_it_is() -> None:
    for coding in EXACT:
        found = small("pose_hrnet", coding=coding).decode([torch.ones(1, COUNT, 64, 48)], [View()])
        assert torch.isfinite(found.keypoints).all() and found.keypoints.abs().max() == 0
