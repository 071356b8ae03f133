"""A cache of Records that is believed only when it can be proven to say what the files say now.

One file: a line with the digest of all that follows, a line of JSON, and the arrays as they lie in memory. Nothing in
it is ever executed. It is believed when its own digest holds, when this version of the reader wrote it for these
settings, and when every source file still has the size, times and inode noted then. Where one differs (an edit, a copy,
another machine) or is too fresh for its clock, the sources' bytes are hashed and must be the ones that were read.
"""

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from utils.core.config import cache_folder
from utils.core.console import log
from utils.data.records import PERSON_FIELDS, Digest, Packer, Problem, Records

VERSION = 1  # of the readers and of this format: raise it when either reads something differently
TOO_FRESH = 2 * 10**9  # ns; the coarsest clock of a file system in use, FAT's, ticks every two seconds
ANYBODY_MAY_WRITE = 0o222
MAGIC = b"limber-records "


class Source(Protocol):
    """Annotation files, whatever their format."""

    key: dict[str, Any]  # what the reading depends on besides the files' bytes
    root: Path  # the folder of the images
    base: Path  # what the places of problems start with
    keypoint_count: int

    def stamps(self) -> np.ndarray: ...

    def digest(self) -> str: ...

    def parse(self) -> tuple[Records, str]: ...  # the digest of what was read; none: not to keep


@dataclass(frozen=True)
class _Entry:
    records: Records
    stamps: np.ndarray
    digest: str
    taken: int  # when the stamps were taken, in ns

    def holds(self, stamps: np.ndarray) -> bool:
        """True when no source file can have changed since: same stamps, none younger than the clock can tell."""
        if not np.array_equal(self.stamps, stamps):
            return False
        return not stamps.size or int(stamps[:, 1:3].max()) < self.taken - TOO_FRESH


def stamps(paths: Iterable[str | Path]) -> np.ndarray:
    """Size, modification time, change time and inode of every file (F, 4) int64; zeros where there is none."""
    rows = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  Path.stat costs four times as much, and this runs for every image
        except OSError:  # its reader reports it
            rows.append((0, 0, 0, 0))
            continue
        # An inode may use all 64 bits; only equality counts.
        inode = status.st_ino & (2**63 - 1)
        rows.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode))
    return np.array(rows, np.int64).reshape(-1, 4)


def read(source: Source, home: Path) -> Records:
    """The source's records: from the cache file `home` or its stand-in where it cannot be written, else read anew."""
    taken, now = time.time_ns(), source.stamps()
    for place in (home, stand_in(home)):
        entry = _open(place, source)
        if entry is None:
            continue
        if entry.holds(now):
            return entry.records
        if source.digest() == entry.digest and np.array_equal(source.stamps(), now):
            _write((home, stand_in(home)), source, replace(entry, stamps=now, taken=taken))
            return entry.records
        log.info("%s: the annotations have changed, reading them again", place)
    records, digest = source.parse()
    if digest and np.array_equal(source.stamps(), now):  # else somebody wrote while we read: keep nothing
        _write((home, stand_in(home)), source, _Entry(records, now, digest, taken))
    return records


def stand_in(home: Path) -> Path:
    """Where the cache goes when the data set's own folder is read-only."""
    return cache_folder() / f"{hashlib.blake2b(str(home.absolute()).encode(), digest_size=8).hexdigest()}-{home.name}"


def new_digest() -> Digest:
    return hashlib.blake2b(digest_size=16)


def _open(path: Path, source: Source) -> _Entry | None:
    """The cache file's content when it is whole and made for this source; None, with a log line, when it is not."""
    try:
        data = path.read_bytes()
    except OSError:  # there is none, or none for us: it will be written anew where that is possible
        return None
    first, _, rest = data.partition(b"\n")
    if first != MAGIC + digest_of(rest).encode():
        log.info("%s: the cache is damaged or of another version, reading the annotations again", path)
        return None
    head, _, payload = rest.partition(b"\n")
    about = json.loads(head)
    if about.get("key") != _key(source):
        log.info("%s: the cache was made by another version or for other settings, reading again", path)
        return None
    entry = _unpack(about, payload, source)
    if entry is None:
        log.info("%s: the cache contradicts itself, reading the annotations again", path)
    return entry


def digest_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _key(source: Source) -> dict[str, Any]:
    return {"version": VERSION, **source.key}


def _array_fields(records: Records) -> dict[str, np.ndarray]:
    values = {field.name: getattr(records, field.name) for field in fields(records)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _unpack(about: dict[str, Any], payload: bytes, source: Source) -> _Entry | None:
    """Arrays out of the payload, each of the type and shape that records have; None when they do not fit together."""
    expected = _array_fields(Packer(source.keypoint_count).records("")) | {"stamps": np.zeros((0, 4), np.int64)}
    arrays, position = {}, 0
    for name, empty in expected.items():
        shape = tuple(about["shapes"].get(name, ()))
        size = math.prod(shape) * empty.itemsize
        if len(shape) != empty.ndim or shape[1:] != empty.shape[1:] or position + size > len(payload):
            return None
        arrays[name] = np.frombuffer(payload, empty.dtype, math.prod(shape), position).reshape(shape)
        position += _padded(size)
    found = arrays.pop("stamps")
    problems = [Problem(**problem) for problem in about["problems"]]
    moved = [replace(each, where=_moved(each.where, about["base"], str(source.base))) for each in problems]
    records = Records(root=str(source.root), problems=tuple(moved), **arrays)
    return _Entry(records, found, about["digest"], about["taken"]) if fits_together(records) else None


def _as_bytes(values: np.ndarray) -> bytes:
    """The array's memory, filled up so that the next one starts where processors like it."""
    data = values.tobytes()
    return data.ljust(_padded(len(data)), b"\0")


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _moved(where: str, old: str, new: str) -> str:
    """The place of a problem in a data set that was moved together with its cache."""
    return new + where[len(old) :] if where.startswith(old) else where


def fits_together(records: Records) -> bool:
    """Every array as long as the others say, every end in order."""
    images, persons = len(records.image_ids), len(records.ids)
    arrays = _array_fields(records)
    lengths = {"sizes": images, "image_ids": images, "name_ends": images + 1, "person_ends": images + 1}
    lengths |= dict.fromkeys(PERSON_FIELDS, persons)
    if any(len(arrays[name]) != length for name, length in lengths.items()):
        return False
    for ends, total in ((records.name_ends, len(records.names)), (records.person_ends, persons)):
        if ends[0] != 0 or ends[-1] != total or (np.diff(ends) < 0).any():
            return False
    return True


def _write(places: Sequence[Path], source: Source, entry: _Entry) -> None:
    """Write to the first place that can be written, all or nothing; a cache that cannot be kept is no error."""
    arrays = _array_fields(entry.records) | {"stamps": entry.stamps}
    about = {
        "key": _key(source),
        "digest": entry.digest,
        "taken": entry.taken,
        "base": str(source.base),
        "problems": [asdict(problem) for problem in entry.records.problems],
        "shapes": {name: values.shape for name, values in arrays.items()},
    }
    body = json.dumps(about).encode() + b"\n" + b"".join(_as_bytes(each) for each in arrays.values())
    data = MAGIC + digest_of(body).encode() + b"\n" + body
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.parent.stat().st_mode & ANYBODY_MAY_WRITE:  # the system itself would not stop root
                replace_file(place, data)
                return
        except OSError as error:
            log.info("%s: no cache is kept here: %s", place, error.strerror or error)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)  # a data set's other users may read it
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
