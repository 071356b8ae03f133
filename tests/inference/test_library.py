"""The example in README.md, as somebody would paste it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load, save
from utils.core import images
from utils.core.config import ROOT


def test_the_example_in_the_readme_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## From Python\n.*?```python\n(.*?)```", text, re.DOTALL)
    assert block
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    save("best.safetensors", load("yolov5n6_kpts.yaml"), made={})
    images.write("a.jpg", np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))
    names: dict[str, object] = {}
    exec(block.group(1).replace("conf=0.3", "conf=0.0, max_poses=4, size=(64, 64)"), names)
    poses = names["poses"]
    assert isinstance(poses.boxes, np.ndarray) and poses.keypoints.shape == (4, 17, 2)
    assert len(json.loads(poses.to_json())) == 4 == len(poses.to_coco(image_id=1))
    assert (images.read("drawn.jpg") != images.read("a.jpg")).any()
