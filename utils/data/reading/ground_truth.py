"""A split as a COCO data set in memory: what evaluators take, and what `convert` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.geometry import xywh_to_xyxy, xyxy_to_xywh
from utils.core.poses import person_areas
from utils.core.schema import KeypointSchema
from utils.data.reading import coco_json
from utils.data.records import Records

RESOLUTION = 1e-4  # px; what float32 leaves of a coordinate at the far end of a photograph


def from_json(path: Path) -> dict[str, Any]:
    """The annotation file as it is, with what evaluators need and CrowdPose leaves out: area and iscrowd."""
    values = coco_json.check_layout(coco_json.read_json(path), path)
    for annotation in values["annotations"]:
        annotation.setdefault("iscrowd", 0)
        box = coco_json.numbers(annotation.get("bbox"))
        if "area" not in annotation and box is not None and box.shape == (4,):
            annotation["area"] = float(person_areas(xywh_to_xyxy(box)))
    return values


def from_records(records: Records, classes: Sequence[str], schema: KeypointSchema) -> dict[str, Any]:
    """The same made from any records, with categories numbered from 1."""
    images, annotations = [], []
    for i in range(len(records)):
        height, width = records.size(i)
        image_id = records.image_id(i)
        images.append({"id": image_id, "file_name": records.name(i), "height": height, "width": width})
        annotations += _annotations(records, i, image_id)
    categories = [_category(kind, name, schema) for kind, name in enumerate(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotations(records: Records, i: int, image_id: int) -> list[dict[str, Any]]:
    persons = records.persons(i)
    labelled = persons.visibility > 0  # (N, K)
    points = np.where(labelled[..., None], persons.keypoints, 0).astype(np.float64)  # (N, K, 2)
    flat = np.concatenate((points, persons.visibility[..., None]), -1)  # (N, K, 3)
    boxes = _tidy(xyxy_to_xywh(persons.boxes.astype(np.float64)))  # (N, 4)
    return [
        {
            "id": int(persons.ids[n]),
            "image_id": image_id,
            "category_id": int(persons.classes[n]) + 1,
            "bbox": boxes[n].tolist(),
            "area": round(float(persons.areas[n]), 4),
            "iscrowd": int(persons.crowd[n]),
            "num_keypoints": int(labelled[n].sum()),
            "keypoints": [_plain(value) for value in _tidy(flat[n]).ravel()],
        }
        for n in range(len(persons))
    ]


def _tidy(values: np.ndarray) -> np.ndarray:
    """Two decimals where that is what float32 was made from, as in COCO's files; else all that it holds."""
    short = values.round(2)
    return np.where(np.abs(values - short) < RESOLUTION, short, values.round(5))


def _plain(value: float) -> int | float:
    """Whole numbers without a point, as COCO writes them."""
    return int(value) if value == int(value) else float(value)


def _category(kind: int, name: str, schema: KeypointSchema) -> dict[str, Any]:
    category: dict[str, Any] = {"id": kind + 1, "name": name, "supercategory": name}
    if schema.count:
        category["keypoints"] = list(schema.names)
        category["skeleton"] = [[start + 1, end + 1] for start, end in schema.skeleton]
    return category
