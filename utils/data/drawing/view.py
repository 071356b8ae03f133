"""Where figures stand, how the camera sees them, and what is known once they are drawn."""

from dataclasses import dataclass

import numpy as np

from utils.data.drawing.canvas import Patches

UPRIGHT = np.diag([1.0, -1.0, -1.0])  # from x left (of who faces us), y up, z near to x right, y down, z away
NEAREST = 0.3  # of the camera's distance: what comes closer is not enlarged any more


@dataclass(frozen=True)
class Placement:
    """Where figures stand: their feet (or middle) in the image, size in pixels, heading, and order."""

    anchors: np.ndarray  # (N, 2) pixels
    statures: np.ndarray  # (N) pixels
    yaws: np.ndarray  # (N) degrees; 0 faces the camera, 90 the right border
    layers: np.ndarray  # (N) painted in this order
    pitch: float  # degrees by which the camera looks down
    distance: float  # of the camera, in statures: small numbers distort more


@dataclass(frozen=True)
class Figures:
    """Figures ready to paint, and what is known about their keypoints."""

    patches: Patches
    keypoints: np.ndarray  # (N, K, 2) pixels, also outside the image
    depths: np.ndarray  # (N, K)
    probes: np.ndarray  # (N, K, 2) pixels: where to look whether the keypoint is covered
    slack: np.ndarray  # (K) how much nearer the surface may be
    shows: np.ndarray  # (K, parts) on which parts a keypoint counts as seen
    shadow: np.ndarray  # (N, bones, 2, 2) pixels: where the light casts the bones on the floor


@dataclass(frozen=True)
class Scene:
    """One drawn image and everything that is known about it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    boxes: np.ndarray  # (N, 4) xyxy around the visible pixels
    keypoints: np.ndarray  # (N, K, 2); true also outside the image, where visibility is 0
    visibility: np.ndarray  # (N, K) int: 0 outside the image, 1 hidden, 2 seen
    areas: np.ndarray  # (N) visible pixels
    owners: np.ndarray  # (H, W) int16: whose pixel it is, -1 for nobody's


@dataclass(frozen=True)
class View:
    """The camera as each figure meets it. A figure's own axes are x to its left, y up, z forward, in statures."""

    placement: Placement
    turn: np.ndarray  # (N, 3, 3) figure to camera: x right, y down, z away
    shift: np.ndarray  # (N, 2) pixels

    @classmethod
    def of(cls, placement: Placement, floor: np.ndarray) -> "View":
        """The view in which the point below each figure, at height `floor` (N), comes to lie on its anchor."""
        yaw = np.asarray(placement.yaws, float)
        turn = UPRIGHT @ rotations(np.stack((np.full_like(yaw, placement.pitch), yaw, 0 * yaw), -1))
        foot = np.stack((0 * yaw, floor, 0 * yaw), -1)[:, None]  # (N, 1, 3)
        pixels, _ = cls(placement, turn, np.zeros((len(yaw), 2))).seen(foot)
        return cls(placement, turn, placement.anchors - pixels[:, 0])

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, n, 2) and depths (N, n) of points (N, n, 3)."""
        camera = points @ np.swapaxes(self.turn, -1, -2)
        return self.shift[:, None] + camera[..., :2] * self.scale(camera[..., 2])[..., None], camera[..., 2]

    def scale(self, depths: np.ndarray) -> np.ndarray:
        """Pixels per stature at depths (N, n)."""
        return scale_at(depths, self.placement.statures[:, None], self.placement)


def scale_at(depths: np.ndarray, statures: np.ndarray, placement: Placement) -> np.ndarray:
    """Pixels per stature at depths, for figures of these statures in pixels."""
    return statures / np.maximum(1 + depths / placement.distance, NEAREST)


def rotations(degrees: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) by angles (..., 3) about x, y and z: about y first, then x, then z."""
    (cx, cy, cz), (sx, sy, sz) = (np.moveaxis(f(np.deg2rad(degrees)), -1, 0) for f in (np.cos, np.sin))
    rows = (
        (cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
        (sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
        (-cx * sy, sx, cx * cy),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)
