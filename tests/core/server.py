"""A web server on this machine that behaves as badly as the world's do."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves one file under every address, and can be told to do that badly."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cut = len(data)  # bytes of every answer, whatever it promises
        self.resumes = True
        self.kind = "application/octet-stream"
        self.status: int | None = None
        self.shift = 0  # so far behind what was asked for it goes on
        self.etag = ""
        self.in_pieces = False  # without a length; no resuming then
        self.promised: int | None = None  # the length that it says, if it is not the true one
        self.moved: str | None = None  # an address to which it sends those who ask
        self.pause = 0.0
        self.asked: list[str | None] = []  # the ranges that were asked for
        self.paths: list[str] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.home = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.home}/file.zip"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                if server.moved and not self.path.startswith("/there"):
                    self.send_response(302)
                    self.send_header("Location", server.moved)
                    self.end_headers()
                    return
                wanted = self.headers.get("Range")
                server.asked.append(wanted)
                time.sleep(server.pause)
                same = self.headers.get("If-Range", server.etag) == server.etag
                start = int(wanted[6:-1]) if wanted and server.resumes and same else 0
                start += server.shift if start else 0
                if server.status:
                    self.send_error(server.status)
                elif start >= len(server.data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(server.data)}")
                    self.end_headers()
                elif server.in_pieces:
                    self.pieces()
                else:
                    self.answer(start)

            def pieces(self) -> None:
                """Chunked; the end is only marked when all of it was sent."""
                self.protocol_version = "HTTP/1.1"
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                sent = server.data[: server.cut]
                whole = len(sent) == len(server.data)
                self.wfile.write(b"%x\r\n" % (len(sent) if whole else len(sent) + 9) + sent)
                self.wfile.write(b"\r\n0\r\n\r\n" if whole else b"")
                self.close_connection = True

            def answer(self, start: int) -> None:
                left = len(server.data) - start
                self.send_response(206 if start else 200)
                self.send_header("Content-Type", server.kind)
                self.send_header("Content-Length", str(server.promised or left))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
                if server.etag:
                    self.send_header("ETag", server.etag)
                self.end_headers()
                self.wfile.write(server.data[start : start + server.cut])

            def log_message(self, *_: object) -> None:
                pass

        return Handler
