"""Videos whose every frame says its number, pictures, and a camera on the network that can be unplugged."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

STEP = 8  # grey levels between two numbers, far more than compression changes


def numbered(index: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture whose brightness is its number, up to 30; the left half is brighter."""
    image = np.full((*size, 3), (index % 30) * STEP, np.uint8)
    image[:, : size[1] // 2] += 10
    return image


def number_of(image: np.ndarray) -> int:
    return round((float(image.mean()) - 5) / STEP)


def write_video(
    path: Path, count: int = 12, *, size: tuple[int, int] = (48, 64), fps: float = 10, codec: str = "mp4v"
) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size[::-1])
    assert writer.isOpened()
    for index in range(count):
        writer.write(numbered(index, size))
    writer.release()
    return path


class Camera:
    """Motion JPEG over HTTP on this machine, as network cameras send it."""

    def __init__(self, pause: float = 0.02) -> None:
        self.pause = pause  # seconds between two pictures
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.sent = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        return f"http://somebody:secret@127.0.0.1:{self.port}/live"

    def plug_in(self) -> "Camera":
        camera = self
        running = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while not running.is_set():
                    _, data = cv2.imencode(".jpg", numbered(camera.sent))
                    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                    try:
                        self.wfile.write(part + data.tobytes() + b"\r\n")
                    except OSError:
                        return
                    camera.sent += 1
                    time.sleep(camera.pause)
                self.connection.close()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._cut = running
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def unplug(self) -> None:
        assert self._server is not None
        self._cut.set()
        self._server.shutdown()
        self._server.server_close()
