"""Checkpoints of others: what is read, what is refused, and that nothing of a file is ever run."""

import builtins
import collections
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.core.published import read_published

# ---------------------------------------------------------------------------------------------- files built here


class Asks:
    """Pickles as a call of a function with arguments: what every malicious checkpoint comes down to."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def archive(path: Path, data: bytes, **entries: bytes) -> Path:
    """A file as torch.save lays it out, around any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            file.writestr(f"archive/{name}", content)
    return path


def by_name(module: str, name: str, *arguments: object) -> bytes:
    """A pickle that calls module.name(*arguments), also where that does not exist."""
    return (
        b"\x80\x02c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R."
    )  # fmt: skip


def hostile_pickles(marker: Path) -> dict[str, bytes]:
    """Each would leave the marker behind, or break out otherwise, if a plain unpickler read it."""
    write = f"open({str(marker)!r}, 'w').write('ran')"
    system = pickle.dumps(Asks(os.system, f"touch {marker}"), 2)
    deep: object = Asks(os.system, f"touch {marker}")
    for _ in range(300):
        deep = [deep]
    return {
        "os.system": pickle.dumps({"model": Asks(os.system, f"touch {marker}")}),
        "builtins.exec": pickle.dumps(Asks(exec, write)),
        "builtins.eval": pickle.dumps([Asks(eval, write)]),
        "io.open": pickle.dumps(Asks(open, str(marker), "w")),
        "builtins.__import__": pickle.dumps(Asks(builtins.__import__, "antigravity")),
        "builtins.getattr": by_name("builtins", "getattr", "a", "b"),
        "subprocess.Popen": pickle.dumps(Asks(subprocess.Popen, ["touch", str(marker)])),
        "subprocess.check_output": pickle.dumps(Asks(subprocess.check_output, ["touch", str(marker)])),
        "posix.system": by_name("posix", "system", f"touch {marker}"),
        "nt.system": by_name("nt", "system", f"touch {marker}"),
        "importlib.import_module": by_name("importlib", "import_module", "antigravity"),
        "runpy.run_path": by_name("runpy", "run_path", str(marker)),
        "pickle.loads": by_name("pickle", "loads", pickle.dumps(Asks(os.system, f"touch {marker}"))),
        "torch.load": by_name("torch", "load", str(marker)),
        "torch.storage._load_from_bytes": by_name("torch.storage", "_load_from_bytes", b""),
        "torch.hub.load": by_name("torch.hub", "load", "x"),
        "torch.ops.load_library": by_name("torch", "ops.load_library", str(marker)),
        "numpy.load": by_name("numpy", "load", str(marker), None, True),
        "shutil.rmtree": by_name("shutil", "rmtree", str(marker.parent / "never")),
        "webbrowser.open": by_name("webbrowser", "open", "http://localhost"),
        "models.os.system (no class)": by_name("models.os", "sys tem", f"touch {marker}"),
        "os.system in 300 lists": pickle.dumps(deep, 4),
        "os.system as the state of a record": b"\x80\x02cmodels.yolo\nModel\n)\x81" + system[2:-1] + b"b.",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(hostile_pickles(Path("marker"))))
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_file_that_asks_to_run_something_is_refused_by_name_and_nothing_ran(
    tmp_path: Path, name: str, layout: str
) -> None:
    marker = tmp_path / "marker"
    data = hostile_pickles(marker)[name]
    path = tmp_path / "hostile.pt"
    if layout == "zip":
        archive(path, data)
    else:  # five pickles in a row; the content is the fourth
        head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
        path.write_bytes(head + data + pickle.dumps([], 2))
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"hostile\.pt: refused, it asks for '") as error:
        read_published(path)
    asked = name.split(" ")[0].rpartition(".")[2].replace("system", "sys")  # os.system pickles as posix.system
    assert asked in str(error.value)
    assert "\n" not in str(error.value)
    assert not marker.exists()
    assert "antigravity" not in set(sys.modules) - before


def test_the_same_files_do_run_with_plain_pickle(tmp_path: Path) -> None:
    """The test above would prove nothing if the files were harmless."""
    marker = tmp_path / "marker"
    pickle.loads(hostile_pickles(marker)["builtins.exec"])
    assert marker.exists()


def test_a_file_cannot_change_the_reader_for_the_next_file(tmp_path: Path) -> None:
    """BUILD with a slot state sets attributes on whatever was named: classes and functions of the reader refuse."""
    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2"), ("numpy", "dtype"), ("numpy", "ndarray"), ("models.common", "Conv"),
        ("collections", "OrderedDict"),
    ):  # fmt: skip
        state = pickle.dumps((None, {"__call__": 1, "array": 2, "__init__": 3}), 2)[2:-1]
        data = b"\x80\x02c" + f"{module}\n{name}\n".encode() + state + b"b."
        with pytest.raises(ValueError, match="no checkpoint, or cut off or damaged"):
            read_published(archive(tmp_path / "change.pt", data))


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(ValueError, match="refused, it asks for TorchScript code"):
        read_published(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"PK\x03\x04 nothing more",
        b"\x80\x02",
        b"\x80\x02" + b"]" * 200_000 + b"." * 2,  # a list of lists of lists that never ends well
        b"\x80\x02(" * 50_000,
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame longer than any memory
        b"\x80\x02r\xff\xff\xff\x1f.",  # a memo index that would take gigabytes
        b"\x80\x02}" + b"r\xff\xff\xff\x1f.",
        b"not a checkpoint at all\n" * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        pickle.dumps("only a word"),
        bytes(random.Random(0).randrange(256) for _ in range(5000)),
    ],
    ids=range(13),
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken\.pt: no checkpoint, or cut off or damaged") as error:
        read_published(path)
    assert "\n" not in str(error.value)


def a_checkpoint(path: Path, **settings: object) -> dict:
    content = {
        "epoch": 3,
        "model": collections.OrderedDict(
            weight=torch.arange(12.0).reshape(3, 4).t(),  # not contiguous
            half=torch.ones(5, dtype=torch.float16),
            bias=torch.nn.Parameter(torch.tensor([1.0, 2.0])),
            count=torch.tensor(7),
            empty=torch.zeros(0, 3),
            flags=torch.tensor([True, False]),
            wide=torch.ones(2, dtype=torch.bfloat16),
        ),
        "best": np.float64(0.5),
        "fitness": np.array([1.5, 2.5], np.float32),
        "names": {"person"},
        "path": Path("runs") / "exp",
    }
    torch.save(content, path, **settings)
    return content


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_and_plain_data_come_back_as_they_were(tmp_path: Path, zipped: bool, protocol: int) -> None:
    path = tmp_path / "good.pt"
    content = a_checkpoint(path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    published = read_published(path)
    assert published.content["epoch"] == 3
    assert published.content["best"] == 0.5
    assert published.content["fitness"].array.tolist() == [1.5, 2.5]
    assert published.content["names"] == {"person"}
    assert published.content["path"] == "runs/exp"
    tensors = published.tensors()
    for name, tensor in content["model"].items():
        assert torch.equal(tensors[name].to(tensor.dtype), tensor.detach()), name
    assert tensors["half"].dtype == torch.float32 and tensors["count"].dtype == torch.int64


def test_a_file_cut_off_anywhere_is_told(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "cut.pt"
    a_checkpoint(whole)
    data = whole.read_bytes()
    for length in random.Random(1).sample(range(len(data)), 100):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.pt: "):
            read_published(path)


def test_a_flipped_bit_is_told_or_changes_nothing(tmp_path: Path) -> None:
    """The zip carries a checksum for each entry: a wrong weight is never handed on in silence."""
    whole, path = tmp_path / "whole.pt", tmp_path / "flipped.pt"
    expected = a_checkpoint(whole)["model"]
    data, rng = whole.read_bytes(), random.Random(2)
    told = 0
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            tensors = read_published(path).tensors()
        except ValueError as error:
            assert "flipped.pt: " in str(error) and "\n" not in str(error)
            told += 1
            continue
        for name, tensor in expected.items():
            assert torch.equal(tensors[name].to(tensor.dtype), tensor.detach())
    assert told > 50


def tensor_pickle(size: tuple[int, ...], stride: tuple[int, ...], offset: int, count: int) -> bytes:
    """A float tensor over a storage '0' of `count` numbers, with any size, stride and offset."""
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if value is storage else None

    storage = object.__new__(type("Storage", (), {}))
    arguments = (storage, offset, size, stride, False, collections.OrderedDict())
    Pickler(buffer, 2).dump({"model": {"weight": Asks(torch._utils._rebuild_tensor_v2, *arguments)}})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count"),
    [((5,), (1,), 0, 4), ((2,), (1,), 3, 4), ((10**9,), (0,), 0, 4), ((2,), (-1,), 3, 4), ((4,), (1,), -1, 4),
     ((2, 2), (1,), 0, 4), ((4,), (1,), 0, 10**12)],
)  # fmt: skip
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int, count: int
) -> None:
    storage = {"data/0": struct.pack("<4f", 1, 2, 3, 4)}
    good = archive(tmp_path / "good.pt", tensor_pickle((2, 2), (2, 1), 0, 4), **storage)
    assert read_published(good).tensors()["weight"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="damaged"):
        read_published(archive(tmp_path / "bad.pt", tensor_pickle(size, stride, offset, count), **storage))


def test_modules_of_known_projects_become_records_without_their_code(tmp_path: Path) -> None:
    """A pickled module of a class that does not exist here, as TI's and Ultralytics' files hold it."""
    state = {"_parameters": {"weight": 1.5}, "_modules": {}, "stride": 8}
    data = b"\x80\x02cmodels.common\nConv\n)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."
    record = read_published(archive(tmp_path / "module.pt", data)).content
    assert record.kind == "Conv" and record.origin == "models.common.Conv"
    assert record.attributes["stride"] == 8 and record.children == {}
    assert "models.common" not in sys.modules


def test_modules_nested_without_end_are_told(tmp_path: Path) -> None:
    """Far deeper than any network, and deep enough to exhaust Python's stack."""
    data = b"\x80\x02" + b"cmodels.common\nConv\n)\x81}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00a" * 5000
    data += b"}" + b"ssb" * 5000 + b"."
    published = read_published(archive(tmp_path / "nested.pt", data))
    with pytest.raises(ValueError, match=r"nested\.pt: .*nested more than"):
        published.tensors()
