"""The original KAPAO networks of the fixtures, rebuilt: same weights, inputs and targets, in our terms."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import families
from models.build import read_model_yaml, renamed
from models.graph import scaled
from tests.models.original import load_module
from utils.core.config import find, read_yaml
from utils.core.contract import ModelSpec, PoseModel, read_rows
from utils.core.geometry import chain, cxcywh_to_xyxy, inverse, scaling, translation
from utils.core.poses import Candidates, Origin, Poses, Targets
from utils.core.schema import KeypointSchema
from utils.core.tta import View

DATA = {"coco": "coco_kpts.yaml", "crowdpose": "crowdpose.yaml"}
WIDTHS = {"tiny": 0.125, "s": 0.5}
# conf, iou, conf_kp, iou_kp, conf_kp_person, tolerance of the recorded selections
SETS = {
    "val_default": (0.001, 0.65, 0.2, 0.25, 0.3, 50),
    "train_val": (0.01, 0.65, 0.2, 0.25, 0.3, 50),
    "video_default": (0.5, 0.45, 0.5, 0.45, 0.2, 50),
    "image_default": (0.7, 0.45, 0.5, 0.45, 0.2, 25),
    "low_split": (0.02, 0.65, 0.05, 0.25, 0.03, 12),
    "low_combined": (0.02, 0.45, 0.05, 0.45, 0.05, 25),
    "no_kp": (0.05, 0.45, 0.05, 0.45, 0.05, 25),
}
NAMES = ("conf", "iou", "conf_thres_kp", "iou_thres_kp", "conf_thres_kp_person", "overwrite_tol")


def selection(name: str) -> dict[str, Any]:
    return dict(zip(NAMES, SETS[name], strict=True)) | ({"no_kp_dets": True} if name == "no_kp" else {})


class OriginalKapao:
    """One variant of the fixtures: tiny or s, for COCO or CrowdPose."""

    def __init__(self, shared: Path, variant: str, data: str) -> None:
        self.public = shared / "fixtures" / "kapao" / "public"
        self.variant, self.data = variant, data
        self.recipe = load_module(shared / "fixtures" / "kapao" / "recipe.py")
        self.facts = json.loads((self.public / f"state_{variant}_{data}.json").read_text())
        self.schema = KeypointSchema.read(DATA[data])

    @property
    def kinds(self) -> int:
        return 1 + self.schema.count

    def spec(self, *, input_size: int = 1280) -> ModelSpec:
        values = read_yaml(find("kapao_s.yaml"))
        rows = read_rows(values["rows"], "kapao_s.yaml")
        rows = scaled(rows, depth=0.33, width=WIDTHS[self.variant], activation="silu")
        spec = read_model_yaml("kapao_s.yaml", self.schema, ("person",))
        return replace(spec, rows=rows, input_size=(input_size, input_size))

    def model(self, *, input_size: int = 1280, select: dict[str, Any] | None = None, **gains: Any) -> PoseModel:
        """Our network with the original's weights."""
        family = families.find("kapao")
        model = family(self.spec(input_size=input_size).with_settings(select=select, gains=gains))
        model.load_state_dict(renamed(self.published_weights(), family))
        return model.eval()

    def published_weights(self) -> dict[str, torch.Tensor]:
        """The recipe's weights under the published names, in the published order."""
        weights = {}
        for name, shape, _ in self.facts["state_dict"]:
            value = self.recipe.tensor_value(name, shape, self.kinds, 2 * self.schema.count)
            weights[name] = torch.zeros(shape) if value is None else torch.from_numpy(value)
        return weights

    def images(self, height: int, width: int, count: int) -> torch.Tensor:
        return torch.from_numpy(self.recipe.batch([f"public/{i}" for i in range(count)], height, width))

    def arrays(self, name: str) -> Any:
        return np.load(self.public / name)


def objects_from_rows(rows: np.ndarray, height: int, width: int) -> Targets:
    """Published label rows [image, class, cx, cy, w, h, x, y, v, ...] in 0..1, people and keypoint objects alike."""
    rows = torch.from_numpy(np.asarray(rows, np.float32))
    points = rows[:, 6:].unflatten(-1, (-1, 3))  # (N, K, 3)
    boxes = cxcywh_to_xyxy(rows[:, 2:6]) * torch.tensor([width, height, width, height])
    return Targets(
        image_index=rows[:, 0].long(),
        boxes=boxes,
        keypoints=points[..., :2] * torch.tensor([width, height]),
        visibility=points[..., 2],
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(-1),
        classes=rows[:, 1].long(),
    )


def original_candidates(decoded: np.ndarray, kinds: int, origins: tuple[Origin, ...] = ()) -> Candidates:
    """The original's decoded rows cx, cy, w, h, objectness, kinds, keypoints as Candidates."""
    rows = torch.from_numpy(decoded).float()
    scores = rows[..., 4:5] * rows[..., 5 : 5 + kinds]
    keypoints = rows[..., 5 + kinds :].unflatten(-1, (-1, 2))
    own = scores[..., :1].expand(*keypoints.shape[:-1])
    return Candidates(cxcywh_to_xyxy(rows[..., :4]), scores, keypoints, own, origins)


def original_origin(original: tuple[int, int], network: tuple[int, int]) -> Origin:
    """The original's way between images: the ideal scale and padding, not what happened to the pixels."""
    gain = min(network[0] / original[0], network[1] / original[1])
    pad = ((network[1] - original[1] * gain) / 2, (network[0] - original[0] * gain) / 2)
    return Origin(0, "image", original, chain(scaling(gain, gain), translation(*pad)))


def with_first_two_on_the_image(candidates: Candidates) -> Candidates:
    """The original's clipping reaches into the keypoints: the first two of a pose never leave the image."""
    keypoints = candidates.keypoints.clone()
    for i, origin in enumerate(candidates.origins):
        height, width = origin.size
        back = torch.tensor(inverse(origin.to_input), dtype=torch.float32)
        there = torch.tensor(origin.to_input, dtype=torch.float32)
        first = keypoints[i, :, :2] @ back[:2, :2].T + back[:2, 2]
        first = torch.minimum(first.clamp(min=0), torch.tensor([width, height]))
        keypoints[i, :, :2] = first @ there[:2, :2].T + there[:2, 2]
    return replace(candidates, keypoints=keypoints)


def original_poses(poses: Poses) -> np.ndarray:
    """Keypoints as the original gives them: x, y, and the score of the keypoint object, 0 where there is none."""
    scores = torch.where(poses.fused, poses.keypoint_scores, 0)
    return torch.cat((poses.keypoints, scores[..., None]), -1).numpy()


def published_scale(
    candidates: Candidates, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]
) -> Candidates:
    """The original divides by the scale that was asked for, we by the one that whole pixels allowed."""
    counts = [sum(level.shape[-2] * level.shape[-1] * 3 for level in raw) for raw in raws]
    exact = [[int(side * view.scale) / (side * view.scale) for side in view.size[::-1]] for view in views]
    factor = torch.tensor(np.repeat(exact, counts, 0)).float()  # (A, 2)
    return replace(
        candidates, boxes=candidates.boxes * factor.repeat(1, 2), keypoints=candidates.keypoints * factor[:, None]
    )


def assert_decoded(candidates: Candidates, decoded: np.ndarray, kinds: int, pixels: float = 0.05) -> None:
    """To 1e-4 of the largest value, as YOLO-Pose, and coordinates to parts of a pixel: they reach thousands."""
    expected = original_candidates(decoded, kinds)
    for name in ("boxes", "keypoints", "scores"):
        wanted = getattr(expected, name)
        limit = min(1e-4 * wanted.abs().max().item(), pixels)
        torch.testing.assert_close(getattr(candidates, name), wanted, atol=limit, rtol=0)


def assert_detections(found: Poses, expected: np.ndarray, first_class: int) -> None:
    """Rows x1, y1, x2, y2, score, class and perhaps keypoints, in the pixels of the network."""
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-2)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-6)
    np.testing.assert_array_equal(found.classes + first_class, expected[:, 5])
