"""What the demos write: one film or GIF under the published name, and rows of bare coordinates."""

import csv
from pathlib import Path

import numpy as np

from utils.core import images
from utils.core.poses import Poses
from utils.inference.media.frames import Frame
from utils.inference.media.writing import GifFile, VideoFile


class Film:
    """Drawn frames as one mp4, or as a GIF of (height, width) or of a share of the frame's size."""

    def __init__(self, path: Path, size: tuple[int, int] | None = None, share: float = 1.0) -> None:
        self.path, self.size, self.share = path, size, share
        self._file: VideoFile | GifFile | None = None

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        assert drawn is not None
        size = self.size or tuple(max(1, round(self.share * side)) for side in drawn.shape[:2])
        small = images.resize(drawn, (size[0], size[1]))
        if self._file is None:
            fps = frame.clip.fps or 1.0
            is_gif = self.path.suffix == ".gif"
            self._file = GifFile(self.path, fps, side=max(size)) if is_gif else VideoFile(self.path, size, fps)
        self._file.write(small)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Coordinates:
    """A CSV file without a header, a row for every frame: x, y and score of all keypoints of all people.

    From a family with keypoint objects the score is 0 where no object was found, as published.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        scores = poses.keypoint_scores if poses.fused is None else poses.keypoint_scores * poses.fused
        points = np.concatenate((poses.keypoints, scores[..., None]), -1)  # (N, K, 3)
        self._writer.writerow([f"{value:.3f}" for value in points.ravel()])

    def close(self) -> None:
        self._file.close()
