"""Checkpoints: what is saved comes back, what is damaged is told, and a file is whole or not there."""

import multiprocessing
import os
import pickle
import random
import signal
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from utils.core import checkpoint
from utils.core.checkpoint import load, load_state, save, save_state, write_whole

TENSORS = {
    "single": torch.arange(6.0).reshape(2, 3),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([[1.5], [3e38]], dtype=torch.bfloat16),
    "long": torch.tensor([-(2**62)]),
    "byte": torch.arange(256).to(torch.uint8),
    "bool": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "scalar": torch.tensor(7),
    "true": torch.tensor(True),
    "tränsposed": torch.arange(12.0).reshape(3, 4).t(),
    "nan": torch.tensor([float("nan"), float("inf")]),
}
HEADER = {"spec": {"family": "x", "input_size": [640, 640]}, "metrics": {"AP": 0.5}, "made": "café 日本 'quoted' \n"}


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save(path, TENSORS, HEADER)
    return path


# ---------------------------------------------------------------------------------------------- round trips


def test_tensors_of_every_type_and_the_header_come_back_to_the_last_bit(whole: Path) -> None:
    found = load(whole)
    assert found.header == HEADER
    assert set(found.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert bits(found.tensors[name]) == bits(tensor), name


@given(st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 3), max_size=3), max_size=3), st.text(max_size=9))
def test_any_names_and_shapes_come_back(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], text: str
) -> None:
    shapes.pop("__metadata__", None)
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    tensors = {name: torch.rand(shape) for name, shape in shapes.items()}
    save(path, tensors, {"text": text})
    found = load(path)
    assert found.header["text"] == text
    assert {name: bits(tensor) for name, tensor in found.tensors.items()} == {n: bits(t) for n, t in tensors.items()}


def test_weights_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    tied, path = torch.arange(6.0), tmp_path / "tied.safetensors"
    save(path, {"one": tied, "other": tied, "part": tied[2:4], "grad": torch.nn.Parameter(tied)}, {})
    found = load(path).tensors
    assert torch.equal(found["one"], tied) and torch.equal(found["other"], tied) and torch.equal(found["grad"], tied)
    assert found["part"].tolist() == [2, 3]


def test_a_file_name_with_broken_letters_does_not_break_the_header(tmp_path: Path) -> None:
    broken = os.fsdecode(b"caf\xe9.yaml")
    save(tmp_path / "a.safetensors", {}, {"command": broken})
    assert load(tmp_path / "a.safetensors").header["command"] == broken


def test_a_checkpoint_is_known_by_its_content_not_by_its_name(whole: Path, tmp_path: Path) -> None:
    renamed = whole.rename(tmp_path / "best.pt")
    assert checkpoint.is_safetensors(renamed)
    save_state(tmp_path / "last.safetensors", {"epoch": 1})
    assert not checkpoint.is_safetensors(tmp_path / "last.safetensors")
    (tmp_path / "empty").write_bytes(b"")
    assert not checkpoint.is_safetensors(tmp_path / "empty")


def test_a_state_to_resume_from_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(3.0))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    state = {
        "epoch": 3,
        "best": 0.5,
        "optimizer": optimizer.state_dict(),
        "names": ["a", None, True],
        "rng": torch.get_rng_state(),
    }
    save_state(tmp_path / "last.pt", state)
    found = load_state(tmp_path / "last.pt")
    assert found["names"] == state["names"] and found["epoch"] == 3 and found["best"] == 0.5
    assert torch.equal(found["rng"], state["rng"])
    again = torch.optim.Adam([weight])
    again.load_state_dict(found["optimizer"])
    assert torch.equal(again.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg"])


# ---------------------------------------------------------------------------------------------- damage


def told(read: Callable[[Path], Any], path: Path) -> str:
    """What the reader says about a file that it must not accept: one line that names it."""
    with pytest.raises(ValueError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    return str(error.value)


def test_a_checkpoint_cut_off_anywhere_is_told(whole: Path, tmp_path: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, len(data) - 1, *random.Random(0).sample(range(len(data)), 50)]:
        path.write_bytes(data[:length])
        told(load, path)


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_told(whole: Path, tmp_path: Path) -> None:
    data, path, rng = whole.read_bytes(), tmp_path / "flipped.safetensors", random.Random(1)
    (length,) = struct.unpack("<Q", data[:8])
    places = [rng.randrange(8, 8 + length) for _ in range(100)] + [rng.randrange(len(data)) for _ in range(100)]
    for place in [*range(8), *places]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        told(load, path)


def test_other_bytes_after_the_end_are_told(whole: Path) -> None:
    whole.write_bytes(whole.read_bytes() + b"more")
    assert "cut off or damaged" in told(load, whole)


def test_a_changed_weight_is_told_by_the_digest(whole: Path) -> None:
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    assert "damaged, its content does not match the digest it carries; use another copy" in told(load, whole)


def test_safetensors_of_others_are_told_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.ones(2)}, path, metadata=metadata)
        assert "safetensors without Limber's header; give the model YAML with --cfg" in told(load, path)


def test_a_format_of_the_future_is_told_even_if_its_digest_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "future.safetensors"
    with monkeypatch.context() as future:
        future.setattr(checkpoint, "FORMAT", 2)
        future.setattr(checkpoint, "_digest", lambda *_: "of another kind")
        save(path, TENSORS, HEADER)
    assert "format 2 found; this version of Limber reads 1" in told(load, path)


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b"\xff" * 100, b"PK\x03\x04", b"text\n" * 50])
@pytest.mark.parametrize("read", [load, load_state])
def test_what_is_no_checkpoint_is_told(tmp_path: Path, read: Callable[[Path], Any], content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    told(read, path)


@pytest.mark.parametrize("read", [load, load_state])
def test_a_missing_file_and_a_folder_are_told(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    assert "No such file" in told(read, tmp_path / "none")
    told(read, tmp_path)


class Asks:
    """Pickles as a call of a function, as malicious files do."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("function", [os.system, os.mkdir, eval])
def test_a_state_that_asks_to_run_something_is_refused_and_nothing_ran(tmp_path: Path, function: object) -> None:
    marker, path = tmp_path / "marker", tmp_path / "hostile.pt"
    argument = {os.system: f"touch {marker}", os.mkdir: str(marker), eval: f"open({str(marker)!r}, 'w')"}[function]
    torch.save({"epoch": 1, "model": Asks(function, argument)}, path)
    message = told(load_state, path)
    assert "refused, it asks for more than tensors and plain data" in message
    assert "weights_only" not in message  # torch's own message explains how to run it all the same
    path.write_bytes(pickle.dumps(Asks(function, argument), 2))
    told(load_state, path)
    assert not marker.exists()


def test_a_state_that_is_no_dict_is_told(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    assert "a list, not a dict" in told(load_state, tmp_path / "list.pt")


def test_a_state_cut_off_anywhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"model": {"weight": torch.arange(500.0)}, "epoch": 3})
    data = path.read_bytes()
    for length in [0, 1, len(data) - 1, *random.Random(2).sample(range(len(data)), 50)]:
        path.write_bytes(data[:length])
        told(load_state, path)


def test_a_flipped_bit_in_a_state_is_told_or_changes_nothing(tmp_path: Path) -> None:
    """Torch reads past the checksums of its own archives: without a look at them a wrong weight is used in silence."""
    path, rng = tmp_path / "last.pt", random.Random(3)
    state = {"weight": torch.arange(500.0), "epoch": 3}
    save_state(path, state)
    data, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = load_state(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            refused += 1
            continue
        assert torch.equal(found["weight"], state["weight"]) and found["epoch"] == 3
    assert refused > 150


# ---------------------------------------------------------------------------------------------- whole or not at all


def hidden_parts(folder: Path) -> list[str]:
    """What lies in the folder beside the checkpoint: all of it must be hidden."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "best.safetensors")
    assert all(name.startswith(".best.safetensors.") and name.endswith(".part") for name in names)
    return names


def test_a_file_is_replaced_and_can_be_read_by_others(whole: Path) -> None:
    save(whole, {"new": torch.ones(1)}, {})
    assert set(load(whole).tensors) == {"new"}
    assert hidden_parts(whole.parent) == [] and whole.stat().st_mode & 0o777 == 0o644


def test_a_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    save(tmp_path / "runs" / "exp 2" / "best.safetensors", {}, {})
    assert load(tmp_path / "runs" / "exp 2" / "best.safetensors").tensors == {}


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt(), ValueError("a bug")])
def test_a_writer_that_fails_leaves_the_old_file_whole_and_nothing_else(whole: Path, error: BaseException) -> None:
    def fails(target: str) -> None:
        Path(target).write_bytes(b"half")
        raise error

    before = whole.read_bytes()
    with pytest.raises(type(error)):
        write_whole(whole, fails)
    assert whole.read_bytes() == before and hidden_parts(whole.parent) == []


def test_a_header_that_cannot_be_written_leaves_the_old_file_whole(whole: Path) -> None:
    with pytest.raises(TypeError):
        save(whole, {}, {"made": object()})
    assert load(whole).header["metrics"] == {"AP": 0.5} and hidden_parts(whole.parent) == []


def in_another_process(work: Callable[[], None]) -> int | None:
    """The exit status of a process that does this; negative when a signal ended it."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    with warnings.catch_warnings():  # Python warns of forks beside threads; this one only writes a file
        warnings.simplefilter("ignore")
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
    process.join(30)
    return process.exitcode


def test_a_writer_that_is_killed_leaves_the_old_file_whole_and_at_most_a_hidden_part(whole: Path) -> None:
    def killed(target: str) -> None:
        Path(target).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    before = whole.read_bytes()
    assert in_another_process(lambda: write_whole(whole, killed)) == -signal.SIGKILL
    assert whole.read_bytes() == before and len(hidden_parts(whole.parent)) == 1
    save(whole, {"new": torch.ones(1)}, {})  # what was left behind is in nobody's way
    assert set(load(whole).tensors) == {"new"}


@pytest.mark.parametrize(
    "write", [save, lambda path, tensors, header: save_state(path, tensors)], ids=["save", "state"]
)
def test_a_full_disk_leaves_the_old_file_whole_and_nothing_else(whole: Path, write: Callable[..., None]) -> None:
    resource = pytest.importorskip("resource")

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write(whole, {"large": torch.zeros(100_000)}, {})
        except OSError as error:
            os._exit(7 if "cannot be written" in str(error) and "is the disk full?" in str(error) else 1)

    before = whole.read_bytes()
    assert in_another_process(fill) == 7
    assert whole.read_bytes() == before and hidden_parts(whole.parent) == []
