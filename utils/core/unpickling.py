"""An unpickler for which only an allow-list of names exists: tensors, plain data, and inert records of known classes.

A pickle is a small program. Here it can name storages, numpy arrays, plain containers and the classes of known
projects, which become Records; whatever else it asks for is refused by name. No class of the file is imported, no
function of it is called.
"""

import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

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


class Refused(Exception):
    """The file asked for something that is not on the list."""


class _Sealed(type):
    """A pickle may also set attributes on what it names; on these classes it cannot."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"an attribute '{name}' for a class")


class _Function:
    """A function of the allow-list, without the attributes that a pickle could set on a Python function."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"an attribute '{name}' for a function")

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


class Record(metaclass=_Sealed):
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


class Storages:
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


def unpickle(file: IO[bytes], storages: Storages) -> Any:
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        # A memo index far beyond the number of steps only serves to exhaust memory.
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count:
            raise ValueError("a memo index that no pickler writes")
    file.seek(start)
    return _Unpickler(file, storages).load()


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, for which only the names of the allow-list exist."""

    def __init__(self, file: IO[bytes], storages: Storages) -> None:
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
                self._records[full] = _Sealed(name.rpartition(".")[2], (Record,), {"origin": full})
            return self._records[full]
        raise Refused(f"'{full[:80]}'")


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


class _NumpyType(metaclass=_Sealed):
    """numpy.dtype, of which only numbers and booleans are known."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufc":
            raise ValueError(f"a numpy array of type {str(code)[:20]}; expected numbers")

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">", "="):
            self.dtype = self.dtype.newbyteorder(state[1])


class _NumpyArray(metaclass=_Sealed):
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
    "torch._utils._rebuild_tensor": _Function(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_rebuild_tensor),
    "torch._utils._rebuild_parameter": _Function(_rebuild_parameter),
    "torch.Size": tuple,
    "torch.device": _Function(_path),
    "_codecs.encode": _Function(_encode),
    "copy_reg._reconstructor": _Function(_reconstruct_object),
    "copyreg._reconstructor": _Function(_reconstruct_object),
    **{f"torch.{str(dtype).removeprefix('torch.')}": dtype for dtype in STORAGES.values()},
    **{f"{home}.{name}": kind for home in ("builtins", "__builtin__") for name, kind in (
        ("set", set), ("frozenset", frozenset), ("slice", slice), ("complex", complex), ("object", object))},
    **{f"numpy{home}.multiarray.{name}": kind for home in (".core", "._core") for name, kind in (
        ("scalar", _Function(_numpy_scalar)), ("_reconstruct", _Function(_numpy_reconstruct)))},
    "numpy.dtype": _NumpyType,
    "numpy.ndarray": _NumpyArray,
    **{f"numpy.dtypes.{name}DType": _NumpyType for name in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool")},
    **{f"pathlib.{name}": _Function(_path) for name in ("PosixPath", "WindowsPath", "PurePosixPath", "Path")},
}  # fmt: skip
