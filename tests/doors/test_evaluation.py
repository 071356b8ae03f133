"""From the flags of val.py to the parts of an evaluation: what no other test types."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import val as door
from doors.evaluation import data_of
from tests.doors.test_training import data as data


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, data: Path) -> Any:
    """The flags of val.py as it reads them."""

    def of(*typed: object) -> Any:
        common = ("--data", data, "--img", 64, "--workers", 0, "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["val.py", *map(str, (*common, *typed))])
        return door.parse()

    return of


@pytest.mark.parametrize(
    ("cfg", "typed", "message"),
    [
        ("yolov5n6_kpts.yaml", ["--half"], "half precision needs a GPU"),
        ("yolov5n6_kpts.yaml", ["--count-fused"], "--count-fused: family yolo_pose has no keypoint objects"),
        ("yolov5n6_kpts.yaml", ["--overwrite-tol", "5"], "select: no key 'overwrite_tol'"),
        ("kapao_n.yaml", ["--two-stage"], "--two-stage: found, but it has never run"),
        ("hrnet_w8_128x96.yaml", ["--iou-thres", "0.5"], "select: no key 'iou'"),
    ],
)
def test_what_a_family_cannot_do_is_refused_with_the_reason(
    words: Any, cfg: str, typed: list[str], message: str
) -> None:
    args = words("--weights", "", "--cfg", cfg, *typed)
    with pytest.raises(ValueError, match=message):
        door.predictor_of(args, data_of(args.data))


def test_thresholds_reach_the_selection(words: Any) -> None:
    typed = "--conf 0.1 --iou 0.5 --max-det 9 --conf-thres-kp 0.2 --iou-thres-kp 0.3 --conf-thres-kp-person 0.4"
    args = words("--weights", "", "--cfg", "kapao_n.yaml", "--overwrite-tol", 30, "--no-kp-dets", *typed.split())
    found = door.predictor_of(args, data_of(args.data)).model.spec.select
    assert found["conf"] == 0.1 and found["iou"] == 0.5 and found["max_poses"] == 9
    assert [found[name] for name in ("conf_thres_kp", "iou_thres_kp", "conf_thres_kp_person")] == [0.2, 0.3, 0.4]
    assert found["overwrite_tol"] == 30 and found["no_kp_dets"]


def test_rectangular_batches_get_the_room_that_was_asked_for(words: Any, data: Path) -> None:
    sizes = []
    for typed in (["--rect"], ["--rect", "--pad", "0.5"]):
        args = words("--weights", "", "--cfg", "yolov5n6_kpts.yaml", *typed)
        predictor = door.predictor_of(args, data_of(args.data))
        [batch] = door.evaluator_of(args, data_of(args.data), predictor, predictor.size).batches
        sizes.append(tuple(batch.images.shape[-2:]))
    assert sizes == [(64, 64), (128, 128)]
    with pytest.raises(ValueError, match=r"--pad 0\.5: square images get no extra room; add --rect"):
        door.evaluator_of(words("--weights", "", "--pad", "0.5"), data_of(args.data), predictor, predictor.size)


def test_boxes_of_a_detector_become_the_crops_of_a_top_down_model(words: Any, data: Path, tmp_path: Path) -> None:
    values = json.loads((data.parent / "train.json").read_text())
    first = values["annotations"][0]
    box = {"image_id": first["image_id"], "category_id": first["category_id"], "bbox": first["bbox"], "score": 0.75}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    args = words("--weights", "", "--cfg", "hrnet_w8_128x96.yaml", "--detections", tmp_path / "boxes.json")
    args.img = None
    data_set = data_of(args.data)
    predictor = door.predictor_of(args, data_set)
    evaluator = door.evaluator_of(args, data_set, predictor, predictor.size)
    [batch] = evaluator.batches
    assert [origin.box_score for origin in batch.origins] == [0.75]
