"""Every family learns four drawn images by heart: the whole path from files to AP.

A new family is tested here without a word being added.
"""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import train as door
from models import families
from tests.test_contract import smallest_yaml
from utils.core.config import find, read_yaml, to_yaml
from utils.data.drawing.files import write_split
from utils.data.people import SceneSettings, draw
from utils.training.log import read_results
from utils.training.settings import TrainSettings

SIDE = 128
BY_HEART = {
    "optimizer": "AdamW", "lr0": 0.004, "lrf": 0.06, "momentum": 0.9, "weight_decay": 0.0, "timing": "step",
    "warmup_epochs": 1.0, "warmup_least": 10, "warmup_bias_lr": 0.004, "warmup_momentum": 0.9, "nominal_batch": 4,
    "ema_decay": 0.9, "ema_ramp": 20.0, "evaluate_every": 0, "checkpoints": "end",
    "flat_epochs": 120, "rest_epochs": 120,  # in maps of 2 x 2 pixels a batch's statistics differ from evaluation's
}  # fmt: skip
# The loss of a family; those that are not here learn by their defaults. With anchors: nearly what hyp.people.yaml has.
ANCHORS = {"kpt_sharpness": 1.0, "kpt_tail": 0.5, "kpt": 0.5, "obj": 4.0, "obj_kpt": 0.5, "heat": 10.0}
HELPS: dict[str, dict[str, Any]] = {
    "yolo_pose": ANCHORS | {"box": 0.3, "obj": 16.0}, "kapao": ANCHORS,
    "yolox_pose": {"gradients": "mean", "kpt_tail": 0.5, "heat": 10.0},
}  # fmt: skip


@pytest.fixture
def learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """train.py in this process, on one thread: small maps, for which more threads only wait for each other."""

    def run(recipe: dict[str, Any], *words: object) -> list[dict[str, float]]:
        (tmp_path / "hyp.yaml").write_text(to_yaml(recipe))
        common = ("--workers", 0, "--device", "cpu", "--hyp", tmp_path / "hyp.yaml", "--project", tmp_path)
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, (*words, *common))])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        door.main()
        torch.set_num_threads(threads)
        return read_results(tmp_path / "exp" / "results.csv")

    return run


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with one large person each, for learning and for judging."""
    folder = tmp_path_factory.mktemp("four")
    settings = SceneSettings((SIDE, SIDE), "person", "easy")
    scenes = [draw(5, number, settings) for number in range(40)]
    chosen = [scene for scene in scenes if len(scene.boxes) == 1 and np.ptp(scene.boxes[0, 1::2]) > 60][:4]
    assert len(chosen) == 4
    write_split(folder, split="train", scenes=iter(chosen), figure="person")
    split = {"images": "train", "annotations": "train.json"}
    own = {key: value for key, value in read_yaml(find("people.yaml")).items() if key not in ("path", "fetch")}
    (folder / "four.yaml").write_text(to_yaml(own | {"train": split, "val": split}))
    return folder / "four.yaml"


# Steps until a family knows four pictures by heart; those that are not here have not been brought to it yet.
STEPS = {"yolo_pose": 270, "kapao": 600, "yolox_pose": 400}


@pytest.mark.slow
@pytest.mark.parametrize("family", STEPS)
def test_four_drawn_images_are_learned_by_heart(family: str, four: Path, learn: Any) -> None:
    known = {field.name for kind in (families.find(family).gains_type, TrainSettings) for field in fields(kind)}
    recipe = BY_HEART | {key: value for key, value in HELPS.get(family, {}).items() if key in known}
    words = ("--cfg", smallest_yaml(family), "--data", four, "--img", SIDE, "--epochs", STEPS[family])
    rows = learn(recipe, *words, "--batch-size", 4)
    assert rows[-1]["metrics/AP"] >= 0.95
    assert rows[-1]["train/total"] < 0.5 * rows[0]["train/total"]
