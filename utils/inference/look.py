"""How the demos show people: boxes, limbs, faces and keypoint objects, each on request, mixed with the picture."""

import time
from dataclasses import dataclass, replace

import numpy as np

from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.draw import Colour, Style, caption, draw_poses

UNSEEN = -1.0  # a score that no threshold lets through


@dataclass(frozen=True)
class Look:
    """What is shown of everybody; limbs and faces in one colour, or by side where it is None."""

    boxes: bool = False
    limbs: bool = True
    face: bool = False
    dots: bool = False  # keypoints beside the face too
    fused_only: bool = False  # only keypoints that were found as objects
    colour: Colour | None = None
    point_colour: Colour | None = None  # of keypoints, where it is not the same
    radius: float | None = None  # of keypoints, pixels
    line_width: int | None = None
    threshold: float = 0.0  # of keypoint scores
    opacity: float = 1.0  # of all that is drawn


def show(image: np.ndarray, poses: Poses, schema: KeypointSchema, look: Look) -> np.ndarray:
    """A copy of an RGB image with its people as they are wanted."""
    style = Style(
        boxes=False, labels=False, scores=False, keypoint_threshold=look.threshold, line_width=look.line_width,
        colour=look.colour, point_colour=look.point_colour, radius=look.radius,
    )  # fmt: skip
    on_face = np.zeros(schema.count, bool)
    on_face[list(schema.groups.get("face", ()))] = True
    # Without the test of scores that a threshold of 0 stands for, everything is as opaque as the rest.
    sure = replace(poses, keypoint_scores=_scores(poses, look))
    hidden_face = replace(sure, keypoint_scores=np.where(on_face, UNSEEN, sure.keypoint_scores))
    drawn = image
    if look.boxes:
        drawn = draw_poses(drawn, poses, schema, replace(style, boxes=True, labels=True, bones=False, keypoints=False))
    if look.limbs:
        drawn = draw_poses(drawn, sure if look.face else hidden_face, schema, replace(style, keypoints=look.dots))
    if look.face and not (look.limbs and look.dots):
        only_face = replace(sure, keypoint_scores=np.where(on_face, sure.keypoint_scores, UNSEEN))
        drawn = draw_poses(drawn, only_face, schema, replace(style, bones=False))
    return mixed(image, drawn, look.opacity)


def show_keypoint_objects(
    image: np.ndarray, found: Poses, schema: KeypointSchema, line_width: int | None
) -> np.ndarray:
    """A copy of an RGB image with the boxes of its keypoint objects, a colour for each keypoint."""
    style = Style(labels=False, scores=False, bones=False, keypoints=False, line_width=line_width)
    return draw_poses(image, replace(found, ids=None), schema, style)


def check_face(schema: KeypointSchema) -> None:
    """Refuse to draw a face that a skeleton does not name."""
    if not schema.groups.get("face"):
        raise ValueError("--face: the keypoints of this model have no group 'face'; leave it out")


def mixed(image: np.ndarray, drawn: np.ndarray, opacity: float) -> np.ndarray:
    """The drawn image laid over the undrawn one."""
    if opacity == 1:
        return drawn if drawn is not image else image.copy()
    return (opacity * drawn.astype(np.float32) + (1 - opacity) * image + 0.5).astype(np.uint8)


class FrameRate:
    """Frames per second with everything that is done to a frame, written onto it."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._last = time.perf_counter()
        self._seconds = 0.0  # per frame, a slow average

    def write(self, image: np.ndarray) -> None:
        now = time.perf_counter()
        taken, self._last = now - self._last, now
        self._seconds = taken if not self._seconds else 0.9 * self._seconds + 0.1 * taken
        if self.size > 0:
            caption(image, f"{1 / max(self._seconds, 1e-6):.1f} FPS", self.size)


def _scores(poses: Poses, look: Look) -> np.ndarray:
    """What decides which keypoints are drawn, and how boldly."""
    scores = poses.keypoint_scores
    if look.fused_only:
        assert poses.fused is not None
        return np.where(poses.fused, 1.0, UNSEEN)
    return scores if look.threshold > 0 else np.ones_like(scores)
