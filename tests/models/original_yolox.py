"""The original YOLOX-Pose networks of the fixtures, rebuilt: same weights, inputs and targets, in our terms."""

import json
from pathlib import Path

import numpy as np
import torch

from models.build import renamed
from models.families.yolox_pose import Gains, Model
from models.yolox_published import recognise_yolox
from tests.models.original import load_module
from utils.core.config import find, read_yaml
from utils.core.poses import Targets
from utils.core.published import Published

RECIPES = {
    "project": "hyp.yolox_pose_project.yaml",
    "mmyolo": "hyp.yolox_pose.yaml",
    "core": "hyp.yolox_pose_core.yaml",
    "edgeai": "hyp.yolox_pose_ti.yaml",
}


class Originals:
    """All of a folder of fixtures."""

    def __init__(self, shared: Path) -> None:
        self.folder = shared / "fixtures" / "yolox_pose" / "public"
        self.recipe = load_module(self.folder.parent / "recipe.py")

    def facts(self, name: str) -> dict:
        return json.loads((self.folder / f"{name}.json").read_text())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / f"{name}.npz"))

    def shapes(self, layout: str, size: str) -> dict[str, list[int]]:
        return self.facts(f"shapes_{layout}_{size}")

    def state(self, layout: str, size: str) -> dict[str, torch.Tensor]:
        statistics = self.arrays(f"bn_stats_{layout}_{size}")
        filled = self.recipe.fill_state_dict(self.shapes(layout, size), statistics)
        return {name: torch.from_numpy(np.asarray(values)) for name, values in filled.items()}

    def model(self, layout: str, size: str, **select: float) -> Model:
        """The network that its own state dict asks for, with the loss of the recipe that taught it."""
        state = self.state(layout, size)
        spec = recognise_yolox(Published(f"{layout} {size}", {"state_dict": state}))
        assert spec is not None
        model = Model(spec.with_settings(gains=gains_of(layout), select=select))
        model.load_state_dict(renamed(state, Model))
        return model.eval()

    def images(self, seed: int, count: int, height: int, width: int) -> torch.Tensor:
        """As our networks take them: the original's are 0..255 with blue first."""
        return torch.from_numpy(self.recipe.make_input(seed, count, height, width)).flip(1) / 255

    def targets(self, seed: int, height: int, width: int, counts: list[int]) -> Targets:
        return targets_of(self.recipe.make_targets(seed, height, width, counts))


def gains_of(layout: str) -> dict:
    values = read_yaml(find(RECIPES[layout]))
    return {name: value for name, value in values.items() if name in Gains.__dataclass_fields__}


def targets_of(images: list[dict[str, np.ndarray]]) -> Targets:
    """The original's persons, image by image."""
    index = np.repeat(np.arange(len(images)), [len(image["bboxes"]) for image in images])
    joined = {key: torch.from_numpy(np.concatenate([image[key] for image in images])) for key in images[0]}
    return Targets(
        image_index=torch.from_numpy(index),
        boxes=joined["bboxes"],
        keypoints=joined["keypoints"],
        visibility=joined["keypoints_visible"] * 2,
        areas=joined["areas"],
        classes=joined["labels"],
    )


def assert_close(found: torch.Tensor, expected: np.ndarray, relative: float) -> None:
    """The largest difference, measured against the largest value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float32)
    assert found.shape == expected.shape
    difference = (found.detach() - expected).abs().max() / expected.abs().max()
    assert difference <= relative, f"{difference:.2e} of the largest value; allowed {relative:.0e}"
