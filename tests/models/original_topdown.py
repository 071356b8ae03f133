"""The numbers of the original top-down projects, and our networks with the weights that they were recorded with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models import families
from models.build import read_model_yaml, renamed
from tests.models.original import load_module
from utils.core.contract import PoseModel
from utils.core.geometry import inverse, move_points, person_crop
from utils.core.poses import Candidates, Targets
from utils.core.tta import View

SIZE = (256, 192)


class Original:
    """The public fixtures, and the recipe for weights and images."""

    def __init__(self, shared: Path) -> None:
        self.folder = shared / "fixtures" / "topdown" / "public"
        self.recipe = load_module(self.folder.parent / "fill_weights.py")

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())

    def arrays(self, name: str) -> Mapping[str, np.ndarray]:
        return np.load(self.folder / f"{name}.npz")

    def model(self, family: str, name: str, yaml: str, **head: Any) -> PoseModel:
        """Our w32 network with the recipe's weights, which come under the published names."""
        spec = read_model_yaml(yaml)
        model = families.find(family)(replace(spec, head={**spec.head, **head}))
        rows = self.recipe.load_spec(self.folder / "state_dict_w32.json", name)
        weights = {key: torch.from_numpy(np.array(value)) for key, value in self.recipe.fill_all(rows).items()}
        model.load_state_dict(renamed(weights, type(model)))
        return model.eval()

    def crops(self, numbers: Sequence[int], size: tuple[int, int] = SIZE) -> torch.Tensor:
        """The recipe's images as networks take them: (B, 3, H, W) in 0..1."""
        made = np.stack([self.recipe.synthetic_crop(n, *size) for n in numbers])
        return torch.from_numpy(made).permute(0, 3, 1, 2).float() / 255

    def fill(self, module: nn.Module, rows: Sequence[tuple[str, list[int]]], prefix: str, ours: Any) -> None:
        """The recipe's weights for a block; `ours` turns a published name into ours."""
        found = {ours(n): torch.from_numpy(self.recipe.fill_tensor(prefix + n, s)) for n, s in rows if n != "mask"}
        module.load_state_dict(found)


def small(family: str, *, size: tuple[int, int] = SIZE, gains: Mapping[str, Any] | None = None, **head: Any) -> Any:
    """The family's smallest network for crops of another size: what is asked of it needs no weights."""
    prefix = {"pose_hrnet": "hrnet"}.get(family, family)
    spec = read_model_yaml(f"{prefix}_w8_128x96.yaml")
    return families.find(family)(
        replace(spec, input_size=size, head={**spec.head, **head}, gains=dict(gains or {}))
    ).eval()


def targets_of(joints: Sequence[np.ndarray], visible: Sequence[np.ndarray]) -> Targets:
    """One person in each crop, from rows of x, y, z and their visibility thrice."""
    count = len(joints)
    return Targets(
        image_index=torch.arange(count),
        boxes=torch.zeros(count, 4),
        keypoints=torch.from_numpy(np.stack(joints)[..., :2]).float(),
        visibility=torch.from_numpy(np.stack(visible)[..., 0]).float(),
        areas=torch.ones(count),
        classes=torch.zeros(count, dtype=torch.int64),
    )


def drawn(row: Mapping[str, Any]) -> torch.Tensor:
    """A recorded random tensor."""
    values = np.random.RandomState(row["seed"]).standard_normal(row["shape"]) * row["scale"]
    return torch.from_numpy(values.astype(np.float32))


def in_image(candidates: Candidates, boxes: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Keypoints in pixels of the image, of crops whose boxes are given as centre and sides over 200."""
    return np.stack(
        [
            move_points(points[0], inverse(person_crop(box[:2], box[2:] * 200, size))).numpy()
            for points, box in zip(candidates.keypoints, boxes, strict=False)
        ]
    )


def flip_tested(model: PoseModel, images: torch.Tensor) -> Candidates:
    """The images and their mirror images, averaged."""
    view = View(flip="horizontal").of(images)
    with torch.no_grad():
        return model.decode([model(images), model(view.apply(images, model.stride))], [View(), view])
