"""Persons as rows of a YOLO-pose label file: the way back from Records to txt."""

from dataclasses import dataclass

import numpy as np

from utils.core.geometry import clip_boxes, xyxy_to_cxcywh
from utils.data.records import Persons


@dataclass(frozen=True)
class TextRow:
    """One person as text; none for a crowd region, which txt labels cannot express."""

    text: str
    altered: bool  # the person reaches out of the image, and a label must not


def to_rows(persons: Persons, size: tuple[int, int]) -> list[TextRow]:
    """Every person of an image of (height, width) as `class cx cy w h` and x, y, v of each keypoint, normalised."""
    height, width = size
    scale = np.array((width, height, width, height), np.float64)
    return [_row(persons, n, size, scale) for n in range(len(persons))]


def _row(persons: Persons, n: int, size: tuple[int, int], scale: np.ndarray) -> TextRow:
    box = persons.boxes[n].astype(np.float64)
    box_cxcywh = xyxy_to_cxcywh(box) / scale
    points = persons.keypoints[n].astype(np.float64)  # (K, 2)
    labelled = persons.visibility[n] > 0
    written = labelled & (points >= 0).all(-1) & (points <= scale[:2]).all(-1)  # the border normalises to 1
    # Other readers refuse a whole image over one number outside 0..1.
    box_leaves = bool((box_cxcywh < 0).any() or (box_cxcywh > 1).any())
    if box_leaves:
        box_cxcywh = xyxy_to_cxcywh(clip_boxes(box, size)) / scale
    altered = box_leaves or bool((labelled & ~written).any())
    if persons.crowd[n] or (box_cxcywh[2:] <= 0).any():
        return TextRow("", altered)
    values = [f"{value:.9g}" for value in box_cxcywh]
    for (x, y), visibility, kept in zip(points / scale[:2], persons.visibility[n], written, strict=True):
        values += [f"{x:.9g}", f"{y:.9g}", str(visibility)] if kept else ["0", "0", "0"]
    return TextRow(" ".join([str(persons.classes[n]), *values]), altered)
