"""People and keypoint objects of an image among the candidates of a network that proposes both: NMS once or twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from utils.core.geometry import magnification, move_points, xyxy_to_cxcywh
from utils.core.nms import keep_by_box
from utils.core.poses import Candidates, Origin, Poses


@dataclass(frozen=True)
class Selection:
    """Thresholds; those of keypoint objects and of the fusion are the published evaluation's."""

    conf: float = 0.25  # of people
    iou: float = 0.45
    conf_thres_kp: float = 0.2  # of keypoint objects
    iou_thres_kp: float = 0.25
    conf_thres_kp_person: float = 0.3  # people below it keep the keypoints that they guessed
    overwrite_tol: float = 50.0  # pixels of the original image: farther off than this nothing is replaced
    no_kp_dets: bool = False  # no fusion
    max_objects: int = 300  # that one pass of NMS leaves, people and keypoints together where one pass does
    max_poses: int = 300

    @property
    def one_pass(self) -> bool:
        """People and keypoint objects can share a pass where nothing that either needs would be lost."""
        return self.iou == self.iou_thres_kp and self.conf_thres_kp >= self.conf


def people_and_points(
    candidates: Candidates, image: int, chosen: Selection, *, people: int
) -> tuple[Poses, Poses, float]:
    """People and keypoint objects of one image that NMS leaves, and how far they may be apart in input pixels.

    The first so many kinds of the candidates' scores are `people`, the others their keypoints.
    """
    scores, kinds = candidates.scores[image].max(-1)  # (A): what looks like two things counts as the likelier one
    is_point = kinds >= people

    def survivors(likely: torch.Tensor, iou: float) -> torch.Tensor:
        """One pass of NMS, in which only objects of one kind are rivals: indices of what is left, best first."""
        rows = likely.nonzero()[:, 0]
        boxes = candidates.boxes[image][rows]
        return rows[keep_by_box(boxes, scores[rows], kinds[rows], iou=iou, limit=chosen.max_objects)]

    if chosen.one_pass:
        kept = survivors(scores > chosen.conf, chosen.iou)
        persons = kept[(~is_point[kept]).nonzero()[:, 0]]
        found = kept[(is_point[kept] & (scores[kept] >= chosen.conf_thres_kp)).nonzero()[:, 0]]
    else:
        persons = survivors((scores > chosen.conf) & ~is_point, chosen.iou)
        found = survivors((scores > chosen.conf_thres_kp) & is_point, chosen.iou_thres_kp)
    persons = persons[: chosen.max_poses]
    poses = Poses(
        boxes=candidates.boxes[image][persons],
        scores=scores[persons],
        classes=kinds[persons],
        keypoints=candidates.keypoints[image][persons],
        keypoint_scores=candidates.keypoint_scores[image][persons],
    )
    boxes, zoom = _on_the_image(candidates.boxes[image][found], candidates.origins[image : image + 1])
    points = Poses(
        boxes=boxes,
        scores=scores[found],
        classes=kinds[found] - people,
        keypoints=xyxy_to_cxcywh(boxes)[:, None, :2],
        keypoint_scores=scores[found][:, None],
    )
    return poses, points, chosen.overwrite_tol * zoom


def _on_the_image(boxes: torch.Tensor, origin: Sequence[Origin]) -> tuple[torch.Tensor, float]:
    """Boxes cut to the part of the input that is image, and how many input pixels one of the original's is wide."""
    if not origin:
        return boxes, 1.0
    height, width = origin[0].size
    corners = move_points(np.array([[0.0, 0.0], [width, height]]), origin[0].to_input)
    low, high = boxes.new_tensor(corners).repeat(1, 2)  # (4) each
    return torch.minimum(torch.maximum(boxes, low), high), magnification(origin[0].to_input)
