"""10, resource faults: a full disk, little memory, a signal, folders that cannot be written, names of any letters."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.inference.media.makers import write_video
from tests.reliability.makers import EXAMPLE_WEIGHTS, SMALL, Here, people, run
from tests.training.small import QUICK, Drawn, everything, spots, trainer
from utils.core import checkpoint
from utils.core.config import ROOT
from utils.core.poses import Batch

EXAMPLE = ROOT / "data" / "example.jpg"
WEIGHTS = ROOT / EXAMPLE_WEIGHTS


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capfd)


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """A file system of its own in a folder, where this user may mount one."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    with mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as disk:
        yield disk


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield folder


def fill(disk: Path) -> int:
    """Write until there is no room at all; returns the bytes written."""
    with (disk / "somebody else's").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return file.tell()


# ---------------------------------------------------------------------------------------------- a full disk


class Filling(Drawn):
    """In the middle of the second epoch, somebody else takes the rest of the disk."""

    def __init__(self, disk: Path) -> None:
        super().__init__()
        self.disk = disk

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            if (number, index) == (1, 2):
                assert fill(self.disk) > 0
            yield self.batch(number, index)


def test_a_disk_that_runs_full_costs_a_checkpoint_and_neither_the_one_before_nor_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        run = trainer(disk, replace(QUICK, epochs=3), loader=Filling(disk))
        assert run.fit().epochs == 3  # and so is the training
        state = checkpoint.load_state(disk / "weights" / "last.pt")["progress"]
        assert (state["epoch"], state["index"]) == (1, 0)  # as it was after the first epoch
        assert not list((disk / "weights").glob(".*"))
        [told, *_] = [record.getMessage() for record in caplog.records if "not written" in record.getMessage()]
        assert str(disk / "weights" / "last.pt") in caplog.text and "training goes on" in told
        assert "is the disk full? The file before it is untouched" in caplog.text or "No space left" in caplog.text
        (disk / "somebody else's").unlink()
        again = trainer(disk, replace(QUICK, epochs=3))
        again.resume(disk / "weights" / "last.pt")
        again.fit()
        whole = trainer(tmp_path / "whole", replace(QUICK, epochs=3))
        whole.fit()
        assert all(value.equal(everything(again)[name]) for name, value in everything(whole).items())


def doors(data: Path, project: Path) -> dict[str, tuple[object, ...]]:
    """What writes, into one place."""
    own = ("--project", project, *SMALL)
    return {
        "train": ("train.py", "--weights", WEIGHTS, "--data", data, "--epochs", 1, "--workers", 0, *own),
        "val": ("val.py", "--weights", WEIGHTS, "--data", data, "--workers", 0, *own),
        "detect": ("detect.py", "--weights", WEIGHTS, "--source", EXAMPLE, *own),
        "export": ("export.py", "--weights", WEIGHTS, "--img", 64, "--no-check", "--out", project),
        "check": ("utils.data.check", data, "--project", project),
        "convert": ("utils.data.convert", data, "--to", "txt", "--images", "copy", "--out", project / "txt"),
        "people": ("utils.data.people", "--count", 3, "--size", 64, "--out", project / "drawn"),
        "slim": ("models.slim", WEIGHTS, "--out", project / "slim.safetensors"),
    }


@pytest.mark.slow
def test_every_door_says_in_one_line_that_the_disk_is_full(tmp_path: Path, here: Here) -> None:
    data = people(tmp_path / "data", train=4, val=2)
    with small_disk(tmp_path / "full", "64k") as disk:
        fill(disk)
        lines = {name: here.refused(*words) for name, words in doors(data, disk).items()}
    assert [line for line in lines.values() if str(disk) not in line] == []
    print(*(f"{name}: {line}" for name, line in lines.items()), sep="\n")


@pytest.mark.slow
def test_every_door_says_in_one_line_that_a_folder_cannot_be_written(tmp_path: Path, here: Here) -> None:
    data = people(tmp_path / "data", train=4, val=2)
    with read_only(tmp_path / "sealed") as sealed:
        lines = {name: here.refused(*words) for name, words in doors(data, sealed).items()}
    assert [line for line in lines.values() if str(sealed) not in line] == []
    print(*(f"{name}: {line}" for name, line in lines.items()), sep="\n")
    (tmp_path / "a file").write_text("where a folder is wanted")
    for name, words in doors(data, tmp_path / "a file").items():
        assert str(tmp_path / "a file") in here.refused(*words), name


# ---------------------------------------------------------------------------------------------- memory, signals


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    """A real failure of the allocator, of torch's and of numpy's."""
    program = (
        "import resource, sys\n"
        "import numpy, torch\n"
        "from utils.core.command import run\n"
        "hard = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + (200 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (hard, hard))\n"
        "run({'torch': lambda: torch.zeros(1 << 40), 'numpy': lambda: numpy.ones(1 << 40)}[sys.argv[1]])\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    for kind in ("torch", "numpy"):
        done = subprocess.run([sys.executable, "-c", program, kind], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: not enough memory (") and "--batch-size" in done.stderr


@pytest.mark.slow
def test_a_training_that_needs_more_memory_than_there_is_ends_with_one_line(tmp_path: Path) -> None:
    data = people(tmp_path / "data", train=64, val=1, side=64)
    words = ("train.py", "--weights", WEIGHTS, "--data", data, "--img", 640, "--batch-size", 64, "--epochs", 1,
             "--workers", 0, "--device", "cpu", "--project", tmp_path / "runs")  # fmt: skip
    program = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: not enough memory (")
    checkpoint.load_state(tmp_path / "runs" / "exp" / "weights" / "last.pt")


class Called(Drawn):
    """With one batch comes a signal."""

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            if (number, index) == (1, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            yield self.batch(number, index)


def test_a_signal_is_followed_by_a_checkpoint_of_the_very_step(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(QUICK, nominal_batch=2), loader=Called(), model=spots())
    assert run.fit().reason == "SIGTERM"
    progress = checkpoint.load_state(tmp_path / "weights" / "last.pt")["progress"]
    assert (progress["epoch"], progress["index"]) == (1, 2)  # the step that was running when it came


# ---------------------------------------------------------------------------------------------- names of any letters


@pytest.mark.slow
def test_spaces_and_all_letters_are_allowed_in_every_path(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "Läufer & 人 'und' #1 🙂 100% [a]"
    place.mkdir()
    data, project = people(place / "mein Datensatz ü", train=4, val=2), place / "meine Läufe"
    weights = place / "beste Gewichte é.safetensors"
    weights.write_bytes(WEIGHTS.read_bytes())
    picture, film = place / "ein Bild ß.jpg", place / "ein Film ø.mp4"
    picture.write_bytes(EXAMPLE.read_bytes())
    write_video(film, 3)
    recipe = place / "Rezept ñ.yaml"
    recipe.write_text((ROOT / "data" / "hyps" / "hyp.tune.yaml").read_text())
    model = place / "Modell ж.yaml"
    model.write_text((ROOT / "models" / "configs" / "yolov5n6_kpts.yaml").read_text())
    listed = place / "Liste.txt"
    listed.write_text(f"{picture}\n{picture.name}\n", encoding="utf-8")
    monkeypatch.chdir(place)
    train = ("train.py", "--cfg", model, "--weights", weights, "--data", data, "--hyp", recipe, "--epochs", 1)
    commands = {
        "train": (*train, "--workers", 1, *SMALL, "--project", project, "--name", "ein Lauf"),
        "resume": ("train.py", "--resume", project / "ein Lauf" / "weights" / "last.pt", "--epochs", 2),
        "val": ("val.py", "--weights", weights, "--data", data, "--workers", 1, *SMALL, "--project", project,
                "--save-json"),
        "detect picture": ("detect.py", "--weights", weights, "--source", picture, *SMALL, "--project", project,
                           "--save-txt", "--save-json", "--save-csv", "--save-crop"),
        "detect film": ("detect.py", "--weights", weights, "--source", film, *SMALL, "--project", project, "--track"),
        "detect list": ("detect.py", "--weights", weights, "--source", listed, *SMALL, "--project", project),
        "detect folder": ("detect.py", "--weights", weights, "--source", place, *SMALL, "--project", project),
        "export": ("export.py", "--weights", weights, "--img", 64, "--include", "onnx", "torchscript", "--out", place),
        "detect onnx": ("detect.py", "--weights", weights.with_suffix(".onnx"), "--source", picture, "--img", 64,
                        "--project", project),
        "onnx script": ("onnx_inference/yolo_pose_onnx_inference.py", "--model-path", weights.with_suffix(".onnx"),
                        "--img-path", listed, "--dst-path", place / "Ergebnisse ö"),
        "demo": ("demos.image", "-p", picture, "--weights", weights, "--bbox", "--pose", "--imgsz", 64),
        "check": ("utils.data.check", data, "--project", project),
        "convert": ("utils.data.convert", data, "--to", "txt", "--out", place / "als Text"),
        "back": ("utils.data.convert", place / "als Text", "--to", "coco", "--out", place / "und zurück"),
        "people": ("utils.data.people", "--count", 2, "--size", 64, "--out", place / "gemalt"),
        "slim": ("models.slim", weights, "--out", place / "schlank.safetensors"),
        "summary": ("models.summary", model),
    }  # fmt: skip
    for name, words in commands.items():
        status, _, log = here(*words)
        assert status == 0, (name, log)
        assert "Traceback" not in log
    print(f"{len(commands)} commands in '{place.name}'")
    seen = cv2.imdecode(np.fromfile(project / "exp2" / picture.name, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None and seen.std() > 10


@pytest.mark.slow
def test_a_run_folder_with_odd_letters_is_found_by_a_fresh_process(tmp_path: Path) -> None:
    """The same in a process of its own, whose locale knows ASCII alone."""
    place = tmp_path / "Läufer 人 🙂"
    place.mkdir()
    (place / "Bild.jpg").write_bytes(EXAMPLE.read_bytes())
    flags = ("--source", place / "Bild.jpg", "--weights", WEIGHTS, *SMALL, "--project", place / "Läufe")
    status, _, log = run(*flags, door="detect.py")
    assert status == 0 and (place / "Läufe" / "exp" / "Bild.jpg").exists(), log
