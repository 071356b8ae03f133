"""Real photographs with real annotations go all the way: read, loaded, augmented, and learned from for an epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load
from utils.data.annotations import DataSpec
from utils.data.loader import Loading, training_loader
from utils.data.recipe import Augment

SIDE = 192


@pytest.mark.parametrize(
    ("folder", "split", "images", "keypoints"),
    [
        ("coco_people", "train", 28, 17),
        ("crowdpose_sample", "test", 2, 14),
        pytest.param("lsp_sports", "train", 300, 14, marks=pytest.mark.slow),
    ],
)
def test_a_real_set_trains_for_one_epoch(shared: Path, folder: str, split: str, images: int, keypoints: int) -> None:
    data = DataSpec.read(shared / "data" / folder)
    records = data.records(split)
    assert len(records) == images and data.schema.count == keypoints
    torch.manual_seed(0)
    recipe = {"kpt": 0.3, "kpt_sharpness": 1.0, "kpt_tail": 0.5}  # the published keypoint term hardly falls at first
    model = load("yolov5n6_kpts.yaml", schema=data.schema, classes=data.classes, recipe=recipe).train()
    assert model.spec.schema == data.schema
    spec = replace(model.spec, input_size=(SIDE, SIDE))
    loader = training_loader(records, spec, Augment(), Loading(batch_size=4, workers=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    losses, seen = [], 0
    for batch in loader.epoch(0):
        terms = model.loss(model(batch.images.float() / 255), batch.targets, progress=0.0)
        total = torch.stack(list(terms.values())).sum()
        assert torch.isfinite(total), [origin.path for origin in batch.origins]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
        seen += len(batch.images)
    assert seen == images and loader.damaged_count == 0
    third = max(len(losses) // 3, 1)
    assert len(losses) < 3 or np.mean(losses[-third:]) < np.mean(losses[:third])
