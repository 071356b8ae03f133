"""Small data sets for tests: pictures without content, labels with numbers that can be checked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from utils.core import images
from utils.core.schema import KeypointSchema
from utils.data.records import Packer, Records, Wanted

HAND = KeypointSchema(("left_hand", "right_hand", "head"), (1, 0, 2), (0.05,) * 3, ((2, 0), (2, 1)))
WANTED = Wanted(("person",), HAND.count)
CATEGORY = {"id": 1, "name": "person", "keypoints": list(HAND.names), "skeleton": [[3, 1], [3, 2]]}


def picture(path: Path, size: tuple[int, int] = (100, 200), seed: int = 0) -> Path:
    """An image file of (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8))
    return path


def label(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def annotation(number: int = 1, image_id: int = 1, **changes: Any) -> dict[str, Any]:
    """A person in the left half of a picture of 100 x 200 with the right hand not labelled."""
    values = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10, 20, 40, 60],
        "keypoints": [20, 30, 2, 0, 0, 0, 30, 25, 1],
        "area": 1200,
        "iscrowd": 0,
        "num_keypoints": 2,
    }
    return values | changes


def coco(annotations: list[Any], images_: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    rows = [{"id": 1, "file_name": "a.png", "height": 100, "width": 200}] if images_ is None else images_
    return {"images": rows, "annotations": annotations, "categories": [CATEGORY]} | changes


def coco_folder(root: Path, annotations: list[Any] | None = None, **changes: Any) -> Path:
    """A folder in COCO's layout with one picture; returns its annotation file."""
    picture(root / "train" / "a.png")
    path = root / "annotations" / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco([annotation()] if annotations is None else annotations, **changes)))
    return path


def txt_folder(root: Path, *rows: str) -> Path:
    """A folder in Ultralytics' layout with one picture and its labels; returns the label file."""
    picture(root / "images" / "train" / "a.png")
    keys = "train: images/train\nnames: [person]\nkpt_shape: [3, 3]\nkpt_names: [left_hand, right_hand, head]\n"
    (root / "data.yaml").write_text(keys)
    return label(root / "labels" / "train" / "a.txt", *rows)


def records_of(persons: list[dict[str, Any]], size: tuple[int, int] = (100, 200)) -> Records:
    """One image with these persons: box, points, and anything else a Packer takes."""
    packer = Packer(HAND.count)
    packer.image("a.png", size, 1)
    for number, person in enumerate(persons, 1):
        defaults = {"points": [0.0] * 9, "area": 1.0, "kind": 0, "annotation_id": number}
        packer.person(**{**defaults, **person})
    return packer.records("pictures")
