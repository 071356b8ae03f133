"""Drawn scenes as files: images and COCO's JSON, the way a data YAML names them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.config import find, read_yaml
from utils.core.console import progress
from utils.core.geometry import xyxy_to_xywh
from utils.core.images import write
from utils.core.schema import KeypointSchema
from utils.data.people import Scene, SceneSettings, Seed, draw

DATA_FILES = {"person": "people.yaml", "corners": "people_corners.yaml", "hand": "people_hand.yaml"}
QUALITY = 92  # of the JPEG files


def data_folder(figure: str) -> Path:
    """The folder that the figure's data YAML points to."""
    path = find(DATA_FILES[figure])
    return (path.parent / read_yaml(path)["path"]).resolve()


def write_split(folder: Path, split: str, settings: SceneSettings, seed: Seed, count: int) -> Path:
    """Draw `count` scenes into folder/split and their labels into folder/split.json; returns the latter."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in progress(range(count), f"drawing {split}"):
        scene = draw(seed, index, settings)
        name = f"{index:06d}.jpg"
        write(folder / split / name, scene.image, quality=QUALITY)
        height, width = scene.image.shape[:2]
        images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        for figure in range(len(scene.boxes)):
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **_annotation(scene, figure)})
    path = folder / f"{split}.json"
    content = {"images": images, "annotations": annotations, "categories": [_category(settings.figure)]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _annotation(scene: Scene, figure: int) -> dict[str, Any]:
    """One figure in COCO's words; a keypoint outside the image is 0, 0, 0 there."""
    visibility = scene.visibility[figure]  # (K,)
    triples = np.concatenate((scene.keypoints[figure], visibility[:, None]), 1) * (visibility > 0)[:, None]  # (K, 3)
    return {
        "category_id": 1,
        "bbox": [float(side) for side in xyxy_to_xywh(scene.boxes[figure])],
        "area": float(scene.areas[figure]),
        "iscrowd": 0,
        "num_keypoints": int(np.count_nonzero(visibility)),
        "keypoints": [value for x, y, seen in triples for value in (round(float(x), 2), round(float(y), 2), int(seen))],
    }


def _category(figure: str) -> dict[str, Any]:
    schema = KeypointSchema.read(DATA_FILES[figure])
    bones = [[a + 1, b + 1] for a, b in schema.skeleton]  # COCO counts from 1
    name = read_yaml(find(DATA_FILES[figure]))["classes"][0]
    return {"id": 1, "name": name, "supercategory": name, "keypoints": list(schema.names), "skeleton": bones}
