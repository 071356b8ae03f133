"""Videos out: mp4 as well as this machine can, and GIF."""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from utils.core import images
from utils.core.console import log
from utils.inference.media.ffmpeg import Pipe, add_sound, find_ffmpeg

CODECS = ("avc1", "mp4v")  # H.264, which browsers play, where OpenCV's build has it; MPEG-4 Part 2 everywhere
LONGEST_GAP = 2.0  # seconds of a live video that are filled with its last picture when nothing arrives
GIF_SIDE = 480
GIF_FRAMES = 900  # they are all held in memory until the end


class Encoder(Protocol):
    def write(self, image: np.ndarray) -> None: ...

    def close(self) -> None: ...


class VideoFile:
    """An mp4 file that grows by one RGB picture at a time; `source` is the file whose sound it takes over."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, source: Path | None = None) -> None:
        self.path, self.size, self.fps = path, size, fps
        self.count = 0
        self._source = source
        self._ffmpeg = find_ffmpeg()
        self._encoder: Encoder = Pipe(self._ffmpeg, path, size, fps) if self._ffmpeg else _Plain(path, size, fps)

    def write(self, image: np.ndarray) -> None:
        """One more picture; one of another size is fitted in."""
        if image.shape[:2] != self.size:
            image, _ = images.fit(image, self.size)
        self._encoder.write(image)
        self.count += 1

    def write_at(self, image: np.ndarray, seconds: float) -> None:
        """A picture of a live video, so often that the file runs as fast as the world did."""
        due = round(seconds * self.fps) + 1 - self.count
        if due > LONGEST_GAP * self.fps:  # a lost connection is not shown in full length
            self.count += due - 1
            due = 1
        for _ in range(due):
            self.write(image)

    def close(self) -> None:
        self._encoder.close()
        if self._ffmpeg and self._source is not None and self.count:
            add_sound(self._ffmpeg, self.path, self._source, self.count / self.fps)


class _Plain:
    """OpenCV's own encoders."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        for codec in CODECS:
            self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size[::-1])
            if self._writer.isOpened():
                break
        else:
            raise OSError(f"{path}: OpenCV cannot write a video here; is the folder writable?")
        lacks = (
            "without sound" if codec == "avc1" else "as MPEG-4 Part 2, which players open but browsers do not, silent"
        )
        log.info("%s: no ffmpeg here: written %s (pip install imageio-ffmpeg brings one)", path, lacks)

    def write(self, image: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


class GifFile:
    """An animated GIF of pictures made small: for a slide or a README, not for an hour."""

    def __init__(self, path: Path, fps: float, *, side: int = GIF_SIDE) -> None:
        self.path, self.fps, self.side = path, fps, side
        self._frames: list[np.ndarray] = []

    def write(self, image: np.ndarray) -> None:
        if len(self._frames) == GIF_FRAMES:
            log.warning("%s: a GIF ends after %d frames; shorten the video, or take the mp4", self.path, GIF_FRAMES)
        if len(self._frames) <= GIF_FRAMES:
            scale = min(1, self.side / max(image.shape[:2]))
            self._frames.append(images.resize(image, tuple(max(1, round(side * scale)) for side in image.shape[:2])))

    def close(self) -> None:
        frames = self._frames[:GIF_FRAMES]
        if not frames:
            return
        film = cv2.Animation()
        film.frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
        film.durations = np.full(len(frames), max(20, round(1000 / self.fps)), np.int32)  # browsers slow down below 20
        if not cv2.imwriteanimation(str(self.path), film):
            raise OSError(f"{self.path}: OpenCV could not write this GIF")
