"""Fetches large files over bad lines: resumes where it stopped, checks what came, unpacks. Standard library only."""

import argparse
import hashlib
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="  # Google Drive, without its page
LOCK = "downloads.lock.json"  # the digests of files whose publishers give none, as they were on the first download


@dataclass(frozen=True)
class Archive:
    """One file to fetch."""

    url: str
    name: str  # what it is called here
    md5: str | None = None  # as published; without one the first download is noted and later ones must equal it
    unpack_into: str | None = None  # a folder below the data set's; None leaves the file as it is
    contains: str = ""  # a file or folder that is there when it has been unpacked


def main(description: str, archives: Sequence[Archive], folder: Path) -> None:
    """The command line of every script here."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--to", type=Path, default=folder, metavar="DIR", help=f"the data set's folder ({folder})")
    parser.add_argument("--only", nargs="+", choices=[archive.name for archive in archives], metavar="NAME")
    parser.add_argument("--keep", action="store_true", help="keep archives that were unpacked")
    parser.add_argument("--tries", type=int, default=20, help="give up after so many broken connections (%(default)s)")
    flags = parser.parse_args()
    chosen = [archive for archive in archives if not flags.only or archive.name in flags.only]
    try:
        for archive in chosen:
            obtain(archive, flags.to, tries=flags.tries, keep=flags.keep)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def obtain(archive: Archive, folder: Path, *, tries: int = 20, keep: bool = False, pause: float = 2.0) -> None:
    """Fetch, check and unpack one file, unless that was done before."""
    path = folder / archive.name
    if archive.unpack_into is not None and archive.contains and (folder / archive.contains).exists():
        print(f"{folder / archive.contains}: is there")
        return
    if not path.exists():
        fetch(archive.url, path, tries=tries, pause=pause)
    check(archive, path)
    if archive.unpack_into is not None:
        unpack(path, folder / archive.unpack_into, archive.contains and folder / archive.contains)
        if not keep:
            path.unlink()


def fetch(url: str, path: Path, *, tries: int, pause: float) -> None:
    """Download a file; the part that is there is kept over broken connections and between runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    broken = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _append(url, part):
                part.rename(path)
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code in (400, 401, 403, 404, 410):
                raise ValueError(f"{url}: {error.code} {error.reason}; fetch it by hand and put it at {path}") from None
            reason = f"{error.code} {error.reason}"
        except OSError as error:  # refused, reset, timed out, no such host
            reason = str(getattr(error, "reason", error))
        # A line that brings something is not counted as broken, however often it breaks.
        broken = 0 if part.exists() and part.stat().st_size > before else broken + 1
        if broken >= tries:
            raise ValueError(f"{url}: {reason}, {tries} times; what came is kept in {part}, try again later")
        print(f"{path.name}: {reason}; going on", file=sys.stderr)
        time.sleep(pause)


def _append(url: str, part: Path) -> bool:
    """Ask for what is missing and append it; True when the file is whole."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "limber"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing after `start`: the part is the whole file, or longer than it
            raise
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if total == str(start):
            return True
        part.unlink()
        return False
    with answer:
        if "text/html" in (answer.headers.get("Content-Type") or ""):
            raise ValueError(f"{url}: a web page came instead of the file; open it in a browser and fetch it by hand")
        if start and answer.status != 206:  # a server that cannot resume sends all of it again
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as file:
            size = _copy(answer, file, start, total, part.stem)
    return size == total if total is not None else True


def _copy(answer: object, file: object, size: int, total: int | None, title: str) -> int:
    """Copy until the answer ends; returns how large the file is then."""
    told = time.monotonic()
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except OSError:  # broken in the middle: what came before it is good
            return size
        if not chunk:
            return size
        file.write(chunk)
        size += len(chunk)
        if sys.stderr.isatty() and time.monotonic() > told + 1:
            told = time.monotonic()
            share = f" of {total / 1e6:.0f}" if total else ""
            print(f"\r{title}: {size / 1e6:.0f}{share} MB", end="", file=sys.stderr)


def check(archive: Archive, path: Path) -> None:
    """Compare the file with its published md5, else with what the first download was; a wrong one is set aside."""
    if archive.md5:
        found, expected, whose = digest(path, "md5"), archive.md5, "as published"
    else:
        lock = path.parent / LOCK
        noted = json.loads(lock.read_text(encoding="utf-8")) if lock.exists() else {}
        found = digest(path, "sha256")
        if archive.name not in noted:
            lock.write_text(json.dumps(noted | {archive.name: found}, indent=1), encoding="utf-8")
            print(f"{path}: its publisher gives no checksum; {found} is noted in {lock}")
            return
        expected, whose = noted[archive.name], f"as noted in {lock}"
    if found != expected:
        wrong = path.with_name(path.name + ".wrong")
        path.replace(wrong)
        raise ValueError(f"{wrong}: checksum {found}; expected {expected} {whose}; run the command again")
    print(f"{path}: complete")


def digest(path: Path, kind: str) -> str:
    found = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def unpack(path: Path, folder: Path, result: Path | str) -> None:
    """Unpack a zip; under another name until all of it is there, so that half of it is never taken for the whole."""
    beside = folder / f".{path.name}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(beside)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a usable zip file ({error}); remove it and run the command again") from None
    for entry in beside.iterdir():
        _merge(entry, folder / entry.name)
    shutil.rmtree(beside)
    if result and not Path(result).exists():
        raise ValueError(f"{path}: unpacked, but {result} is not there; is it the right archive?")
    print(f"{folder}: unpacked {path.name}")


def _merge(source: Path, target: Path) -> None:
    """Move a file or a whole folder, into what is there already."""
    if source.is_dir() and target.is_dir():
        for entry in source.iterdir():
            _merge(entry, target / entry.name)
    else:
        source.replace(target)
