"""python detect.py, as users run it: every kind of source in, every kind of result out."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import detect
from models.build import load, save
from tests.inference.media.makers import Camera, write_video
from utils.core import images
from utils.core.config import ROOT
from utils.inference.media.files import video
from utils.inference.media.frames import Faults

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned nothing, so it guesses: the same people for the same picture."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "guesses.safetensors"
    save(path, load("yolov5n6_kpts.yaml"), made={})
    return path


@pytest.fixture
def run(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command within this process: status, what was printed, what was logged."""

    def typed(*words: object, ready: bool = True) -> tuple[int, str, str]:
        usual = ("--weights", weights, "--img", 64, "--conf-thres", 0, "--max-det", 3) if ready else ()
        every = ("--project", tmp_path / "runs", "--device", "cpu", *usual, *words)
        monkeypatch.setattr(sys, "argv", ["detect.py", *map(str, every)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            detect.run(detect.main)
        return int(ended.value.code or 0), *capfd.readouterr()

    return typed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, a video, and one file that is broken."""
    place = tmp_path / "some media"
    place.mkdir()
    for index in range(2):
        coarse = np.random.default_rng(index).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        images.write(place / f"{index}.jpg", images.resize(coarse, (96, 128)))
    write_video(place / "film.mp4", 7)
    (place / "broken.jpg").write_bytes(b"not a picture")
    return place


def test_a_folder_gives_pictures_a_video_and_every_kind_of_result(run: Run, folder: Path, tmp_path: Path) -> None:
    wanted = ("--save-txt", "--save-conf", "--save-json", "--save-csv", "--save-crop", "--save-gif", "--batch-size", 3)
    status, out, err = run("--source", folder, *wanted, "--kpt-label", "--kpt-thres", 0)
    assert status == 0, err
    assert "27 people on 9 frames" in out and "FPS" in out and "without decoding" in out
    assert "skipped: 1 file" in out and "broken.jpg" in err and "--kpt-label is no longer needed" in err
    made = tmp_path / "runs" / "exp"
    assert str(made) in out
    assert {path.name for path in made.iterdir()} == {
        "0.jpg", "1.jpg", "film.mp4", "film.gif", "labels", "crops", "results.json", "results.csv", "summary.json",
    }  # fmt: skip
    told = json.loads((made / "summary.json").read_text())
    assert (told["frames"], told["people"], told["skipped"]["files"], told["skipped"]["frames"]) == (9, 27, 1, 0)
    assert [Path(reason.partition(": ")[0]).name for reason in told["skipped"]["reasons"]] == ["broken.jpg"]
    assert (images.read(made / "0.jpg") != images.read(folder / "0.jpg")).any()
    assert len(list(video(str(made / "film.mp4"), Faults()))) == 7
    assert len(list((made / "labels").glob("*.txt"))) == 9
    rows = json.loads((made / "results.json").read_text())
    assert len(rows) == 27 and {row["image_id"] for row in rows if isinstance(row["image_id"], int)} == {0, 1}
    with (made / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 27


def test_nosave_writes_no_picture_and_classes_leave_others_out(run: Run, folder: Path, tmp_path: Path) -> None:
    status, out, err = run("--source", folder / "0.jpg", "--nosave", "--save-json", "--classes", 0)
    assert status == 0 and "3 people on 1 frame" in out
    assert sorted(path.name for path in (tmp_path / "runs" / "exp").iterdir()) == ["results.json", "summary.json"]
    status, _, err = run("--source", folder / "0.jpg", "--classes", 7)
    assert status == 2 and "--classes 7: this model knows 0 to 0 (person)" in err


def test_looking_several_times_and_every_nth_frame(run: Run, folder: Path, tmp_path: Path) -> None:
    status, out, _ = run("--source", folder / "film.mp4", "--vid-stride", 3, "--augment", "--agnostic-nms")
    assert status == 0 and "on 3 frames" in out
    [first, *_] = frames = list(video(str(tmp_path / "runs" / "exp" / "film.mp4"), Faults()))
    assert len(frames) == 3 and first.clip.fps == pytest.approx(10 / 3, rel=0.01)


def test_a_list_a_pattern_and_an_input_of_two_sides(run: Run, folder: Path) -> None:
    (folder / "list.txt").write_text("1.jpg\nfilm.mp4\n")
    assert "on 8 frames" in run("--source", folder / "list.txt", "--img", 64, 128)[1]
    assert "on 1 frame " in run("--source", folder / "*1.jpg", "--hide-labels", "--hide-conf", "--line-thickness", 1)[1]


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera().plug_in()
    yield camera
    camera.unplug()


def test_a_stream_is_looked_at_until_it_ends(
    run: Run, camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.inference.media.live.stream.__kwdefaults__", {"stride": 1, "patience": 0.3})

    def pulled() -> None:
        while camera.sent < 30:
            time.sleep(0.01)
        camera.unplug()

    threading.Thread(target=pulled, daemon=True).start()
    status, out, err = run("--source", camera.address)
    camera.plug_in()
    assert status == 0 and "connection lost" in err and "the stream ends here" in err and "secret" not in err + out
    assert len(list(video(str(tmp_path / "runs" / "exp" / "live.mp4"), Faults()))) > 3


@pytest.mark.parametrize(
    "words, told",
    [
        (("--source", "gone.jpg"), "--source gone.jpg: no such file or folder"),
        (("--device", "3"), "there is no GPU 3"),
        (("--source", "screen"), "screen"),
        (("--source", "96"), "webcam 96: there is no such camera"),
        (("--pose-model", "x.safetensors"), "--det-model and --pose-model belong together"),
        (("--weights", "gone.safetensors"), "gone.safetensors: no such file"),
        (("--classes", "x"), "--classes"),
        (("--savetxt",), "did you mean '--save-txt'?"),
    ],
)
def test_what_a_user_got_wrong_is_one_sentence_and_leaves_no_folder(
    run: Run, words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    status, _, err = run(*words)
    assert status == 2 and told in err and "Traceback" not in err
    assert not (tmp_path / "runs" / "exp").exists()
    if "--device" in words:
        assert "try --device cpu" in err


def test_where_nothing_could_be_read_the_status_says_so(run: Run, folder: Path, tmp_path: Path) -> None:
    status, out, err = run("--source", folder / "broken.jpg")
    assert status == 1 and "no frame was looked at" in out and "broken.jpg" in err
    assert not (tmp_path / "runs" / "exp").exists()


def test_strict_is_not_content_with_what_could_be_read(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("--source", folder, "--strict", "--nosave")[0] == 1
    assert run("--source", folder / "*.jpg", "--nosave")[0] == 0
    assert run("--source", folder / "0.jpg", "--strict", "--nosave")[0] == 0


@pytest.mark.skipif("DISPLAY" in os.environ or sys.platform != "linux", reason="there may be a display here")
def test_without_a_display_view_img_says_so_and_goes_on(run: Run, folder: Path, tmp_path: Path) -> None:
    status, _, err = run("--source", folder / "0.jpg", "--view-img")
    assert status == 0 and "there is no display here" in err and (tmp_path / "runs" / "exp" / "0.jpg").exists()


def test_without_flags_the_drawn_example_is_looked_at_and_said_to_be_one(run: Run, tmp_path: Path) -> None:
    status, _, err = run(ready=False)
    assert "data/example.jpg: a drawn picture" in err
    if (ROOT / detect.EXAMPLE_WEIGHTS).exists():
        assert status == 0 and "has only ever seen drawn people" in err
        assert images.read(tmp_path / "runs" / "exp" / "example.jpg").shape == images.read(ROOT / detect.EXAMPLE).shape
    else:
        assert status == 2 and f"{detect.EXAMPLE_WEIGHTS}: not in this copy of the repository" in err


def test_the_real_clips_keep_their_frames_and_their_duration(run: Run, shared: Path, tmp_path: Path) -> None:
    clips = sorted((shared / "data" / "video").glob("*.mp4"))
    assert len(clips) == 2
    status, out, _ = run("--source", shared / "data" / "video" / "*.mp4")
    assert status == 0 and "on 10 frames" in out
    for clip in clips:
        there, here = (list(video(str(path), Faults())) for path in (clip, tmp_path / "runs" / "exp" / clip.name))
        assert len(there) == len(here) == 5
        assert there[0].clip.fps == pytest.approx(here[0].clip.fps) and there[0].image.shape == here[0].image.shape
        for before, after in zip(there, here, strict=True):  # the same scene under what was drawn
            assert np.median(np.abs(before.image.astype(int) - after.image)) < 6


def test_photographs_are_drawn_on_and_keep_their_size(run: Run, shared: Path, tmp_path: Path) -> None:
    status, out, _ = run("--source", shared / "data" / "coco_four", "--batch-size", 4, "--kpt-thres", 0)
    assert status == 0 and "12 people on 4 frames" in out
    for path in (shared / "data" / "coco_four").glob("*.jpg"):
        before, after = images.read(path), images.read(tmp_path / "runs" / "exp" / path.name)
        assert before.shape == after.shape and (np.abs(before.astype(int) - after).max(-1) > 60).mean() > 0.001


def test_help_answers_without_torch() -> None:
    code = "import sys, detect; detect.parse(); print('torch' in sys.modules, 'cv2' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]
