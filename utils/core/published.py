"""Reads the checkpoints that other projects published: pickles, of which only tensors and plain data are rebuilt.

A pickle is a small program. This reader lets it name an allow-list of things: tensor storages, numpy arrays, plain
containers, and classes of known projects, which all become inert Records. Whatever else it asks for is refused by name.
No class of the file is imported, no function of it is called.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Classes whose instances are kept as inert records, by the project that their module name begins with.
KNOWN_PROJECTS = (
    "models.", "utils.", "lib.", "yolox.", "mmengine.", "mmcv.", "mmpose.", "mmdet.", "mmyolo.", "ultralytics.",
    "torch.nn.modules.", "torch.nn.parallel.", "torch.optim.", "argparse.", "easydict.", "yacs.", "__main__.",
)  # fmt: skip
MAX_DEPTH = 64  # of modules within modules; real networks stay below ten

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip

_BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError, MemoryError, RecursionError,
    ArithmeticError, LookupError, TypeError, AttributeError, ValueError, ImportError, NotImplementedError, RuntimeError,
)  # fmt: skip


class _Refused(Exception):
    """The file asked for something that is not on the list."""


class Record:
    """An object of the file, without its class: the class's name, what it was made from, and its attributes."""

    origin = ""

    def __init__(self, *arguments: Any, **_: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    # Containers of other projects fill themselves through these.
    def __setitem__(self, key: Any, value: Any) -> None:
        vars(self).setdefault("items", {})[key] = value

    def append(self, value: Any) -> None:
        vars(self).setdefault("values", []).append(value)

    @property
    def kind(self) -> str:
        """The bare class name: 'Conv' of 'models.common.Conv'."""
        return self.origin.rpartition(".")[2]

    @property
    def attributes(self) -> Mapping[str, Any]:
        state = vars(self).get("state", {})
        return state if isinstance(state, Mapping) else {}

    @property
    def children(self) -> Mapping[str, "Record"]:
        """Its submodules, if it was a torch module."""
        modules = self.attributes.get("_modules")
        found = modules if isinstance(modules, Mapping) else {}
        return {str(name): child for name, child in found.items() if isinstance(child, Record)}

    def tensors(self, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters and buffers with their state names, in the order of a state dict."""
        if depth > MAX_DEPTH:
            raise ValueError(f"modules are nested more than {MAX_DEPTH} deep")
        for group in ("_parameters", "_buffers"):
            members = self.attributes.get(group)
            for name, tensor in members.items() if isinstance(members, Mapping) else ():
                if isinstance(tensor, torch.Tensor):
                    yield f"{prefix}{name}", tensor
        for name, child in self.children.items():
            yield from child.tensors(f"{prefix}{name}.", depth + 1)


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
        found = dict(self.module.tensors()) if self.module else _plain_tensors(self.content)
        if not found:
            raise ValueError(f"{self.path}: no weights found; expected a network or a state dict")
        return {
            name: tensor.detach().float() if tensor.is_floating_point() else tensor for name, tensor in found.items()
        }


def _plain_tensors(content: Any) -> dict[str, torch.Tensor]:
    """A bare state dict, or one under the usual keys."""
    if isinstance(content, Mapping):
        for key in ("ema_state_dict", "state_dict", "model_state_dict", "model"):
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
    except _Refused as refusal:
        raise ValueError(
            f"{path}: refused, it asks for {refusal}; expected tensors and plain data only (nothing of it was run)"
        ) from None
    except _BROKEN as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: no checkpoint, or cut off or damaged ({why}); fetch it again") from None


def _read_zip(file: io.BufferedIOBase) -> Any:
    """The format of torch 1.6 and later: a zip with one pickle and one entry per storage."""
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in the archive")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in names:
            raise _Refused("TorchScript code")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("the archive is compressed, as torch never writes it")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("numbers in big-endian order")

        def load(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
            return _storage(archive.read(f"{root}data/{key}"), dtype, count)

        return _unpickle(io.BytesIO(archive.read(pickles[0])), _Storages(load))


LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def _read_legacy(file: io.BufferedIOBase) -> Any:
    """The format before torch 1.6: five pickles in a row, then the storages, each with its length in front."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    empty = _Storages(_no_storage)
    if _unpickle(file, empty) != LEGACY_MAGIC or _unpickle(file, empty) != LEGACY_PROTOCOL:
        raise ValueError("neither a zip archive nor a torch file")
    _unpickle(file, empty)  # sizes of the C types of the machine that wrote it
    wanted: dict[str, torch.Tensor] = {}

    def reserve(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if not 0 <= count * dtype.itemsize <= length:
            raise ValueError(f"storage {key} is larger than the file")
        return wanted.setdefault(key, torch.zeros(count, dtype=dtype))

    content = _unpickle(file, _Storages(reserve))
    for key in _unpickle(file, empty):
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


class _Storages:
    """The storages of a file, each read once."""

    def __init__(self, load: Callable[[str, torch.dtype, int], torch.Tensor]) -> None:
        self._load = load
        self._loaded: dict[str, torch.Tensor] = {}

    def get(self, reference: Any) -> torch.Tensor:
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise ValueError(f"a reference to {str(reference)[:60]}; expected a storage")
        _, dtype, key, _, count = reference[:5]
        if not isinstance(dtype, torch.dtype) or not isinstance(count, int):
            raise ValueError("a storage without a number type")
        if str(key) not in self._loaded:
            self._loaded[str(key)] = self._load(str(key), dtype, count)
        return self._loaded[str(key)]


def _unpickle(file: io.BufferedIOBase, storages: _Storages) -> Any:
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        # A memo index far beyond the number of steps only serves to exhaust memory.
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count:
            raise ValueError("a memo index that no pickler writes")
    file.seek(start)
    return _Unpickler(file, storages).load()


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, for which only the names of the allow-list exist."""

    def __init__(self, file: io.BufferedIOBase, storages: _Storages) -> None:
        super().__init__(file, encoding="latin1")
        self._storages = storages
        self._records: dict[str, type[Record]] = {}

    def persistent_load(self, reference: Any) -> torch.Tensor:
        return self._storages.get(reference)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in ALLOWED:
            return ALLOWED[full]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if full.startswith(KNOWN_PROJECTS) and all(part.isidentifier() for part in full.split(".")):
            if full not in self._records:
                self._records[full] = type(name.rpartition(".")[2], (Record,), {"origin": full})
            return self._records[full]
        raise _Refused(f"'{full[:80]}'")


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A view of a storage, refused when it reaches outside or shows more than the storage holds."""
    if not isinstance(storage, torch.Tensor) or not all(
        isinstance(n, int) and n >= 0 for n in (offset, *size, *stride)
    ):
        raise ValueError("a tensor without a proper storage, size and stride")
    if len(size) != len(stride):
        raise ValueError("a tensor whose size and stride differ in length")
    if 0 in size:
        return torch.empty(size, dtype=storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage) or math.prod(size) > len(storage):
        raise ValueError("a tensor larger than its storage")
    return torch.as_strided(storage, size, stride, offset)


def _rebuild_parameter(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor


class _NumpyType:
    """numpy.dtype, of which only numbers and booleans are known."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufc":
            raise ValueError(f"a numpy array of type {str(code)[:20]}; expected numbers")

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">", "="):
            self.dtype = self.dtype.newbyteorder(state[1])


class _NumpyArray:
    """numpy.ndarray: becomes one when its state arrives."""

    array = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        array = np.frombuffer(_bytes(data), kind.dtype)
        self.array = array.reshape(shape, order="F" if is_fortran else "C")


def _numpy_scalar(kind: _NumpyType, data: Any = b"") -> float:
    return np.frombuffer(_bytes(data), kind.dtype)[0].item()


def _numpy_reconstruct(*_: Any) -> _NumpyArray:
    return _NumpyArray()


def _bytes(data: Any) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Protocol 2 writes bytes as text in latin1; nothing else is needed of _codecs.encode."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {str(encoding)[:20]}")
    return text.encode("latin1")


def _path(*parts: str) -> str:
    return "/".join(str(part) for part in parts)


def _reconstruct_object(kind: type[Record], *_: Any) -> Record:
    if not (isinstance(kind, type) and issubclass(kind, Record)):
        raise ValueError("an object without a class")
    return kind()


ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": tuple,
    "torch.device": _path,
    "_codecs.encode": _encode,
    "copy_reg._reconstructor": _reconstruct_object,
    "copyreg._reconstructor": _reconstruct_object,
    **{f"torch.{str(dtype).removeprefix('torch.')}": dtype for dtype in STORAGES.values()},
    **{f"{home}.{name}": kind for home in ("builtins", "__builtin__") for name, kind in (
        ("set", set), ("frozenset", frozenset), ("slice", slice), ("complex", complex), ("object", object))},
    **{f"numpy{home}.multiarray.{name}": kind for home in (".core", "._core") for name, kind in (
        ("scalar", _numpy_scalar), ("_reconstruct", _numpy_reconstruct))},
    "numpy.dtype": _NumpyType,
    "numpy.ndarray": _NumpyArray,
    **{f"numpy.dtypes.{name}DType": _NumpyType for name in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool")},
    **{f"pathlib.{name}": _path for name in ("PosixPath", "WindowsPath", "PurePosixPath", "Path")},
}  # fmt: skip
