"""A small model that finds about twenty people on its pictures, no two with nearly equal scores."""

import functools

import numpy as np
import onnxruntime
import torch

from models import families
from models.layers import fused
from tests.rounding import assert_near
from tests.test_contract import SIDE, Case, briefly_trained, images, spec_of
from utils.core.contract import PoseModel
from utils.core.poses import Poses
from utils.core.tta import View
from utils.export.layout import Export, poses_of
from utils.export.onnx import finished, to_onnx

EXPORT = Export((SIDE, SIDE))


def pictures(count: int = 3) -> torch.Tensor:
    """Images in 0..1 that differ from the one that a graph is traced with, and from one another."""
    return torch.cat([images().roll(7 * shift, 3) for shift in range(1, count // 2 + 2)])[:count]


@functools.cache
def model(keypoints: int = 17, classes: tuple[str, ...] = ("person",)) -> PoseModel:
    torch.manual_seed(0)
    case = Case(keypoints, classes)
    taught = briefly_trained(families.find("yolo_pose")(spec_of("yolo_pose", case)), case)
    with torch.no_grad():
        scores = taught.decode([taught(pictures())], [View()]).scores.amax(-1).flatten().sort(descending=True).values
    threshold = scores[59:61].mean().item()
    few = families.find("yolo_pose")(taught.spec.with_settings(select={"conf": threshold, "max_poses": 40}))
    few.load_state_dict(taught.state_dict())
    return fused(few)


def found(model: PoseModel, inputs: torch.Tensor) -> list[Poses]:
    with torch.no_grad():
        return model.select(model.decode([model(inputs)], [View()]))


def file_of(model: PoseModel, export: Export) -> bytes:
    return finished(to_onnx(model, export), model, export, {"command": "test"})


def run(file: bytes, inputs: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": inputs.numpy()})


def assert_same(rows: np.ndarray, expected: Poses, *, pixels: float = 0.05, score: float = 1e-4) -> None:
    """Rows of a file and the people of the model, in the same order."""
    ours = poses_of(torch.from_numpy(np.array(rows)))
    assert len(ours) == len(expected) > 0
    assert_near(ours.boxes, expected.boxes, pixels=pixels, side=SIDE)
    assert_near(ours.keypoints, expected.keypoints, pixels=pixels, side=SIDE)
    torch.testing.assert_close(ours.scores, expected.scores, atol=score, rtol=0)
    torch.testing.assert_close(ours.keypoint_scores, expected.keypoint_scores, atol=score, rtol=0)
    assert ours.classes.tolist() == expected.classes.tolist()
