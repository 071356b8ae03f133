"""Downloads over bad lines: they go on where they broke off, and are checked. Standard library only."""

import hashlib
import http.client
import re
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from utils.core.console import is_main_process, log

CHUNK = 1 << 20
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="  # where Google Drive keeps files
_PAGE = re.compile(r"https://drive\.google\.com/(?:file/d/|open\?id=|uc\?(?:.*&)?id=)([\w-]+)")
FINAL = {
    400: "", 401: " (a private or gated place?)", 403: " (a private or gated place?)", 404: " (is the address right?)",
    410: "",
}  # fmt: skip


def fetch(
    url: str, path: Path, *, tries: int = 20, pause: float = 2.0, verify: Callable[[Path], None] | None = None
) -> None:
    """Download a file; the part that is there is kept over broken connections and between runs.

    It has its name only when all of it is there and `verify` has nothing against it. A file that cannot be had is a
    ValueError, a disk that is full an OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, broken = path.with_name(path.name + ".part"), 0
    while (reason := _attempt(url, path, part, before := _size(part))) is not None:
        # A line that brings something is not counted as broken, however often it breaks.
        broken = 0 if _size(part) > before else broken + 1
        if broken >= tries:
            kept = f"what came is kept in {part}, try" if _size(part) else f"put it at {path} by hand, or try"
            raise ValueError(f"{url}: {reason}, {tries} times; {kept} again later")
        log.info("%s: %s; going on", path.name, reason)
        time.sleep(pause)
    _tag(part).unlink(missing_ok=True)
    if verify is not None:
        verify(part)
    part.replace(path)


def on_drive(url: str) -> str | None:
    """Which file of Google Drive a browser's address means; None for other addresses."""
    found = _PAGE.match(url)
    return found and found[1]


def direct(url: str) -> str:
    """Where the file itself is: Google Drive shows a page first."""
    number = on_drive(url)
    return DRIVE + number if number else url


def digest(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file, as hexadecimal digits."""
    found = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _attempt(url: str, path: Path, part: Path, start: int) -> str | None:
    """Ask for what is missing and append it; None when the file is whole, else what went wrong on the way."""
    headers = {"User-Agent": "limber"} | ({"Range": f"bytes={start}-"} if start else {})
    if start and _tag(part).exists():  # of another version of the file nothing may be appended
        headers["If-Range"] = _tag(part).read_text(encoding="ascii")
    try:
        answer = urllib.request.urlopen(urllib.request.Request(direct(url), headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        return _refused(error, url, path, part, start)
    except (OSError, http.client.HTTPException) as error:
        return _in_words(error)
    with answer:
        if "text/html" in (answer.headers.get("Content-Type") or ""):
            raise ValueError(f"{url}: a web page came instead of the file; open it in a browser and fetch it by hand")
        if answer.status != 206:  # a server that cannot resume sends all of it again
            start = 0
        elif not (answer.headers.get("Content-Range") or f"bytes {start}-").startswith(f"bytes {start}-"):
            part.unlink()
            return "the server went on elsewhere; once more from the beginning"
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        if total is not None and total - start > (free := shutil.disk_usage(part.parent).free):
            raise OSError(f"{part.parent}: {_mb(total - start)} are to come and {_mb(free)} are free; make room")
        _remember_version(part, answer.headers.get("ETag") or "")
        with part.open("ab" if start else "wb") as file:
            size, ended = _copy(answer, file, start, total, path.name)
    return None if ended and total in (size, None) else "the connection ended early"


def _refused(error: urllib.error.HTTPError, url: str, path: Path, part: Path, start: int) -> str | None:
    """What a status other than success means."""
    if error.code in FINAL:
        why = f"{error.code} {error.reason}{FINAL[error.code]}"
        raise ValueError(f"{url}: {why}; fetch it by hand and put it at {path}") from None
    if error.code != 416:
        return f"{error.code} {error.reason}"
    # Nothing comes after `start`: the part is the whole file, or longer than it.
    if (error.headers.get("Content-Range") or "").rpartition("/")[2] == str(start):
        return None
    part.unlink()
    return "the part that was here is longer than the file"


def _in_words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "this host is not found (no internet connection?)"
    return f"no connection ({getattr(reason, 'strerror', None) or reason})"


def _tag(part: Path) -> Path:
    """The file that knows which version of the file a part belongs to."""
    return part.with_name(part.name + ".etag")


def _remember_version(part: Path, tag: str) -> None:
    if tag.startswith('"') and tag.isascii():
        _tag(part).write_text(tag, encoding="ascii")
    else:
        _tag(part).unlink(missing_ok=True)


def _copy(
    answer: http.client.HTTPResponse, file: IO[bytes], size: int, total: int | None, title: str
) -> tuple[int, bool]:
    """Copy until the answer ends; returns how large the file is then, and whether the answer came to its own end."""
    shown = is_main_process() and sys.stderr.isatty()
    started, told, first, ended = time.monotonic(), 0.0, size, True
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException):  # broken in the middle: what came before it is good
            chunk, ended = b"", False
        if not chunk:
            break
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise OSError(
                f"{file.name}: cannot be written ({error.strerror}) after {_mb(size)}; what came is kept, make room "
                "and the same command goes on"
            ) from None
        size += len(chunk)
        if shown and time.monotonic() > told + 0.2:
            told = time.monotonic()
            pace = (size - first) / max(told - started, 1e-9)
            print(f"\r{title}: {_bar(size, total)}, {pace / 1e6:.1f} MB/s ", end="", file=sys.stderr, flush=True)
    if shown:
        print(f"\r{title}: {_bar(size, total)}", file=sys.stderr)
    return size, ended


def _bar(size: int, total: int | None) -> str:
    if not total:
        return _mb(size)
    full = round(20 * size / total)
    return f"[{'#' * full}{'.' * (20 - full)}] {100 * size // total}% of {_mb(total)}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
