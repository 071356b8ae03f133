"""Our checkpoints: safetensors with a JSON header to keep, a weights-only `.pt` to resume; written whole or not."""

import hashlib
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = 1  # of the header
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, MemoryError, RuntimeError, ValueError, LookupError,
    TypeError, AttributeError,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Weights by name, and a header in plain values: the spec, the metrics, how it was made."""

    tensors: dict[str, torch.Tensor]
    header: dict[str, Any]


def save(path: str | Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Write a checkpoint to keep. A digest over header and weights is stored with it."""
    plain = _apart(tensors)
    text = json.dumps(dict(header), sort_keys=True)  # in ASCII: a file name may hold broken letters
    metadata = {"limber": text, "format": str(FORMAT), "sha256": _digest(text, plain)}
    write_whole(path, lambda target: save_file(plain, target, metadata=metadata))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours; anything that is damaged or not ours is a ValueError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({_first_line(error)})") from None
    except (SafetensorError, ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: cut off or damaged ({_first_line(error)}); use another copy") from None
    if "limber" not in metadata:
        raise ValueError(f"{path}: safetensors without Limber's header; give the model YAML with --cfg")
    intact = metadata.get("sha256") == _digest(metadata["limber"], tensors)
    if not intact and metadata.get("format", str(FORMAT)) == str(FORMAT):
        raise ValueError(f"{path}: damaged, its content does not match the digest it carries; use another copy")
    if metadata.get("format") != str(FORMAT):
        raise ValueError(f"{path}: format {metadata.get('format')} found; this version of Limber reads {FORMAT}")
    return Checkpoint(tensors, json.loads(metadata["limber"]))


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write everything that a run needs to go on: tensors, numbers, strings, lists and dicts of them."""
    write_whole(path, lambda target: torch.save(dict(state), target))


def load_state(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote; only tensors and plain data are rebuilt."""
    try:
        _check_sums(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # torch's own words recommend to run it
        raise ValueError(
            f"{path}: refused, it asks for more than tensors and plain data (nothing of it was run)"
        ) from None
    except _BROKEN as error:
        raise ValueError(f"{path}: not a state that a run can resume from ({_first_line(error)})") from None
    if not isinstance(state, dict):
        raise ValueError(f"{path}: not a state that a run can resume from (a {type(state).__name__}, not a dict)")
    return state


def is_safetensors(path: str | Path) -> bool:
    """Whether the content, not the name, is safetensors: a length, then a JSON object."""
    with Path(path).open("rb") as file:
        return file.read(9)[8:] == b"{"


def write_whole(path: str | Path, write: Callable[[str], None]) -> None:
    """Write to a temporary neighbour, flush, then rename: a reader sees the old file or the new one, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        write(temporary)
        with Path(temporary).open("rb+") as file:
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except (SafetensorError, RuntimeError) as error:  # "unexpected pos 704 vs 598" is how torch says it
        Path(temporary).unlink(missing_ok=True)
        raise OSError(
            f"{path}: cannot be written ({_first_line(error)}); is the disk full? The file before it is untouched"
        ) from error
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or error
        raise OSError(f"{path}: cannot be written: {reason}; the file before it is untouched") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor with memory of its own, as safetensors wants it: tied weights are stored twice."""
    found: dict[str, torch.Tensor] = {}
    memories = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if memory in memories else tensor
        memories.add(memory)
    return found


def _check_sums(path: str | Path) -> None:
    """Every entry of the archive against its checksum, which torch writes but does not read."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not match its checksum")


def _digest(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
