"""People made of few numbers, so that every score can be checked by hand."""

from typing import Any

import numpy as np
import torch

from utils.core.geometry import identity
from utils.core.poses import Batch, Origin, Poses, Targets
from utils.core.schema import KeypointSchema
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.results import Results

# Sigma .05 on an area of 10,000: 8 * 10000 * .05² = 200, so a keypoint that is d pixels off has exp(-d² / 200).
THREE = KeypointSchema(names=("nose", "left_hand", "right_hand"), swap=(0, 2, 1), sigmas=(0.05, 0.05, 0.05))
STANDING = np.array([[50.0, 10.0], [10.0, 60.0], [90.0, 60.0]])


def off_by(similarity: float) -> float:
    """How many pixels off a keypoint has this similarity."""
    return float(np.sqrt(-200 * np.log(similarity)))


def shifted(x: float, y: float = 0.0) -> np.ndarray:
    """The standing person, so many pixels further right and down."""
    return STANDING + np.array([x, y])


def person(image_id: int, points: np.ndarray = STANDING, *, visible: Any = (2, 2, 2), **more: Any) -> dict[str, Any]:
    """An annotation with a box and an area of 100 x 100."""
    keypoints = np.concatenate((points, np.array(visible)[:, None]), 1).ravel().tolist()
    left, top = points.min(0) - (10, 10)
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [left, top, 100.0, 100.0],
        "area": 10_000.0,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": int((np.array(visible) > 0).sum()),
    } | more


def split(people: list[dict[str, Any]], images: int = 1, **of_images: Any) -> dict[str, Any]:
    """A COCO data set of images 1, 2, ... with these annotations."""
    return {
        "images": [
            {"id": i + 1, "file_name": f"{i + 1}.jpg", "height": 480, "width": 640}
            | {key: values[i] for key, values in of_images.items()}
            for i in range(images)
        ],
        "annotations": [{"id": i, **person} for i, person in enumerate(people, 1)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(THREE.names), "skeleton": []}],
    }


def truth(people: list[dict[str, Any]], images: int = 1, **of_images: Any) -> GroundTruth:
    return GroundTruth.read(split(people, images, **of_images), THREE)


def row(image_id: int, points: np.ndarray = STANDING, *, score: float = 0.9) -> dict[str, Any]:
    """A row of a results file."""
    keypoints = np.concatenate((points, np.ones((len(points), 1))), 1).ravel().tolist()
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


def found(*rows: dict[str, Any]) -> Results:
    return Results.of_coco(rows, THREE.count)


def poses(*people: np.ndarray, scores: Any = None) -> Poses:
    """What a model finds in one image."""
    keypoints = np.array(people, np.float32).reshape(-1, THREE.count, 2)
    scores = np.linspace(0.9, 0.5, len(keypoints)) if scores is None else np.array(scores)
    corners = np.concatenate((keypoints.min(1), keypoints.max(1)), -1) if len(keypoints) else np.zeros((0, 4))
    return Poses(
        boxes=corners.astype(np.float32),
        scores=scores.astype(np.float32),
        classes=np.zeros(len(keypoints), np.int64),
        keypoints=keypoints,
        keypoint_scores=np.full(keypoints.shape[:2], 0.8, np.float32),
    )


def origin(image_id: int, **more: Any) -> Origin:
    return Origin(image_id, f"{image_id}.jpg", (480, 640), identity(), **more)


def batch_of(*image_ids: int) -> Batch:
    """Whole images, all black."""
    images = torch.zeros(len(image_ids), 3, 8, 8, dtype=torch.uint8)
    return Batch(images, Targets.nobody(THREE.count), tuple(origin(i) for i in image_ids))
