"""Frames, the clips that they belong to, and the tally of what could not be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.core.console import log


@dataclass(frozen=True)
class Clip:
    """One picture, one video or one stream."""

    name: str  # as messages show it: a path, or an address without its password
    kind: Literal["image", "video", "stream"]
    fps: float = 0.0  # of the frames that are handed out, so after striding; 0 for pictures
    count: int | None = None  # frames to expect, where that is known
    file: Path | None = None  # where the sound is

    @property
    def stem(self) -> str:
        """What files made from this clip are called."""
        last = self.name.rstrip("/").replace("\\", "/").rpartition("/")[2].partition("?")[0]
        stem = last.rpartition(".")[0] if self.kind != "stream" and "." in last[1:] else last
        return "".join(letter if letter.isalnum() or letter in " ._-()" else "_" for letter in stem) or self.kind


@dataclass(frozen=True)
class Frame:
    """One image on its way through the house, and where it comes from."""

    image: np.ndarray  # (H, W, 3) RGB
    clip: Clip
    index: int = 0  # counted in the clip itself, from 0
    seconds: float = 0.0  # since the clip began: by its own clock, or by ours for a stream


class Faults:
    """What could not be read: named when it is met, counted for the end of the run."""

    def __init__(self) -> None:
        self.files = 0  # that gave nothing at all
        self.frames = 0  # that are missing from videos
        self.reasons: list[str] = []  # each begins with the file that it is about

    def __bool__(self) -> bool:
        return bool(self.reasons)

    def file(self, why: str) -> None:
        self.files += 1
        self.reasons.append(why)
        log.warning("skipped: %s", why)

    def lost_frames(self, clip: str, count: int, whole: int) -> None:
        self.frames += count
        self.reasons.append(f"{clip}: {count} of {whole} frames cannot be decoded")
        log.warning("skipped: %s", self.reasons[-1])

    def __str__(self) -> str:
        told = [f"{self.files} file{'s' * (self.files != 1)}"] * bool(self.files)
        told += [f"{self.frames} frame{'s' * (self.frames != 1)}"] * bool(self.frames)
        return " and ".join(told)
