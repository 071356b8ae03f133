"""Weights as users name them: a file here, an http(s) address, or hf://owner/repo/file; what is fetched is kept."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from utils.core.config import cache_folder, find
from utils.core.console import log
from utils.core.download import digest, direct, fetch, on_drive

SCHEMES = ("http://", "https://", "hf://")
HUB = "https://huggingface.co"  # unless HF_ENDPOINT names a mirror
TRIES, PAUSE = 5, 1.0
_HF = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<early>[^/]+))?/(?P<file>[^@]+)(@(?P<late>.+))?")


def is_address(name: str | Path) -> bool:
    return str(name).startswith(SCHEMES)


def located(name: str | Path) -> Path:
    """The file that a user means: one that is here, or one that is fetched, unless that was done before."""
    if is_address(name):
        return _fetched(Address.read(str(name)))
    try:
        return find(name)
    except ValueError as error:
        if Path(name).suffix in (".pt", ".pth", ".safetensors"):
            raise ValueError(f"{error}; where published weights are to be had: docs/models.md") from None
        raise


def suffix_of(name: str | Path) -> str:
    """What kind of file a name or an address means, before anything is fetched."""
    return Path(Address.read(str(name)).name if is_address(name) else name).suffix.lower()


@dataclass(frozen=True)
class Address:
    """Where a file is to be had, and what its checksum begins with, if that is known."""

    typed: str  # without the checksum
    url: str
    name: str
    sha256: str | None

    @classmethod
    def read(cls, text: str) -> "Address":
        """From `URL`, `hf://owner/repo/path/file` or `hf://owner/repo/path/file@revision`, each with `#sha256=HEX`."""
        typed, _, fragment = text.partition("#")
        wanted = re.fullmatch(r"sha256=([0-9a-fA-F]{8,64})", fragment)
        if fragment and not wanted:
            raise ValueError(f"{text}: '#{fragment}' found; expected #sha256= and 8 to 64 hexadecimal digits")
        url = _url_of(typed)
        parts = urlsplit(url)
        if not parts.netloc:
            raise ValueError(f"{text}: no host in this address")
        name = on_drive(typed) or unquote(PurePosixPath(parts.path).name)
        return cls(typed, url, re.sub(r"[^\w.-]", "_", name) or "weights", wanted and wanted[1].lower())

    @property
    def folder(self) -> Path:
        """Its own place in the cache: many published files are called last.pt."""
        return cache_folder() / "weights" / hashlib.sha256(self.url.encode()).hexdigest()[:12]


def _url_of(typed: str) -> str:
    """The address that a server understands."""
    if not typed.startswith("hf://"):
        return quote(direct(typed), safe="%/:=&?~#+!$,;'@()*[]")
    found = _HF.fullmatch(typed)
    if not found or found["file"].endswith("/") or (found["early"] and found["late"]):
        raise ValueError(f"{typed}: expected hf://owner/repo/path/file, or with @revision at its end")
    revision = quote(found["early"] or found["late"] or "main", safe="")
    hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    return f"{hub}/{found['repo']}/resolve/{revision}/{quote(found['file'])}"


def _fetched(address: Address) -> Path:
    """The file in the cache, fetched and verified if it is not there."""
    path, record = address.folder / address.name, address.folder / "record.json"
    try:
        address.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{error.filename}: {error.strerror}; LIMBER_CACHE may name another place") from None
    with _alone(address.folder, path.name):
        known = _known(record)
        if path.exists() and _is_right(address, path, known):
            return path
        log.info("%s: fetching it into %s", address.typed, path)
        fetch(address.url, path, tries=TRIES, pause=PAUSE, verify=lambda part: _verify(address, part, known))
        found = digest(path)
        _note(record, path, found)
        if not (address.sha256 or known):
            log.info("%s: no checksum was given; #sha256=%s was found and is remembered", address.typed, found)
    return path


def _is_right(address: Address, path: Path, known: dict[str, object]) -> bool:
    """Whether the file in the cache is the one that is asked for, or has at least not changed since it came."""
    record, stamp = path.with_name("record.json"), _stamp(path)
    found = str(known["sha256"]) if known.get("stamp") == stamp else digest(path)
    expected = address.sha256 or str(known.get("sha256", found))
    if not found.startswith(expected):
        log.info("%s: not the file that is wanted (sha256 %s, not %s)", path, found, expected)
        return False
    if known.get("stamp") != stamp:  # it was put there by hand, or touched
        with contextlib.suppress(OSError):  # a cache that may only be read
            _note(record, path, found)
    return True


def _verify(address: Address, part: Path, known: dict[str, object]) -> None:
    """Refuse what is not the file that is wanted; without a checksum, what differs from the first download."""
    found = digest(part)
    expected = address.sha256 or str(known.get("sha256", found))
    if found.startswith(expected):
        return
    part.unlink()
    if address.sha256:
        raise ValueError(
            f"{address.typed}: sha256 {found} came, {expected} was asked for; another file is there now, or it was "
            "damaged on the way. Nothing of it was kept"
        )
    raise ValueError(
        f"{address.typed}: sha256 {found} came, the first download was {expected}; another file is there now, or it "
        f"was damaged on the way. Nothing of it was kept; to take it, ask for {address.typed}#sha256={found}"
    )


def _known(record: Path) -> dict[str, object]:
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or cut off
        return {}
    return values if isinstance(values, dict) and "sha256" in values else {}


def _note(record: Path, path: Path, found: str) -> None:
    beside = record.with_name("record.json.part")
    beside.write_text(json.dumps({"sha256": found, "stamp": _stamp(path)}), encoding="utf-8")
    beside.replace(record)


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


@contextlib.contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """One process at a time, where the system has locks: of the processes of one run the others wait for the first."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context((folder / ".lock").open("w"))
        except OSError:  # a cache that may only be read has what it has
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process fetches it; waiting", what)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
