"""Reads the checkpoints that other projects published: pickles, of which only tensors and plain data are rebuilt."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from utils.core.unpickling import Record, Refused, Storages, unpickle

_BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError, MemoryError, RecursionError,
    ArithmeticError, LookupError, TypeError, AttributeError, ValueError, ImportError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What a published checkpoint holds."""

    path: str
    content: Any

    @property
    def module(self) -> Record | None:
        """The pickled network: the averaged one (ema) where there is one."""
        if isinstance(self.content, Mapping):
            for key in ("ema", "model"):
                if isinstance(self.content.get(key), Record):
                    return self.content[key]
            return None
        return self.content if isinstance(self.content, Record) else None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All weights by their published names, in float32 where they are fractions."""
        try:
            found = dict(self.module.tensors()) if self.module else _plain_tensors(self.content)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None
        if not found:
            raise ValueError(f"{self.path}: no weights found; expected a network or a state dict")
        return {
            name: tensor.detach().float() if tensor.is_floating_point() else tensor for name, tensor in found.items()
        }


def _plain_tensors(content: Any) -> dict[str, torch.Tensor]:
    """A bare state dict, or one under the usual keys."""
    if isinstance(content, Mapping):
        # mmengine exchanges the two when it saves: the average is its state_dict.
        first = ("state_dict",) if "meta" in content else ()
        for key in (*first, "ema_state_dict", "state_dict", "model_state_dict", "model"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        return {
            str(name).removeprefix("module."): value
            for name, value in content.items()
            if isinstance(value, torch.Tensor)
        }
    return {}


def read_published(path: str | Path) -> Published:
    """The content of a `.pt` or `.pth` file; a broken file or one that wants to run something is a ValueError."""
    try:
        with Path(path).open("rb") as file:
            read = _read_zip if file.read(2) == b"PK" else _read_legacy
            file.seek(0)
            return Published(str(path), read(file))
    except Refused as refusal:
        raise ValueError(
            f"{path}: refused, it asks for {refusal}; expected tensors and plain data only (nothing of it was run)"
        ) from None
    except _BROKEN as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: no checkpoint, or cut off or damaged ({why}); fetch it again") from None


def _read_zip(file: IO[bytes]) -> Any:
    """The format of torch 1.6 and later: a zip with one pickle and one entry per storage."""
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in the archive")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in names:
            raise Refused("TorchScript code")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("the archive is compressed, as torch never writes it")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("numbers in big-endian order")

        def load(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
            return _storage(archive.read(f"{root}data/{key}"), dtype, count)

        return unpickle(io.BytesIO(archive.read(pickles[0])), Storages(load))


LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def _read_legacy(file: IO[bytes]) -> Any:
    """The format before torch 1.6: five pickles in a row, then the storages, each with its length in front."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    empty = Storages(_no_storage)
    if unpickle(file, empty) != LEGACY_MAGIC or unpickle(file, empty) != LEGACY_PROTOCOL:
        raise ValueError("neither a zip archive nor a torch file")
    unpickle(file, empty)  # sizes of the C types of the machine that wrote it
    wanted: dict[str, torch.Tensor] = {}

    def reserve(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if not 0 <= count * dtype.itemsize <= length:
            raise ValueError(f"storage {key} is larger than the file")
        return wanted.setdefault(key, torch.zeros(count, dtype=dtype))

    content = unpickle(file, Storages(reserve))
    for key in unpickle(file, empty):
        (count,) = struct.unpack("<q", file.read(8))
        tensor = wanted[str(key)]
        tensor.copy_(_storage(file.read(count * tensor.element_size()), tensor.dtype, len(tensor)))
    return content


def _no_storage(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
    raise ValueError("a tensor where none belongs")


def _storage(data: bytes, dtype: torch.dtype, count: int) -> torch.Tensor:
    """The bytes of a storage as a flat tensor."""
    if count < 0 or len(data) < count * dtype.itemsize:
        raise ValueError(f"a storage of {len(data)} bytes; expected {count * dtype.itemsize}")
    return torch.frombuffer(bytearray(data), dtype=dtype, count=count) if count else torch.zeros(0, dtype=dtype)
