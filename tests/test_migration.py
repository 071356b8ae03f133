"""docs/migration.md, held to the commands; and its story: four keypoints of one's own, one YAML, four commands."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import detect
import export
import train
import val
from utils.core.command import NO_EFFECT
from utils.core.config import ROOT
from utils.core.console import log
from utils.inference.predictor import Predictor

DOORS = {"train.py": train, "val.py": val, "detect.py": detect, "export.py": export}
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
FLAG = re.compile(r"`(-{1,2}[\w-]+)")


def rows(door: str) -> list[tuple[str, str]]:
    """What is said about the flags of a command: there, and here."""
    section = PAGE.partition(f"\n### {door}\n")[2].partition("\n#")[0]
    found = re.findall(r"^\| (.+?) \| (.+?) \|", section, re.MULTILINE)
    return [row for row in found if row[0] != "there"]


def parse(door: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [door, *words])
    DOORS[door].parse()


@pytest.fixture
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The flags that a command's help lists."""

    def of(door: str) -> set[str]:
        with pytest.raises(SystemExit):
            parse(door, "--help", monkeypatch=monkeypatch)
        return set(re.findall(r"(?<![\w-])-{1,2}[a-z][\w-]*", capsys.readouterr().out))

    return of


@pytest.mark.parametrize("door", list(DOORS))
def test_every_row_of_the_flag_tables_is_true(
    door: str, known, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog
) -> None:
    flags = known(door)
    assert len(rows(door)) > 6
    monkeypatch.setattr(log, "propagate", True)
    for there, here in rows(door):
        old = FLAG.findall(there)
        if here == "same":
            assert old or "launch" in there, there
            assert set(old) <= flags, f"{door}: {set(old) - flags} called the same"
        elif here == "no effect":
            for flag in old:
                assert flag in NO_EFFECT
                with caplog.at_level(logging.INFO, logger="limber"):
                    parse(door, flag, monkeypatch=monkeypatch)
                assert f"{flag} is no longer needed" in caplog.text
        elif here in ("none", "refused"):
            for flag in old:
                assert flag not in flags, f"{door}: {flag} is there, but the page says '{here}'"
                if flag == "--two-stage":  # refused by families, tests/test_val.py
                    continue
                with pytest.raises(SystemExit) as ended:
                    parse(door, flag, monkeypatch=monkeypatch)
                assert ended.value.code == 2
                assert ("no such flag" in capsys.readouterr().err) == (here == "none")
        else:
            assert FLAG.findall(here), f"{door}: {here}"
            assert set(FLAG.findall(here)) <= flags, f"{door}: {set(FLAG.findall(here)) - flags} is not there"


# ---------------------------------------------------------------------------------------------- the story

OWN = """path: {folder}
train: {{images: train, annotations: train.json}}
val: {{images: val, annotations: val.json}}
classes: [card]
keypoints:
  - {{name: top_left, swap: top_right, sigma: 0.1}}
  - {{name: top_right, swap: top_left, sigma: 0.1}}
  - {{name: bottom_right, swap: bottom_left, sigma: 0.1}}
  - {{name: bottom_left, swap: bottom_right, sigma: 0.1}}
skeleton: [[top_left, top_right], [top_right, bottom_right], [bottom_right, bottom_left], [bottom_left, top_left]]
"""


def command(*words: object, where: Path = ROOT) -> str:
    """A command as it is typed; what it printed."""
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, words)], cwd=where, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
    return done.stdout


def drawn_cards(folder: Path, count: int, held_out: int, size: int) -> Path:
    """Pictures of cards with COCO's annotations, and the one YAML that their owner writes."""
    what = ("--figure", "corners", "--difficulty", "easy", "--count", count, "--held-out", held_out, "--size", size)
    command("-m", "utils.data.people", *what, "--out", folder)
    yaml = folder.parent / "cards.yaml"
    yaml.write_text(OWN.format(folder=json.dumps(str(folder))))
    return yaml


def ap_of(weights: Path, yaml: Path, runs: Path, *words: object) -> float:
    usual = ("--device", "cpu", "--workers", 0, "--no-plots", "--exist-ok")
    command("val.py", "--weights", weights, "--data", yaml, "--project", runs, "--name", "val", *usual, *words)
    return json.loads((runs / "val" / "metrics.json").read_text())["numbers"]["AP"]


def found_alone(model: Path, pictures: Path, place: Path) -> dict[str, np.ndarray]:
    """The people that the exported file finds, run by one script in a folder without anything of this house.

    For each picture a row per card: class, score, box, then x, y and score of each corner.
    """
    place.mkdir()
    shutil.copy(ROOT / "onnx_inference" / "yolo_pose_onnx_inference.py", place)
    shutil.copy(model, place / "cards.onnx")
    words = ("--model-path", "cards.onnx", "--img-path", pictures, "--dst-path", "out")
    command("-I", "yolo_pose_onnx_inference.py", *words, where=place)
    texts = {path.name.removesuffix(".txt"): path.read_text() for path in (place / "out").glob("*.txt")}
    return {
        name: np.array([line.split() for line in text.splitlines()], float).reshape(-1, 18)
        for name, text in texts.items()
    }


def same_corners(model: Path, found: dict[str, np.ndarray], pictures: Path) -> int:
    """Hold what a file found alone against what the checkpoint finds; how many cards there were."""
    predictor, count = Predictor(model, device="cpu"), 0
    for name, cards in found.items():
        [poses] = predictor(pictures / name)
        theirs = cards[:, 6:].reshape(-1, 4, 3)
        assert len(poses.scores) == len(theirs), name
        assert np.allclose(poses.scores, cards[:, 1], atol=1e-4)
        assert np.allclose(poses.keypoints, theirs[..., :2], atol=0.05)
        count += len(theirs)
    return count


def test_four_keypoints_of_ones_own_by_one_yaml_and_four_commands(tmp_path: Path) -> None:
    yaml = drawn_cards(tmp_path / "cards", 8, 3, 64)
    start = ("--cfg", "yolox_pose_nano.yaml", "--img", 64, "--batch-size", 4, "--epochs", 1)
    command("train.py", *start, "--data", yaml, "--device", "cpu", "--workers", 0, "--project", tmp_path / "runs")
    best = tmp_path / "runs" / "exp" / "weights" / "last.safetensors"
    assert 0 <= ap_of(best, yaml, tmp_path / "runs") < 1
    command("export.py", "--weights", best, "--no-check", "--conf-thres", 1e-5, "--max-det", 5, "--out", tmp_path)
    found = found_alone(tmp_path / "last.onnx", tmp_path / "cards" / "val", tmp_path / "elsewhere")
    assert len(found) == 3 and all(len(cards) == 5 for cards in found.values())
    predictor = Predictor(best, device="cpu", conf=1e-6)  # guesses have nearly equal scores: their order is not held
    for name, cards in found.items():
        [poses] = predictor(tmp_path / "cards" / "val" / name)
        theirs = cards[:, 6:].reshape(-1, 1, 4, 3)[..., :2]
        assert (np.abs(theirs - poses.keypoints).max((2, 3)).min(1) < 0.05).all()


@pytest.mark.slow
def test_the_story_ends_with_a_model_that_finds_corners(tmp_path: Path) -> None:
    """1,500 drawn pictures, some minutes of one core; AP before and after and how many cards there were are printed."""
    yaml = drawn_cards(tmp_path / "cards", 1500, 200, 192)
    start = ("--cfg", "yolov5n6_kpts.yaml", "--weights", "weights/yolov5n6_kpts_people.safetensors")
    how = ("--hyp", "hyp.people.yaml", "--img", 128, "--batch-size", 8, "--epochs", 8, "--workers", 0)
    command("train.py", *start, "--data", yaml, *how, "--device", "cpu", "--project", tmp_path / "runs")
    best = tmp_path / "runs" / "exp" / "weights" / "best.safetensors"
    size = ("--img", 128)
    before, after = (ap_of(weights, yaml, tmp_path / "runs", *size) for weights in ("yolov5n6_kpts.yaml", best))
    command("export.py", "--weights", best, "--out", tmp_path)
    pictures = tmp_path / "cards" / "val"
    found = found_alone(tmp_path / "best.onnx", pictures, tmp_path / "elsewhere")
    cards = same_corners(best, found, pictures)
    print(f"\nAP {before:.3f} untaught, {after:.3f} taught; {cards} cards in {len(found)} pictures found alone")
    assert before < 0.01
    assert after > 0.5
    assert cards > 250
