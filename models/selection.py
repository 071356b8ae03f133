"""The people of each image among the candidates of a dense network: the sure ones that no better one overlaps."""

from typing import Protocol

from utils.core.nms import keep_by_box
from utils.core.poses import Candidates, Poses


class Thresholds(Protocol):
    """What a family's Selection has to say."""

    @property
    def conf(self) -> float: ...
    @property
    def iou(self) -> float: ...
    @property
    def max_poses(self) -> int: ...
    @property
    def agnostic(self) -> bool: ...


def select_by_box(candidates: Candidates, thresholds: Thresholds) -> list[Poses]:
    """Plain tensor code, image by image: it exports as it runs."""
    return [_select_image(candidates, image, thresholds) for image in range(candidates.boxes.shape[0])]


def _select_image(candidates: Candidates, image: int, thresholds: Thresholds) -> Poses:
    scores, classes = candidates.scores[image].max(-1)  # (A)
    likely = (scores > thresholds.conf).nonzero()[:, 0]
    rivals = None if thresholds.agnostic or candidates.scores.shape[-1] == 1 else classes[likely]
    boxes, scores = candidates.boxes[image][likely], scores[likely]
    kept = keep_by_box(boxes, scores, rivals, iou=thresholds.iou, limit=thresholds.max_poses)
    chosen = likely[kept]
    return Poses(
        boxes=boxes[kept],
        scores=scores[kept],
        classes=classes[chosen],
        keypoints=candidates.keypoints[image][chosen],
        keypoint_scores=candidates.keypoint_scores[image][chosen],
    )
