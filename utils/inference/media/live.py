"""Pictures that arrive when they like: webcams, network streams that are found again when they drop, the screen."""

import re
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from utils.core.console import log
from utils.inference.media.files import open_capture, sane_fps
from utils.inference.media.frames import Clip, Frame

ANSWER = 5000  # milliseconds that a server may take to answer or to send the next frame
FIRST_WAIT, LONGEST_WAIT = 0.25, 1.5  # seconds between attempts: doubled each time, but found again within two
PATIENCE = 60.0  # seconds without a picture after which a stream counts as ended
SCREEN_FPS = 15.0


def stream(source: str | int, stop: threading.Event, *, stride: int = 1, patience: float = PATIENCE) -> Iterator[Frame]:
    """Every `stride`-th frame of a camera or an address, until `stop` is set; a lost connection is made again."""
    name = f"webcam {source}" if isinstance(source, int) else without_password(source)
    capture = _connect(source)
    if capture is None:
        raise ValueError(
            f"{name}: there is no such camera, or another program uses it; try another number"
            if isinstance(source, int)
            else f"{name}: no connection, or nothing came for {ANSWER // 1000} s; does a player show this address?"
        )
    clip = Clip(name, "stream", sane_fps(capture) / stride)
    start, index = time.monotonic(), 0
    while not stop.is_set():
        done, image = capture.read()
        if done:
            if index % stride == 0:
                yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), clip, index, time.monotonic() - start)
            index += 1
            continue
        capture.release()
        log.warning("%s: connection lost after %d frames; trying to get it back", name, index)
        capture = _reconnect(source, name, stop, patience)
        if capture is None:
            return
    capture.release()


def _reconnect(source: str | int, name: str, stop: threading.Event, patience: float) -> cv2.VideoCapture | None:
    lost, wait = time.monotonic(), FIRST_WAIT
    while not stop.wait(wait):
        capture = _connect(source)
        away = time.monotonic() - lost
        if capture is not None:
            log.warning("%s: back after %.1f s", name, away)
            return capture
        if away > patience:
            log.warning("%s: gone for %.0f s; the stream ends here", name, away)
            return None
        wait = min(2 * wait, LONGEST_WAIT)
    return None


def _connect(source: str | int) -> cv2.VideoCapture | None:
    waits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, ANSWER, cv2.CAP_PROP_READ_TIMEOUT_MSEC, ANSWER)
    capture = open_capture(source, *(waits if isinstance(source, str) else ()))
    return capture if capture.isOpened() else None


def without_password(address: str) -> str:
    """The address as it may stand in a log."""
    return re.sub(r"://[^/@\s]*@", "://", address)


def screen(where: str, stop: threading.Event, *, stride: int = 1) -> Iterator[Frame]:
    """What a screen shows: `screen`, or `screen 2` for the second one."""
    number = int(where.split()[1]) if where.split()[1:] else 1
    try:
        import mss
    except ImportError:
        raise ValueError(f"{where}: to look at the screen, the package mss is needed: pip install mss") from None
    try:
        eye = mss.mss()
        monitors = eye.monitors
    except mss.exception.ScreenShotError as error:
        raise ValueError(f"{where}: there is no screen here that can be looked at ({error})") from None
    if not 1 <= number < len(monitors):
        raise ValueError(f"{where}: there are {len(monitors) - 1} screens here")
    clip = Clip(f"screen {number}", "stream", SCREEN_FPS / stride)
    start, index = time.monotonic(), 0
    with eye:
        while not stop.wait(max(0.0, start + index / clip.fps - time.monotonic())):
            picture = np.asarray(eye.grab(monitors[number]))  # (H, W, 4) BGRA
            yield Frame(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGB), clip, index, time.monotonic() - start)
            index += 1
