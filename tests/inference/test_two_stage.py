"""Two stages: any detector, then a look at each person."""

import json

import numpy as np
import pytest
import torch

from models import families
from models.build import load, read_model_yaml
from tests.test_contract import schema_of
from utils.core import images as pixels
from utils.core.contract import PoseModel
from utils.core.nms import Rivals
from utils.core.poses import Poses
from utils.inference.predictor import OneStage
from utils.inference.two_stage import TwoStage

EVERYBODY = Rivals(above=2.0)


class Told(OneStage):
    """A detector that is told what it finds."""

    def __init__(self, model: PoseModel, found: list[Poses], batch_size: int = 8) -> None:
        super().__init__(model, size=(64, 64), batch_size=batch_size)
        self.found = found

    def __call__(self, images):
        taken, self.found = self.found[: len(images)], self.found[len(images) :]
        return taken


def boxes_found(boxes: list[list[float]], scores: list[float] | None = None, kinds: list[int] | None = None) -> Poses:
    count = len(boxes)
    return Poses(
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        scores=np.array(scores or [0.9] * count, np.float32),
        classes=np.array(kinds or [0] * count, np.int64),
        keypoints=np.zeros((count, 0, 2), np.float32),
        keypoint_scores=np.zeros((count, 0), np.float32),
    )


def detector_of(keypoints: int = 0, classes: tuple[str, ...] = ("person",), **select: float) -> PoseModel:
    spec = read_model_yaml("yolov5n6_kpts.yaml", schema_of(keypoints), classes).with_settings(select=select)
    torch.manual_seed(0)
    return families.find("yolo_pose")(spec).eval()


@pytest.fixture(scope="module")
def poser() -> PoseModel:
    torch.manual_seed(0)
    model = load("hrnet_w8_128x96.yaml", schema=schema_of(5))
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def detector() -> PoseModel:
    return detector_of()


def picture(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_boxes_are_the_detectors_and_the_score_is_that_of_box_times_pose(poser: PoseModel, detector: PoseModel) -> None:
    box = [20.25, 10.5, 60.75, 100.0]
    [sure] = TwoStage(Told(detector, [boxes_found([box], [1.0])]), poser)(picture())
    [half] = TwoStage(Told(detector, [boxes_found([box], [0.5])]), poser)(picture())
    np.testing.assert_array_equal(sure.boxes[0], box)
    counts = sure.keypoint_scores[0] > 0.2
    assert counts.any()
    assert sure.scores[0] == pytest.approx(sure.keypoint_scores[0][counts].mean(), rel=1e-5)
    assert half.scores[0] == pytest.approx(sure.scores[0] / 2, rel=1e-5)
    np.testing.assert_array_equal(half.keypoints, sure.keypoints)
    assert (sure.keypoints % 1 != 0).any()  # not cut off


def test_thirty_people_of_three_images_are_looked_at_in_whole_batches(poser: PoseModel, detector: PoseModel) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (30, 2))
    boxes = np.concatenate((low, low + rng.uniform(20, 60, (30, 2))), 1)
    pictures = [picture(seed) for seed in range(3)]
    found = [boxes_found(boxes[i * 10 : i * 10 + 10].tolist()) for i in range(3)]
    stages = TwoStage(Told(detector, list(found)), poser, batch_size=12, rivals=EVERYBODY)
    sizes: list[int] = []
    hook = poser.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    together = stages(pictures)
    hook.remove()
    assert sizes == [12, 12, 6]
    for image, people, poses in zip(pictures, found, together, strict=True):
        [alone] = TwoStage(Told(detector, [people]), poser, rivals=EVERYBODY)(image)
        assert len(poses) == 10
        np.testing.assert_allclose(poses.scores, alone.scores, atol=1e-4)
        np.testing.assert_allclose(poses.boxes, alone.boxes)


def test_of_two_boxes_of_one_person_the_better_stays(poser: PoseModel, detector: PoseModel) -> None:
    box = [20.0, 10.0, 60.0, 100.0]
    found = boxes_found([box, box, [90.0, 20.0, 140.0, 110.0]], [0.6, 0.8, 0.7])
    [poses] = TwoStage(Told(detector, [found]), poser)(picture())
    assert len(poses) == 2 and (np.diff(poses.scores) <= 0).all()
    assert poses.boxes[:, 0].tolist().count(20.0) == 1


def test_other_classes_and_boxes_without_extent_are_left_out(poser: PoseModel) -> None:
    knows = detector_of(classes=("horse", "Person"))
    boxes = [[20.0, 10.0, 60.0, 100.0], [70.0, 10.0, 120.0, 100.0], [5.0, 5.0, 5.0, 80.0]]
    [poses] = TwoStage(Told(knows, [boxes_found(boxes, kinds=[0, 1, 1])]), poser)(picture())
    np.testing.assert_array_equal(poses.boxes, [boxes[1]])


def test_nobody_is_an_answer_too(poser: PoseModel, detector: PoseModel) -> None:
    empty, one = boxes_found([]), boxes_found([[20.0, 10.0, 60.0, 100.0]])
    poses = TwoStage(Told(detector, [empty, one]), poser)([picture(), picture(1)])
    assert [len(entry) for entry in poses] == [0, 1]
    assert poses[0].keypoints.shape == (0, 5, 2)


@pytest.mark.parametrize("keypoints", [0, 5])
def test_a_plain_detector_and_a_pose_network_serve_alike(poser: PoseModel, keypoints: int) -> None:
    """Networks that have learned nothing propose much: that every step of both runs is what is seen here."""
    classes = ("person",) if keypoints else ("person", "bicycle")
    finder = detector_of(keypoints, classes, conf=0.0, max_poses=6)
    [poses] = TwoStage(OneStage(finder, size=(128, 128)), poser, rivals=EVERYBODY)(picture())
    [boxes] = OneStage(finder, size=(128, 128))(picture())
    assert 0 < len(poses) <= len(boxes) and poses.keypoints.shape[1:] == (5, 2)
    assert all(any(np.allclose(box, other) for other in boxes.boxes) for box in poses.boxes)


def test_wrong_roles_are_told(poser: PoseModel, detector: PoseModel) -> None:
    with pytest.raises(ValueError, match="pose_hrnet looks at single persons; as detector expected"):
        TwoStage(OneStage(poser), poser)
    with pytest.raises(ValueError, match="yolo_pose looks at whole images; as pose model expected"):
        TwoStage(OneStage(detector), detector)
    with pytest.raises(ValueError, match="expected a class 'person' among them"):
        TwoStage(OneStage(detector_of(classes=("horse", "dog"))), poser)


def test_the_published_pipeline_gives_the_published_keypoints(shared) -> None:
    """Recorded boxes of a photograph, whole numbers as the original rounds them; its keypoints are cut off."""
    folder = shared / "fixtures/topdown/public"
    facts = json.loads((folder / "pipeline.json").read_text())["end_to_end"]
    model = load(folder / "posehrnet_w8_256x192.pth")
    image = pixels.read(shared / "data/coco_four" / facts["image"])
    stages = TwoStage(Told(detector_of(), []), model, rivals=EVERYBODY)
    detected = boxes_found(facts["boxes_rounded"], [row[4] for row in facts["det"]])
    [poses] = stages.poses_in([("photograph", image)], [detected])
    recorded = np.array(facts["coords_int"])
    order = [int(np.flatnonzero((detected.boxes == box).all(1))[0]) for box in poses.boxes]
    off = np.abs(np.trunc(poses.keypoints) - recorded[order])
    assert (off == 0).mean() > 0.97 and off.max() <= 1  # another build of OpenCV's warp may tip a quarter step
    heat = np.array(facts["heatmap_max"])[order]
    np.testing.assert_allclose(poses.keypoint_scores, heat, atol=0.05)
