"""The program ffmpeg, where the machine has it: H.264 that browsers play, and the sound of the source."""

import importlib
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from utils.core.console import log

QUIET = ("-hide_banner", "-loglevel", "error", "-nostdin", "-y")


@lru_cache(maxsize=1)
def find_ffmpeg() -> str | None:
    """The program on the path, else the one that the package imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            found = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
        except (ImportError, RuntimeError):  # not installed; installed without a program for this system
            return None
    return found


@lru_cache(maxsize=1)
def _encoder(program: str) -> tuple[str, ...]:
    """x264 where this ffmpeg has it, at a speed that keeps up with a network; else its own choice for mp4."""
    listed = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
    return ("-c:v", "libx264", "-preset", "veryfast", "-crf", "21") if "libx264" in listed.stdout else ()


class Pipe:
    """RGB frames through ffmpeg into an mp4 file."""

    def __init__(self, program: str, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        frames = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", f"{fps:.6f}", "-i", "-")
        even = ("-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p")  # what every player can show
        told = ("-movflags", "+faststart", str(path))
        command = [program, *(word for word in QUIET if word != "-nostdin"), *frames, *_encoder(program), *even, *told]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def write(self, image: np.ndarray) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(image).data)
        except BrokenPipeError:
            raise self._failure() from None

    def close(self) -> None:
        _, told = self._process.communicate()
        if self._process.returncode:
            raise self._failure(told)

    def _failure(self, told: bytes | None = None) -> OSError:
        if told is None and self._process.stderr is not None:
            told = self._process.stderr.read()
        return OSError(f"{self._path}: ffmpeg stopped: {(told or b'without a word').decode(errors='replace').strip()}")


def add_sound(program: str, video: Path, source: Path, seconds: float) -> None:
    """Put the sound of the source, if it has any, under a video of so many seconds."""
    looked = subprocess.run([program, "-hide_banner", "-i", str(source)], capture_output=True, check=False)
    if b"Audio:" not in looked.stderr:
        return
    both = video.with_name(f".{video.name}")
    for sound in ("copy", "aac"):  # as it is, unless mp4 cannot hold it
        if _joined(program, video, source, both, ("-c:a", sound, "-t", f"{seconds:.6f}")):
            both.replace(video)
            return
    both.unlink(missing_ok=True)
    log.warning("%s: ffmpeg could not add the sound of %s", video, source)


def _joined(program: str, video: Path, source: Path, both: Path, sound: Sequence[str]) -> bool:
    inputs = ("-i", str(video), "-i", str(source), "-map", "0:v", "-map", "1:a:0", "-c:v", "copy")
    command = [program, *QUIET, *inputs, *sound, "-movflags", "+faststart", "-f", "mp4", str(both)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
