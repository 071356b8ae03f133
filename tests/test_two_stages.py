"""detect.py --det-model D --pose-model P, as users run it: any detector, then a look at each person."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import detect
from models.build import load, save
from tests.inference.media.makers import write_video
from tests.models.test_pickled import NETWORKS, alive, dressed, originals  # noqa: F401  (a fixture)
from utils.core import images
from utils.core.config import ROOT
from utils.core.flags import EXAMPLE, EXAMPLE_WEIGHTS
from utils.inference.media.files import video
from utils.inference.media.frames import Faults
from utils.inference.predictor import Predictor

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def poser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of single persons that has learned nothing but proposes something."""
    torch.manual_seed(0)
    model = load("hrnet_w8_128x96.yaml")
    torch.nn.init.normal_(model.head.weight, std=0.5)
    path = tmp_path_factory.mktemp("poser") / "guesses.safetensors"
    save(path, model, made={})
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command within this process: status, what was printed, what was logged."""

    def typed(*words: object) -> tuple[int, str, str]:
        every = ("--project", tmp_path / "runs", "--device", "cpu", *words)
        monkeypatch.setattr(sys, "argv", ["detect.py", *map(str, every)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            detect.run(detect.main)
        return int(ended.value.code or 0), *capfd.readouterr()

    return typed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and a video."""
    place = tmp_path / "media"
    place.mkdir()
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    images.write(place / "0.jpg", images.resize(coarse, (96, 128)))
    write_video(place / "film.mp4", 3)
    return place


def results(tmp_path: Path) -> list[dict]:
    [newest] = (tmp_path / "runs").glob("*/results.json")
    return json.loads(newest.read_text())


def test_people_on_a_drawn_picture_are_found_by_the_embedded_detector(poser: Path, run: Run, tmp_path: Path) -> None:
    """Its boxes, and in each of them the keypoints of the second model."""
    words = ("--source", ROOT / EXAMPLE, "--det-model", ROOT / EXAMPLE_WEIGHTS, "--pose-model", poser, "--save-json")
    status, out, err = run(*words, "--conf-thres", 0.4, "--iou-thres", 0.5, "--rivals", 1.1)
    assert status == 0, err
    alone = Predictor(str(ROOT / EXAMPLE_WEIGHTS), device="cpu", conf=0.4, iou=0.5)
    [boxes] = alone(str(ROOT / EXAMPLE))
    rows = results(tmp_path)
    assert len(rows) == len(boxes) > 1 and f"{len(boxes)} people on 1 frame" in out
    found, expected = (np.array(sorted(each)) for each in ([row["bbox"] for row in rows], boxes_of(boxes)))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert any(value % 1 for row in rows for value in row["keypoints"])  # not cut to whole pixels
    assert (images.read(tmp_path / "runs" / "exp" / Path(EXAMPLE).name) != images.read(ROOT / EXAMPLE)).any()


def boxes_of(poses) -> list[list[float]]:
    return [row["bbox"] for row in poses.to_coco(0)]


@pytest.mark.parametrize("kind", ["yolo_pose", "yolox_pose", "a YOLOv5 detector"])
def test_every_kind_of_detector_serves_pictures_folders_and_videos(
    kind: str, poser: Path, run: Run, folder: Path, tmp_path: Path, originals  # noqa: F811
) -> None:  # fmt: skip
    """Detectors that have learned nothing find much: that both stages run on all of it is what is seen here."""
    if kind == "a YOLOv5 detector":
        detector = tmp_path / "crowdhuman_yolov5m.pt"
        spec = replace(NETWORKS["a YOLOv5 detector of release 6"], classes=("person", "head"))
        torch.save({"model": dressed(alive(spec), originals)}, detector)
    else:
        detector = tmp_path / "detector.safetensors"
        torch.manual_seed(0)
        save(detector, load({"yolo_pose": "yolov5n6_kpts.yaml", "yolox_pose": "yolox_pose_nano.yaml"}[kind]), made={})
    words = ("--det-model", detector, "--pose-model", poser, "--img-size", 128, "--conf-thres", 0, "--max-det", 300)
    status, out, err = run("--source", folder, *words, "--save-json", "--rivals", 1.1, "--batch-size", 2)
    assert status == 0, err
    assert "on 4 frames" in out and "skipped" not in out
    rows = results(tmp_path)
    assert rows and {len(row["keypoints"]) for row in rows} == {3 * 17}
    assert {path.name for path in (tmp_path / "runs" / "exp").iterdir()} == {"0.jpg", "film.mp4", "results.json"}
    assert len(list(video(str(tmp_path / "runs" / "exp" / "film.mp4"), Faults()))) == 3


def test_what_the_second_stage_decides_can_be_said(poser: Path, run: Run, tmp_path: Path) -> None:
    """Thresholds of the detector go to the detector, those of single persons to the other."""
    words = ("--source", ROOT / EXAMPLE, "--det-model", ROOT / EXAMPLE_WEIGHTS, "--pose-model", poser, "--nosave")
    few = "--conf-thres", 0.05, "--iou-thres", 0.9
    assert run(*words, *few, "--save-json", "--rivals", 1.1)[0] == 0
    many = results(tmp_path)
    (tmp_path / "runs" / "exp").rename(tmp_path / "before")
    assert run(*words, *few, "--save-json", "--rivals", 0.3)[0] == 0
    assert len(results(tmp_path)) < len(many)
    (tmp_path / "runs" / "exp").rename(tmp_path / "then")
    assert run(*words, *few, "--save-json", "--soft-rivals", "--visible-from", 1e6)[0] == 0
    soft = results(tmp_path)
    assert len(soft) == min(len(many), 20) and {row["score"] for row in soft} == {0.0}  # no keypoint counts


def test_wrong_thresholds_and_a_webcam_that_is_not_there_are_told(poser: Path, run: Run) -> None:
    status, _, err = run("--source", ROOT / EXAMPLE, "--rivals", 0.5)
    assert status == 2 and "select: no key 'rivals'" in err
    status, _, err = run("--source", 7, "--det-model", ROOT / EXAMPLE_WEIGHTS, "--pose-model", poser)
    assert status != 0 and "webcam" in err and "Traceback" not in err
