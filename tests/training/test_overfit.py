"""YOLO-Pose learns four drawn people by heart: the whole path from pixels to keypoints works."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import families
from tests.training.small import QUICK, Drawn, tiny_model, trainer
from utils.core.contract import PoseModel
from utils.core.images import to_unit
from utils.core.poses import Batch
from utils.core.tta import View

PIXELS = 6  # of 128


class SameFour(Drawn):
    def batch(self, epoch: int, index: int) -> Batch:
        return super().batch(0, 0)


def found_by_heart(model: PoseModel, batch: Batch) -> Mapping[str, float]:
    """As AP the share of people who are found alone in their image, every keypoint within a few pixels."""
    selecting = families.find("yolo_pose")(model.spec.with_settings(select={"conf": 0.3})).eval()
    selecting.load_state_dict(model.state_dict())
    with torch.no_grad():
        poses = selecting.select(selecting.decode([selecting(to_unit(batch.images))], [View()]))
    pairs = zip(poses, batch.targets.keypoints, strict=True)
    lost = torch.full((1,), 99.0)
    off = [(found.keypoints[0] - goal).norm(dim=-1) if len(found) == 1 else lost for found, goal in pairs]
    return {"AP": sum(float(one.max() < PIXELS) for one in off) / len(off), "off": torch.cat(off).mean().item()}


def test_four_people_are_learned_to_within_a_few_pixels(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small maps: more threads only wait for each other
    four = SameFour(batches=20, batch_size=4)
    model = tiny_model(sigma=0.08, kpt_tail=0.3)  # far-off keypoints keep a gradient
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3  # the statistics keep up with so few steps
    settings = replace(
        QUICK, epochs=14, batch_size=4, nominal_batch=4, optimizer="Adam", lr0=0.005, lrf=0.1, momentum=0.9,
        timing="step", warmup_bias_lr=0.005, ema_decay=0.9, ema_ramp=20.0, look_every=50,
    )  # fmt: skip
    run = trainer(
        tmp_path, settings, model=model, loader=four, evaluate=lambda model: found_by_heart(model, four.batch(0, 0))
    )
    outcome = run.fit()
    torch.set_num_threads(threads)
    assert outcome.best == pytest.approx(1.0)
    assert run.run.rows[outcome.best_epoch]["metrics/off"] < PIXELS / 2
    assert run.run.rows[-1]["train/total"] < 0.1 * run.run.rows[0]["train/total"]
