"""Detection-result files: the boxes of a person detector, for top-down methods."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.console import log
from utils.core.geometry import xywh_to_xyxy
from utils.core.poses import person_areas
from utils.data.reading import coco_json
from utils.data.records import PERSON_FIELDS, Problem, Records


def read(path: Path, images: Records, classes: Mapping[Any, int]) -> Records:
    """The images with the boxes of a COCO results file instead of their persons, the best of each image first.

    Rows of images that are not in the split are left out: such a file often covers more. `classes` says which category
    is which class; rows of other categories are left out too.
    """
    rows = coco_json.read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: found one object; expected a list of {{image_id, category_id, bbox, score}}")
    index = {int(image_id): i for i, image_id in enumerate(images.image_ids)}
    found, problems, others = [], [], 0
    for number, row in enumerate(rows):
        if (problem := _problem(row)) is not None:
            expected = "image_id, category_id, bbox and score"
            problems.append(Problem("wrong detection", f"{path}: row {number}", problem, expected))
        elif row["image_id"] not in index or row["category_id"] not in classes:
            others += 1
        else:
            found.append((index[row["image_id"]], float(row["score"]), classes[row["category_id"]], row["bbox"]))
    if others:
        log.info("%s: left out %d boxes of other images or categories", path, others)
    found.sort(key=lambda row: (row[0], -row[1]))
    return _with_boxes(images, found, problems)


def _problem(row: Any) -> str | None:
    """What is wrong with a row of a results file, if anything is."""
    if not isinstance(row, Mapping):
        return f"found {coco_json.short(row)}"
    for key in ("image_id", "category_id"):
        if not coco_json.is_whole(row.get(key)):
            return f"{key} {coco_json.short(row.get(key))}"
    box = coco_json.numbers(row.get("bbox"))
    if box is None or box.shape != (4,) or (box[2:] <= 0).any():
        return f"bbox {coco_json.short(row.get('bbox'))}"
    score = coco_json.numbers([row.get("score")])
    return None if score is not None and 0 <= score[0] <= 1 else f"score {coco_json.short(row.get('score'))}"


def _with_boxes(images: Records, found: list[tuple[int, float, int, Any]], problems: list[Problem]) -> Records:
    count = images.keypoints.shape[1]
    boxes = xywh_to_xyxy(np.array([row[3] for row in found], np.float64).reshape(-1, 4))
    counts = np.bincount(np.array([row[0] for row in found], np.int64), minlength=len(images))
    values = {
        "boxes": boxes.astype(np.float32),
        "keypoints": np.zeros((len(found), count, 2), np.float32),
        "visibility": np.zeros((len(found), count), np.uint8),
        "areas": person_areas(boxes).astype(np.float32),
        "classes": np.array([row[2] for row in found], np.int64),
        "crowd": np.zeros(len(found), bool),
        "ids": np.arange(1, len(found) + 1),
        "scores": np.array([row[1] for row in found], np.float32),
    }
    assert set(values) == set(PERSON_FIELDS)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))
    return replace(images, person_ends=ends, problems=tuple(problems), **values)
