"""Decoded images kept for later epochs: in memory that all workers share, or in files that they map."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from utils.core.console import log

FACTORS = (8, 4, 2, 1)  # by which a large photograph may be kept smaller


class ImageCache(Protocol):
    """Where decoded images are kept; each at a fixed fraction of its size."""

    def factor(self, index: int) -> int:
        """The image is kept at 1 / factor."""

    def find(self, index: int) -> np.ndarray | None:
        """The image, if somebody has kept it."""

    def keep(self, index: int, image: np.ndarray) -> None: ...


def kept_factors(sizes: np.ndarray, least: int) -> np.ndarray:
    """How much smaller images of sizes (I, 2) can be kept while their longer side still has `least` pixels."""
    longer = sizes.max(1, initial=0)
    factors = np.ones(len(sizes), np.int64)
    for factor in reversed(FACTORS):
        factors[longer >= least * factor] = factor
    return factors


class MemoryCache:
    """One block of shared memory with a place for every image; filled by whoever decodes an image first."""

    def __init__(self, sizes: np.ndarray, least: int) -> None:
        self._factors = kept_factors(sizes, least)
        self._shapes = -(-sizes.astype(np.int64) // self._factors[:, None])
        self._ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(self._shapes.prod(1) * 3)))
        total = int(self._ends[-1])
        _check_shared_memory(total)
        self._block = torch.empty(total, dtype=torch.uint8).share_memory_()
        self._filled = torch.zeros(len(sizes), dtype=torch.uint8).share_memory_()

    def factor(self, index: int) -> int:
        return int(self._factors[index])

    def find(self, index: int) -> np.ndarray | None:
        return self._place(index) if self._filled[index] else None

    def keep(self, index: int, image: np.ndarray) -> None:
        # Two workers may write the same bytes at the same time, which does no harm; the mark comes last.
        self._place(index)[:] = image
        self._filled[index] = 1

    def _place(self, index: int) -> np.ndarray:
        part = self._block[self._ends[index] : self._ends[index + 1]]
        return part.numpy().reshape(*self._shapes[index], 3)


def _check_shared_memory(needed: int) -> None:
    if not os.path.isdir("/dev/shm"):  # noqa: PTH112  not Linux: the system says so itself
        return
    free = shutil.disk_usage("/dev/shm").free
    if needed > 0.9 * free:
        raise ValueError(
            f"image cache: {needed / 2**30:.1f} GiB of shared memory needed but {free / 2**30:.1f} GiB free; "
            "cache on disk, or not at all"
        )


class DiskCache:
    """One file per image, named after the path, size and time of its source; changed sources get new files."""

    def __init__(self, folder: str | Path, paths: "Paths", sizes: np.ndarray, least: int) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._paths = paths
        self._factors = kept_factors(sizes, least)
        self._full = False

    def factor(self, index: int) -> int:
        return int(self._factors[index])

    def find(self, index: int) -> np.ndarray | None:
        try:
            return np.load(self._file(index), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):  # not there, or not whole: decode it again
            return None

    def keep(self, index: int, image: np.ndarray) -> None:
        """Written beside its place and then moved there, so that nobody ever maps half a file."""
        if self._full:
            return
        file = self._file(index)
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        try:
            with unfinished.open("wb") as stream:
                np.save(stream, image, allow_pickle=False)
            unfinished.replace(file)
        except OSError as error:
            self._full = True
            log.warning("%s: the image cache cannot grow any more (%s); going on without", self.folder, error.strerror)
            unfinished.unlink(missing_ok=True)

    def _file(self, index: int) -> Path:
        path = self._paths.path(index)
        try:
            state = os.stat(path)  # noqa: PTH116  called for every sample
        except OSError:
            return self.folder / "missing.npy"
        key = f"{os.path.abspath(path)}|{state.st_size}|{state.st_mtime_ns}|{self._factors[index]}"  # noqa: PTH100
        return self.folder / (hashlib.blake2b(os.fsencode(key), digest_size=16).hexdigest() + ".npy")


class Paths(Protocol):
    def path(self, index: int) -> str: ...
