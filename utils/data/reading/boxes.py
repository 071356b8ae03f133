"""A box for a person of whom only keypoints are known."""

import numpy as np

from utils.core.geometry import clip_boxes

MARGIN = 0.15  # beyond the outermost keypoints on every side, of the extent's longer side: joints lie inside the body


def box_around(points: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """The box (4) around the labelled ones of keypoints (K, 3), cut to an image of (height, width); None if none is."""
    labelled = points[points[:, 2] > 0, :2]  # (L, 2)
    if not len(labelled):
        return None
    low, high = labelled.min(0), labelled.max(0)
    margin = MARGIN * (high - low).max()
    box = clip_boxes(np.concatenate((low - margin, high + margin)), size)  # (4)
    return box if (box[2:] > box[:2]).all() else None
