"""The original YOLO-Pose networks of the fixtures, rebuilt: same weights, inputs and targets, in our terms."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from models import families
from models.build import read_model_yaml, renamed
from models.graph import scaled
from utils.core.config import find, read_yaml
from utils.core.contract import PoseModel, read_rows
from utils.core.geometry import cxcywh_to_xyxy
from utils.core.poses import Targets


class Original:
    """One variant of the fixtures: tiny_s6 (width 0.125) or full_s6."""

    def __init__(self, shared: Path, variant: str) -> None:
        self.folder = shared / "fixtures" / "yolo_pose"
        self.variant = variant
        self.recipe = load_module(self.folder / "recipe.py")
        self.facts = json.loads((self.folder / "public" / f"{variant}.json").read_text())
        self.arrays = np.load(self.folder / "public" / f"{variant}.npz")
        self.statistics = np.load(self.folder / "public" / f"bn_stats_{variant}.npz")

    def model(self, *, input_size: int = 640, **gains: Any) -> PoseModel:
        """Our network with the original's weights."""
        name = f"{self.facts['yaml']}.yaml"
        values = read_yaml(find(name))
        width = self.facts["cfg"]["width_multiple"]
        rows = scaled(read_rows(values["rows"], name), depth=0.33, width=width, activation="silu")
        spec = replace(read_model_yaml(name), rows=rows, input_size=(input_size, input_size), gains=gains)
        spec = replace(spec, head={**spec.head, "layout": "published"})
        model = families.find("yolo_pose")(spec)
        model.load_state_dict(renamed(self.published_weights(), type(model)))
        return model.eval()

    def published_weights(self) -> dict[str, torch.Tensor]:
        """The recipe's weights under the published names, in the published order."""
        weights = {}
        for name, shape, _ in self.facts["state_dict"]:
            value = self.recipe.weight(name, shape)
            if value is None and name in self.statistics:
                value = self.statistics[name]
            weights[name] = torch.zeros(shape) if value is None else torch.from_numpy(np.array(value))
        return weights

    def images(self, height: int, width: int, count: int) -> torch.Tensor:
        return torch.from_numpy(self.recipe.batch(height, width, count))

    def targets(self, case: str, height: int, width: int) -> Targets:
        return targets_from_rows(self.arrays[f"targets_{case}_{height}x{width}"], height, width)


def targets_from_rows(rows: np.ndarray, height: int, width: int) -> Targets:
    """Label rows [image, class, cx, cy, w, h, x, y, ...] in 0..1; a keypoint with x = 0 is not labelled."""
    rows = torch.from_numpy(np.asarray(rows, np.float32))
    keypoints = rows[:, 6:].unflatten(-1, (-1, 2))  # (N, K, 2)
    boxes = cxcywh_to_xyxy(rows[:, 2:6]) * torch.tensor([width, height, width, height])
    return Targets(
        image_index=rows[:, 0].long(),
        boxes=boxes,
        keypoints=keypoints * torch.tensor([width, height]),
        visibility=2.0 * (keypoints[..., 0] != 0),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(-1),
        classes=rows[:, 1].long(),
    )


def original_rows(model: PoseModel, raw: torch.Tensor) -> torch.Tensor:
    """Our raw map in the original's order: (B, anchors, rows, columns, slots)."""
    return model.slots(raw).permute(0, 1, 3, 4, 2)


def load_module(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
