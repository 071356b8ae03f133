"""Pictures and videos from files, frame by frame; what is damaged is skipped, named and counted."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from utils.core import images
from utils.core.console import log
from utils.inference.media.frames import Clip, Faults, Frame

IMAGES = frozenset((
    ".avif", ".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr",
    ".tif", ".tiff", ".webp",
))  # fmt: skip
VIDEOS = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
))  # fmt: skip
EXACT = frozenset((".mp4", ".mov", ".m4v", ".avi"))  # their headers count the frames, others only estimate
TRIES = 60  # reads in a row that may fail before a video is given up
USUAL_FPS = 25.0  # for files that do not know their own


def quiet_decoders() -> None:
    """Leave it to us to say what is wrong with a file: the decoders' own words do not name it. For commands."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def picture(path: str | Path, faults: Faults) -> Iterator[Frame]:
    """The one frame of an image file, upright; none when the file is damaged."""
    try:
        data = images.read_bytes(path)
        image = images.decode(data, str(path))
        if is_cut_short(data.tobytes()):  # decoders fill up what is missing with grey
            raise ValueError(f"{path}: the file is cut short; copy it again")
    except ValueError as error:
        faults.file(str(error))
        return
    yield Frame(image, Clip(str(path), "image", count=1))


def is_cut_short(data: bytes) -> bool:
    """Whether the end of a JPEG or PNG is missing; of other formats nothing is known."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if not data.startswith(b"\xff\xd8"):
        return False
    place = 2  # of a segment: two bytes of marker, two of length; a preview inside one has an end of its own
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return b"\xff\xd9" not in data[place:]


def video(path: str, faults: Faults, *, stride: int = 1, name: str | None = None) -> Iterator[Frame]:
    """Every `stride`-th frame of a video file or address, turned upright as the file says."""
    name = name or path
    capture = open_capture(path)
    try:
        clip = _clip(capture, path, name, stride) if capture.isOpened() else None
        first = capture.grab() if clip else False
        if clip is None or not first:
            faults.file(f"{name}: not a video that can be decoded (broken, empty or of an unknown format)")
            return
        yield from _frames(capture, clip, faults, stride)
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, clip: Clip, faults: Faults, stride: int) -> Iterator[Frame]:
    """The first frame is grabbed already. A frame that cannot be decoded is passed over."""
    whole = count_frames(capture)
    read = failed = 0
    grabbed = True
    while grabbed or (read + failed < whole and failed < TRIES):
        if not grabbed:
            failed += 1
        else:
            if read % stride == 0:
                done, image = capture.retrieve()
                if done:
                    yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), clip, read, read / stride / clip.fps)
            read += 1
        grabbed = capture.grab()
    is_exact = Path(clip.name).suffix.lower() in EXACT
    if is_exact and not whole:
        log.warning("%s: its header is lost, or it is still being written; %d frames were found", clip.name, read)
    if read < whole - (0 if is_exact else max(2, whole // 50)):
        faults.lost_frames(clip.name, whole - read, whole)


def _clip(capture: cv2.VideoCapture, path: str, name: str, stride: int) -> Clip:
    count = count_frames(capture)
    file = Path(path) if "://" not in path else None
    return Clip(name, "video", sane_fps(capture) / stride, -(-count // stride) or None, file)


def open_capture(source: str | int, *settings: int) -> cv2.VideoCapture:
    """OpenCV's reader for a file, an address or a camera; by FFmpeg where it can: that knows rotation flags."""
    if isinstance(source, int):
        return cv2.VideoCapture(source)
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY, settings)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def count_frames(capture: cv2.VideoCapture) -> int:
    """How many frames the header promises; 0 when it does not say."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < 1e9 else 0


def sane_fps(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.01 <= fps <= 1000 else USUAL_FPS
