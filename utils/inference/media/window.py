"""A window that shows pictures while they are made, if there is a display."""

import subprocess
import sys

import cv2
import numpy as np

from utils.core.console import log

PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
PATIENCE = 20  # seconds for a display to answer


class Window:
    """`Window.open()` is None, and says so, where nothing can be shown."""

    def __init__(self, title: str) -> None:
        self.title = title

    @classmethod
    def open(cls, title: str, flag: str = "--view-img") -> "Window | None":
        # Without a display, OpenCV's toolkit ends the whole process: another process has to try first.
        try:
            tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False, timeout=PATIENCE)
            works = tried.returncode == 0
        except subprocess.TimeoutExpired:
            works = False
        if not works:
            log.warning("%s: there is no display here; going on without a window", flag)
            return None
        return cls(title)

    def show(self, image: np.ndarray) -> bool:
        """Show an RGB picture; False when the user has pressed q or Escape."""
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        cv2.destroyWindow(self.title)
