"""Drawn scenes as files: images and COCO's JSON, the way a data YAML names them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.config import find, read_yaml
from utils.core.files import write_text
from utils.core.geometry import xyxy_to_xywh
from utils.core.images import write
from utils.core.schema import KeypointSchema
from utils.data.drawing.view import Scene

DATA_FILES = {"person": "people.yaml", "corners": "people_corners.yaml", "hand": "people_hand.yaml"}
QUALITY = 92  # of the JPEG files


def data_folder(figure: str) -> Path:
    """The folder that the figure's data YAML points to."""
    path = find(DATA_FILES[figure])
    return (path.parent / read_yaml(path)["path"]).resolve()


def write_split(folder: Path, *, split: str, scenes: Iterable[Scene], figure: str) -> Path:
    """Write the images to folder/split and their labels to folder/split.json; returns the latter."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index, scene in enumerate(scenes):
        name = f"{index:06d}.jpg"
        write(folder / split / name, scene.image, quality=QUALITY)
        height, width = scene.image.shape[:2]
        images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        for row in range(len(scene.boxes)):
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **_annotation(scene, row)})
    path = folder / f"{split}.json"
    content = {"images": images, "annotations": annotations, "categories": [_category(figure)]}
    write_text(path, json.dumps(content))
    return path


def _annotation(scene: Scene, row: int) -> dict[str, Any]:
    """One figure in COCO's words; a keypoint outside the image is 0, 0, 0 there."""
    visibility = scene.visibility[row]  # (K,)
    triples = np.concatenate((scene.keypoints[row], visibility[:, None]), 1) * (visibility > 0)[:, None]  # (K, 3)
    return {
        "category_id": 1,
        "bbox": [float(side) for side in xyxy_to_xywh(scene.boxes[row])],
        "area": float(scene.areas[row]),
        "iscrowd": 0,
        "num_keypoints": int(np.count_nonzero(visibility)),
        "keypoints": [value for x, y, seen in triples for value in (round(float(x), 2), round(float(y), 2), int(seen))],
    }


def _category(figure: str) -> dict[str, Any]:
    schema = KeypointSchema.read(DATA_FILES[figure])
    bones = [[a + 1, b + 1] for a, b in schema.skeleton]  # COCO counts from 1
    name = read_yaml(find(DATA_FILES[figure]))["classes"][0]
    return {"id": 1, "name": name, "supercategory": name, "keypoints": list(schema.names), "skeleton": bones}
