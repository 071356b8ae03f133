"""Every family learns four drawn images by heart: the whole path from files to AP works.

A new family is tested here without a word being added.
"""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import train as door
from models import families
from models.build import read_model_yaml
from tests.test_contract import smallest_yaml
from utils.core.config import find, read_yaml, to_yaml
from utils.data.drawing.files import write_split
from utils.data.people import SceneSettings, draw
from utils.training.log import read_results

SIDE = 128
RECIPE = {
    "optimizer": "AdamW", "lr0": 0.004, "lrf": 0.02, "momentum": 0.9, "weight_decay": 0.0, "timing": "step",
    "warmup_epochs": 1.0, "warmup_least": 10, "warmup_bias_lr": 0.004, "nominal_batch": 4, "clip": 10.0,
    "ema_decay": 0.9, "ema_ramp": 20.0, "evaluate_every": 0, "checkpoints": "end",
}  # fmt: skip
# For families that have them: keypoints that are still far off keep a gradient, precision counts.
HELPS = {"kpt_sharpness": 1.0, "kpt_tail": 0.3, "kpt": 0.3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.mark.parametrize("family", families.names())
def test_four_drawn_images_are_learned_by_heart(
    family: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = smallest_yaml(family)
    known = {field.name for field in fields(families.find(family).gains_type)}
    recipe = RECIPE | {key: value for key, value in HELPS.items() if key in known}
    (tmp_path / "hyp.yaml").write_text(to_yaml(recipe))
    size = ("--img", str(SIDE)) if read_model_yaml(yaml).view == "image" else ("--img", "128", "96")
    words = ("--cfg", yaml, "--data", data, *size, "--epochs", 240, "--batch-size", 4, "--workers", 0, "--device",
             "cpu", "--hyp", tmp_path / "hyp.yaml", "--project", tmp_path, "--noautoanchor")  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small maps: more threads only wait for each other
    door.main()
    torch.set_num_threads(threads)
    rows = read_results(tmp_path / "exp" / "results.csv")
    assert rows[-1]["metrics/AP"] >= 0.95
    assert rows[-1]["train/total"] < 0.5 * rows[0]["train/total"]
