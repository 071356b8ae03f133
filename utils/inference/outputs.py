"""What a run leaves behind, one idea each: pictures and videos, txt labels, COCO results, a table, crops."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from utils.core import images
from utils.core.files import naming, write_text
from utils.core.geometry import xyxy_to_cxcywh
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.media.frames import Clip, Frame
from utils.inference.media.writing import GifFile, VideoFile

BROWSABLE = (".jpg", ".jpeg", ".png", ".webp")  # pictures keep these suffixes; of others, a .jpg is made


class Output(Protocol):
    """Something that is told of every frame, in order, and closed once."""

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None: ...

    def close(self) -> None: ...


class Names:
    """A file name for every clip of a run; clips of the same name from different folders get numbers."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}  # stem -> the last clip that got it
        self._current: tuple[Clip, str] | None = None

    def of(self, clip: Clip) -> str:
        if self._current is None or self._current[0] is not clip:
            stem, number = clip.stem, 1
            while stem in self._taken:
                number += 1
                stem = f"{clip.stem}_{number}"
            self._taken[stem] = clip.name
            self._current = clip, stem
        return self._current[1]

    def of_frame(self, frame: Frame) -> str:
        """A name for each frame of a video, the clip's own for a picture."""
        name = self.of(frame.clip)
        return name if frame.clip.kind == "image" else f"{name}_{frame.index:06d}"


class Pictures:
    """Drawn pictures as files, drawn videos as mp4, and as GIF if that is wanted."""

    def __init__(self, folder: Path, *, gif: bool = False) -> None:
        self.folder, self.gif = folder, gif
        self._names = Names()
        self._clip: Clip | None = None
        self._video: VideoFile | None = None
        self._gif: GifFile | None = None

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        assert drawn is not None
        if frame.clip.kind == "image":
            self.close()
            suffix = Path(frame.clip.name.partition("?")[0]).suffix.lower()
            kept = suffix if suffix in BROWSABLE else ".jpg"
            images.write(self.folder / f"{self._names.of(frame.clip)}{kept}", drawn)
            return
        if self._clip is not frame.clip:
            self._start(frame.clip, drawn.shape[:2])
        assert self._video is not None
        if frame.clip.kind == "stream":
            self._video.write_at(drawn, frame.seconds)
        else:
            self._video.write(drawn)
        if self._gif is not None:
            self._gif.write(drawn)

    def close(self) -> None:
        for file in (self._video, self._gif):
            if file is not None:
                file.close()
        self._clip = self._video = self._gif = None

    def _start(self, clip: Clip, size: tuple[int, int]) -> None:
        self.close()
        path = self.folder / f"{self._names.of(clip)}.mp4"
        self._clip, self._video = clip, VideoFile(path, size, clip.fps, clip.file)
        self._gif = GifFile(path.with_suffix(".gif"), clip.fps) if self.gif else None


class Labels:
    """YOLO-pose txt: one file for every frame, a row for every person in shares of the picture's width and height."""

    def __init__(self, folder: Path, *, scores: bool = False) -> None:
        self.folder, self.scores = folder, scores
        self._names = Names()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        share = np.array(frame.image.shape[1::-1], np.float64)  # width, height
        boxes = xyxy_to_cxcywh(poses.boxes.astype(np.float64)) / np.tile(share, 2)  # (N, 4)
        points = np.concatenate((poses.keypoints / share, poses.keypoint_scores[..., None]), -1)  # (N, K, 3)
        values = np.concatenate((boxes, points.reshape(len(poses), 3 * points.shape[1])), -1)
        lines = []
        for i, row in enumerate(values):
            numbers = [*row, poses.scores[i]] if self.scores else row
            lines.append(" ".join([str(int(poses.classes[i])), *(f"{value:.6g}" for value in numbers)]) + "\n")
        write_text(self.folder / f"{self._names.of_frame(frame)}.txt", "".join(lines))

    def close(self) -> None:
        """Every file is complete already."""


class CocoResults:
    """A COCO results file, written as it grows. A picture whose name is a number has that number as its id."""

    def __init__(self, path: Path) -> None:
        self.path, self._names = path, Names()
        self._file = path.open("w", encoding="utf-8")
        self._between = "[\n"

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        name = self._names.of_frame(frame)
        with naming(self.path):
            for row in poses.to_coco(int(name) if name.isdecimal() else name):
                self._file.write(self._between + json.dumps(row))
                self._between = ",\n"

    def close(self) -> None:
        with naming(self.path), self._file:
            self._file.write("[]\n" if self._between == "[\n" else "\n]\n")


class Table:
    """A CSV file with a row for every person and a header that names every column."""

    def __init__(self, path: Path, schema: KeypointSchema, classes: Sequence[str]) -> None:
        self.path, self._classes = path, classes
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        points = [f"{name}_{what}" for name in schema.names for what in ("x", "y", "score")]
        self._writer.writerow(
            ["source", "frame", "person", "class", "score", "left", "top", "right", "bottom", *points]
        )

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        for i in range(len(poses)):
            person = i if poses.ids is None else int(poses.ids[i])
            points = np.concatenate((poses.keypoints[i], poses.keypoint_scores[i, :, None]), -1)  # (K, 3)
            numbers = [f"{value:.2f}" for value in poses.boxes[i]] + [f"{value:.3f}" for value in points.ravel()]
            kind = self._classes[int(poses.classes[i])]
            with naming(self.path):
                self._writer.writerow([frame.clip.name, frame.index, person, kind, f"{poses.scores[i]:.4f}", *numbers])

    def close(self) -> None:
        with naming(self.path):
            self._file.close()


class Crops:
    """Everybody cut out of the undrawn picture, in a folder for each class."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder, self._classes = folder, classes
        self._names = Names()

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        name = self._names.of_frame(frame)
        for i, box in enumerate(poses.boxes):
            left, top, right, bottom = np.r_[np.floor(box[:2]), np.ceil(box[2:])].astype(int).clip(0)
            cut = frame.image[top:bottom, left:right]
            if cut.size:
                folder = self.folder / self._classes[int(poses.classes[i])]
                folder.mkdir(parents=True, exist_ok=True)
                images.write(folder / f"{name}_{i}.jpg", cut)

    def close(self) -> None:
        """Every file is complete already."""
