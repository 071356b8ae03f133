"""python -m utils.data.check: its words, its pictures and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.makers import annotation, coco_folder, picture, txt_folder
from utils.core import images
from utils.core.config import ROOT
from utils.data import check

ROW = "0 0.5 0.5 0.2 0.4 0.5 0.4 2 0 0 0 0.5 0.5 1"


def run(monkeypatch: pytest.MonkeyPatch, *flags: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["check", *map(str, flags)])
    return check.main()


def test_real_photographs_are_fine_and_drawn(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, shared / "data/coco_people", "--project", tmp_path, "--samples", 4) == 0
    printed = capsys.readouterr().out
    assert "train      28               0      142                 56              5" in printed
    assert "coco_people: nothing is wrong" in printed
    folder = tmp_path / "coco_people"
    page = (folder / "index.html").read_text()
    for split in ("train", "val"):
        for kind in ("samples", "statistics"):
            assert images.read(folder / f"{split}_{kind}.png").std() > 20
            assert f'src="{split}_{kind}.png"' in page
    assert (folder / "problems.txt").read_text() == ""


def test_every_problem_is_named_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rows = [ROW, "0 1 2", ROW.replace("0.4 2", "nan 2"), ROW]
    label = txt_folder(tmp_path / "set", *rows)
    assert run(monkeypatch, tmp_path / "set", "--project", tmp_path / "runs") == 1
    listed = (tmp_path / "runs/set/problems.txt").read_text()
    for line, kind in ((2, "wrong columns"), (3, "not a number"), (4, "duplicate row")):
        assert f"{kind}\t{label}:{line}: " in listed
    printed = capsys.readouterr().out
    assert "2 problems would harm training; 3 in all" in printed
    assert "1 x duplicate row (harmless)" in printed
    assert "3 × " not in (tmp_path / "runs/set/index.html").read_text()


@pytest.mark.parametrize("quick", [True, False])
def test_a_broken_picture_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool):
    txt_folder(tmp_path / "set", ROW)
    bad = picture(tmp_path / "set/images/train/b.jpg")
    bad.write_bytes(b"gone")
    flags = ["--quick"] if quick else []
    assert run(monkeypatch, tmp_path / "set", "--project", tmp_path / "runs", *flags) == 1
    assert f"unreadable image\t{bad}" in (tmp_path / "runs/set/problems.txt").read_text()


def test_a_split_that_cannot_be_read_is_named_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    coco_folder(tmp_path / "set")
    text = "train: {images: train, annotations: annotations/train.json}\nval: {images: none, annotations: none.json}\n"
    (tmp_path / "set/data.yaml").write_text(text + "keypoints: [left_hand, right_hand, head]\n")
    assert run(monkeypatch, tmp_path / "set", "--project", tmp_path / "runs") == 1
    assert "unreadable split" in capsys.readouterr().out


def test_text_from_the_data_cannot_become_part_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = coco_folder(tmp_path / "set")
    values = json.loads(path.read_text())
    values["annotations"].append(annotation(2, keypoints="<script>alert(1)</script>"))
    path.write_text(json.dumps(values))
    run(monkeypatch, tmp_path / "set", "--project", tmp_path / "runs")
    page = (tmp_path / "runs/set/index.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_the_command_ends_with_its_status(tmp_path: Path):
    txt_folder(tmp_path / "set", ROW, "bad")
    for flags, status in (([str(tmp_path / "set"), "--quick"], 1), (["nothing.yaml"], 2), (["--what"], 2)):
        command = [sys.executable, "-m", "utils.data.check", *flags, "--project", str(tmp_path / "runs")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_reading_data_does_not_load_matplotlib():
    code = "import sys, utils.data.annotations, utils.data.check; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("count", [0, 1])
def test_sets_with_one_keypoint_or_none_are_checked_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
):
    row = "0 0.5 0.5 0.2 0.4" + " 0.5 0.5 2" * count
    txt_folder(tmp_path / "set", row)
    keys = f"train: images/train\nclasses: [ball]\nkeypoints: [{', '.join(['middle'] * count)}]\n"
    (tmp_path / "set/data.yaml").write_text(keys)
    assert run(monkeypatch, tmp_path / "set", "--project", tmp_path / "runs") == 0
    assert (tmp_path / "runs/set/train_statistics.png").exists()
