"""3, safe load: whatever a weights file holds, a command runs nothing of it and ends with one line and status 2.

The files go through `detect.py --weights`, which loads as val.py, train.py and export.py do; states that are resumed
from go through `load_state`, as in `train.py --resume`. tests/core has the parts (test_published, test_checkpoint).
"""

import pickle
import random
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import detect as detect_door
from models.build import load
from tests.core.test_published import Asks, archive, hostile_pickles
from tests.reliability.makers import EXAMPLE_WEIGHTS, run
from utils.core import checkpoint
from utils.core.checkpoint import load_state, save_state
from utils.core.command import run as as_command
from utils.core.config import ROOT

CUTS, FLIPS = 100, 200


@dataclass
class Detect:
    """`python detect.py --weights FILE` in this process: its status, and what it said."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    folder: Path

    def __call__(self, weights: Path) -> tuple[int, str]:
        flags = ["--weights", weights, "--source", ROOT / "data" / "example.jpg", "--img", 64, "--device", "cpu"]
        words = ["detect.py", *map(str, flags), "--nosave", "--project", str(self.folder / "runs")]
        self.monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            as_command(detect_door.main)
        return int(end.value.code or 0), self.capsys.readouterr().err

    def refuses(self, weights: Path) -> str:
        status, said = self(weights)
        assert status == 2, f"{weights}: status {status}, {said}"
        assert said.startswith(f"error: {weights}") and said.count("\n") == 1, said
        return said


@pytest.fixture
def detect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Detect:
    return Detect(monkeypatch, capsys, tmp_path)


def hostile_files(folder: Path, marker: Path) -> dict[str, Path]:
    """What a malicious file may look like: pickles as zip and as five in a row, archives that write outside, scripts,
    sizes that no memory holds. Each would leave the marker, if it were run.
    """
    files = {}
    legacy = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    for name, data in hostile_pickles(marker).items():
        plain = "".join(letter if letter.isalnum() else "_" for letter in name)
        files[f"{name}, zip"] = archive(folder / f"{plain}_zip.pt", data)
        files[f"{name}, legacy"] = folder / f"{plain}_legacy.pt"
        files[f"{name}, legacy"].write_bytes(legacy + data + pickle.dumps([], 2))
    run_me = pickle.dumps(Asks(exec, f"open({str(marker)!r}, 'w').write('ran')"))
    files["bare pickle"] = folder / "bare.pt"
    files["bare pickle"].write_bytes(run_me)
    files["an entry outside the archive"] = folder / "slip.pt"
    with zipfile.ZipFile(folder / "slip.pt", "w") as file:
        file.writestr(f"../../../../../..{marker}", b"ran")
        file.writestr("archive/data.pkl", run_me)
    files["pickle in two entries"] = folder / "two.pt"
    with zipfile.ZipFile(folder / "two.pt", "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({}))
        file.writestr("b/data.pkl", run_me)
    files["TorchScript"] = folder / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(folder / "script.pt")
    files["a zip that grows a million times"] = folder / "bomb.pt"
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(50_000_000))
    files["a memo of gigabytes"] = folder / "memo.pt"
    files["a memo of gigabytes"].write_bytes(b"\x80\x02r\xff\xff\xff\x1f.")
    files["safetensors with a header of gigabytes"] = folder / "header.safetensors"
    files["safetensors with a header of gigabytes"].write_bytes((1 << 40).to_bytes(8, "little") + b"{" + bytes(100))
    files["a pickle by a safe name"] = folder / "best.safetensors"
    files["a pickle by a safe name"].write_bytes(run_me)
    files["a pickle by the name of an exported file"] = folder / "best.onnx"
    files["a pickle by the name of an exported file"].write_bytes(run_me)
    return files


def test_no_hostile_file_is_run_and_each_is_refused_in_one_line(tmp_path: Path, detect: Detect) -> None:
    (tmp_path / "there").mkdir()
    marker = tmp_path / "marker"
    files = hostile_files(tmp_path / "there", marker)
    assert len(files) >= 20
    for name, path in files.items():
        before = set(sys.modules)
        detect.refuses(path)
        assert not marker.exists(), f"{name} was run"
        assert "antigravity" not in set(sys.modules) - before, name
    print(f"{len(files)} hostile files: 0 executions, each one line and status 2")


def damaged(data: bytes, seed: int) -> list[bytes]:
    """Cut off at a hundred places; a bit flipped at two hundred."""
    rng = random.Random(seed)
    found = [data[: rng.randrange(len(data))] for _ in range(CUTS)]
    for _ in range(FLIPS):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        found.append(bytes(flipped))
    return found


@pytest.fixture(scope="module")
def kinds(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that commands load: ours, one as others publish them, and a model with its own few weights."""
    folder = tmp_path_factory.mktemp("whole")
    ours = checkpoint.load(ROOT / EXAMPLE_WEIGHTS)
    small = folder / "ours.safetensors"
    checkpoint.save(small, ours.tensors, ours.header)
    return {"ours": small, "published": shared / "fixtures/yolo_pose/public/ckpt/tiny_s6_last.pt"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ours", "published"])
def test_a_cut_or_flipped_weights_file_is_told_in_one_line_and_never_used(
    kinds: dict[str, Path], kind: str, tmp_path: Path, detect: Detect
) -> None:
    whole, path = kinds[kind], tmp_path / f"damaged{kinds[kind].suffix}"
    expected = load(whole).state_dict()
    harmless = 0
    for number, data in enumerate(damaged(whole.read_bytes(), 11)):
        path.write_bytes(data)
        status, said = detect(path)
        if status == 0 and number >= CUTS:  # a bit that no number depends on, such as a date in the archive
            assert all(torch.equal(tensor, expected[name]) for name, tensor in load(path).state_dict().items())
            harmless += 1
            continue
        assert status == 2 and said.startswith(f"error: {path}") and said.count("\n") == 1, (number, status, said)
    print(f"{kind}: {CUTS} cut and {FLIPS - harmless} flipped files told in one line with status 2; "
          f"{harmless} flips touched nothing and gave the same weights")  # fmt: skip


@pytest.mark.slow
def test_a_cut_or_flipped_state_is_told_in_one_line_and_never_used(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    state = {"weight": torch.arange(5000.0), "epoch": 3}
    save_state(path, state)
    harmless = 0
    for number, data in enumerate(damaged(path.read_bytes(), 12)):
        path.write_bytes(data)
        try:
            found = load_state(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            continue
        assert number >= CUTS and torch.equal(found["weight"], state["weight"]) and found["epoch"] == 3
        harmless += 1
    print(f"state: {CUTS} cut and {FLIPS - harmless} flipped files told; {harmless} flips touched nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        ("val.py", "--weights", "{file}", "--data", "people.yaml"),
        ("train.py", "--weights", "{file}", "--data", "{data}", "--epochs", "1"),
        ("train.py", "--resume", "{file}"),
        ("export.py", "--weights", "{file}"),
        ("detect.py", "--weights", "{file}"),
        ("demos/image.py", "--weights", "{file}"),
        ("onnx_inference/yolo_pose_onnx_inference.py", "--model-path", "{file}"),
    ],
    ids=lambda line: " ".join(line[:2]),
)
def test_every_door_refuses_a_file_that_wants_to_be_run(tmp_path: Path, line: tuple[str, ...]) -> None:
    marker = tmp_path / "marker"
    weights = tmp_path / "run" / "weights"
    weights.mkdir(parents=True)
    (tmp_path / "run" / "opt.yaml").write_text("cfg: yolov5n6_kpts.yaml\ndata: {}\n")
    file = archive(weights / "last.pt", hostile_pickles(marker)["os.system"])
    data = tmp_path / "data"
    if "{data}" in line or "--resume" in line:
        from tests.reliability.makers import people

        people(data, train=2, val=1)
        (tmp_path / "run" / "opt.yaml").write_text(
            f"cfg: yolov5n6_kpts.yaml\nweights: null\ndata: {data}\nimg: [64]\nbatch_size: 2\nworkers: 0\n"
        )
        (tmp_path / "run" / "hyp.yaml").write_text("epochs: 1\nbatch_size: 2\n")
    words = [word.format(file=file, data=data) for word in line]
    status, _, said = run(*words[1:], door=words[0])
    assert status == 2 and not marker.exists(), said
    [error] = [row for row in said.splitlines() if row.startswith("error: ")]
    assert str(file) in error and "Traceback" not in said
