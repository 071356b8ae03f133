"""The detector's side of the original two stages: where its input lies, whom it keeps, and the way back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.families.yolo_pose import Selection
from models.selection import select_by_box
from utils.core.geometry import clip_boxes, cxcywh_to_xyxy, inverse, letterbox, move_boxes
from utils.core.poses import Candidates, Poses


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "fixtures/topdown/public/pipeline.json").read_text())


def kept(rows: list[list[float]], conf: float, iou: float) -> Poses:
    """Raw rows of a detector (centre, sides, objectness, classes) under our selection."""
    raw = torch.tensor(rows)
    nobody = torch.zeros(1, len(raw), 0, 2)
    boxes, scores = cxcywh_to_xyxy(raw[None, :, :4]), raw[None, :, 4:5] * raw[None, :, 5:]
    candidates = Candidates(boxes, scores, nobody, nobody[..., 0])
    [found] = select_by_box(candidates, Selection(conf=conf, iou=iou))
    return found.numpy()


def test_an_image_lies_where_the_original_puts_it(recorded: dict[str, Any]) -> None:
    """Its rectangles are the smallest whole ones; ours may be larger, and then have more grey around the same copy."""
    for row in recorded["letterbox"]:
        matrix, (height, width) = letterbox((row["h"], row["w"]), tuple(row["out_shape"][:2]))
        assert round(matrix[1, 2]) == row["top_pad"] and round(matrix[0, 2]) == row["left_pad"]
        ratio = row["img_size"] / max(row["h"], row["w"])
        assert (height, width) == (round(row["h"] * ratio), round(row["w"] * ratio))


def test_boxes_come_back_to_where_the_original_brings_them(recorded: dict[str, Any]) -> None:
    """It rounds them, and counts with half a pixel of padding that is not there where the rest is odd: at most one."""
    for row in recorded["scale_boxes"]:
        matrix, _ = letterbox(tuple(row["orig"]), tuple(row["net"]))
        back = clip_boxes(move_boxes(np.array(row["boxes_in"]), inverse(matrix)), tuple(row["orig"]))
        pixel = max(row["orig"]) / max(row["net"])  # of the input, in pixels of the image
        assert np.abs(back - row["boxes_out"]).max() <= 0.5 + 0.5 * pixel + 1e-4


def test_the_detector_keeps_whom_the_original_keeps(recorded: dict[str, Any]) -> None:
    for row in recorded["nms"]:
        found, expected = kept(row["pred"], row["conf_thres"], row["iou_thres"]), np.array(row["out_all"])
        np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-3)
        np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-6)
        np.testing.assert_array_equal(found.classes, expected[:, 5])
        people = found[found.classes == 0]
        np.testing.assert_allclose(people.boxes, np.array(row["out_class0_xyxy_conf_cls"])[:, :4], atol=1e-3)


def test_the_people_of_the_photograph_are_those_of_the_original(recorded: dict[str, Any]) -> None:
    facts = recorded["end_to_end"]
    found = kept(facts["raw_pred"], facts["conf_thres"], facts["iou_thres"])
    people, expected = found[found.classes == 0], np.array(facts["det"])
    np.testing.assert_allclose(people.boxes, expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(people.scores, expected[:, 4], atol=1e-6)
