"""A part of a video by its times, and videos that are to be fetched first."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from utils.core.console import log
from utils.inference.media.frames import Frame
from utils.inference.media.sources import Source

LINES = {135: "480p", 136: "720p", 137: "1080p"}  # what YouTube's mp4 format numbers stand for


class Excerpt(Source):
    """The frames of a source from `start` seconds up to `end`; a negative end is the end of the video."""

    def __init__(self, where: str, *, start: float = 0.0, end: float = -1.0, stride: int = 1) -> None:
        if start < 0 or 0 <= end <= start:
            raise ValueError(f"--start {start:g} --end {end:g}: expected 0 or more, and an end after the start, or -1")
        super().__init__(where, stride=stride)
        self.start, self.end = start, end

    @property
    def total(self) -> int | None:
        return super().total if self.start == 0 and self.end < 0 else None

    def __iter__(self) -> Iterator[Frame]:
        found = False
        for frame in super().__iter__():
            if self.end >= 0 and frame.seconds >= self.end:
                break
            if frame.seconds >= self.start:
                found = True
                yield frame
        if not found:
            self.faults.file(f"{self.where}: has no frame from --start {self.start:g} s on")


def place_of(video: str, tag: int, folder: Path = Path()) -> Path:
    """Where the published demos put a YouTube video."""
    return folder / f"{video}_{LINES.get(tag, str(tag))}.mp4"


def fetched(video: str, tag: int, folder: Path = Path()) -> Path:
    """The file of a YouTube video: the one that is there, or fetched by yt-dlp where that is installed."""
    path = place_of(video, tag, folder)
    if path.exists():
        return path
    program = shutil.which("yt-dlp")
    if program is None:
        raise ValueError(
            f"--yt-id {video}: {path} is not there and yt-dlp, which fetches it, is not installed; "
            "pip install yt-dlp, or name a video file with -p"
        )
    log.info("fetching %s with yt-dlp", path)
    address = f"https://www.youtube.com/watch?v={video}"
    done = subprocess.run(
        [program, "--format", str(tag), "--output", str(path), address], capture_output=True, text=True, check=False
    )
    if done.returncode or not path.exists():
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise OSError(f"yt-dlp could not fetch {address} (format {tag}): {last}")
    return path
