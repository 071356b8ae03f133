"""The demos' command lines, as the published READMEs type them, on small local stand-ins."""

import csv
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.core import command, images
from utils.core.config import ROOT
from utils.core.console import log
from utils.data.film import FilmSettings, film
from utils.inference.media.writing import VideoFile

FRAMES, RATE, SIZE = 12, 12.0, (90, 160)


SMALL = ("--imgsz", 128, "--device", "cpu")
Answer = tuple[int, str, str]  # status, what was printed, and what was logged
Demo = Callable[..., Answer]


def typed(name: str, *arguments: object, folder: Path) -> Answer:
    """`python demos/NAME.py`, typed in another folder."""
    words = [sys.executable, str(ROOT / "demos" / f"{name}.py"), *map(str, (*arguments, *SMALL))]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """The same without a process of its own, which would spend its time on importing torch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    before = log.handlers, log.propagate, log.level

    def run(name: str, *arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, (*arguments, *SMALL))])
        with pytest.raises(SystemExit) as ended:
            command.run(importlib.import_module(f"demos.{name}").main)
        return int(ended.value.code or 0), *capsys.readouterr()

    yield run
    log.handlers, log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture(scope="module")
def kapao(shared: Path) -> tuple[object, ...]:
    weights = shared / "fixtures" / "kapao" / "public" / "ckpt_tiny_stripped.pt"
    return ("--weights", weights, "--conf-thres", 0.05, "--max-det", 5)


@pytest.fixture(scope="module")
def yolo_pose(shared: Path) -> tuple[object, ...]:
    weights = shared / "fixtures" / "yolo_pose" / "public" / "ckpt" / "tiny_s6_last.pt"
    return ("--weights", weights, "--conf-thres", 0.05, "--max-det", 5)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "2016-01-04_21-33-35_Depth.mp4"
    video = VideoFile(path, SIZE, RATE)
    for frame in film(1, FilmSettings(size=SIZE, frames=FRAMES, people=3)):
        video.write(frame.image)
    video.close()
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    frame = next(iter(film(2, FilmSettings(size=SIZE, frames=50))))
    images.write(tmp_path / "street.png", frame.image)
    return tmp_path / "street.png"


def frames_of(path: Path) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


def test_the_four_pictures_of_the_readme_differ_and_carry_their_published_names(
    kapao: tuple[object, ...], picture: Path, demo: Demo
) -> None:
    steps = {
        "_bbox_kp_obj": "--bbox",
        "_bbox_pose_face": "--bbox --pose --face --no-kp-dets",
        "_bbox_pose_face_kpbbox": "--bbox --pose --face --no-kp-dets --kp-bbox",
        "_pose_face_kp_obj": "--pose --face",
    }
    drawn = []
    for name, step in steps.items():
        flags = (*step.split(), "--color-kp", 0, 255, 255, "--kp-size", 1, "--kp-thick", 2, "--line-thick", 2)
        status, out, err = demo("image", "-p", picture, *flags, *kapao, "--conf-thres-kp", 0.05)
        assert status == 0, err
        target = picture.parent / f"street_ckpt_tiny_stripped{name}.png"
        assert target.name in out
        drawn.append(images.read(target))
    assert all(image.shape[:2] == SIZE for image in drawn)
    original = images.read(picture)
    assert all((image != original).any() for image in drawn)
    assert all((a != b).any() for i, a in enumerate(drawn) for b in drawn[:i])


def test_families_without_keypoint_objects_draw_too_and_refuse_what_they_lack_by_name(
    yolo_pose: tuple[object, ...], picture: Path, demo: Demo
) -> None:
    flags = ("-p", picture, "--bbox", "--pose", "--face", "--no-kp-dets")
    status, _, err = demo("image", *flags, *yolo_pose)
    assert status == 0, err
    assert "yolo_pose has no keypoint objects to leave out" in err
    for flag in ("--kp-bbox", "--kp-obj"):
        status, _, err = demo("image", "-p", picture, "--pose", flag, *yolo_pose)
        assert status == 2 and f"{flag}: family yolo_pose has no keypoint objects" in err


def test_a_video_becomes_an_mp4_and_a_table_with_a_row_for_every_frame(
    kapao: tuple[object, ...], clip: Path, demo: Demo
) -> None:
    flags = ("-p", clip, "--face", "--csv", "--color", 255, 0, 255, "--conf-thres-kp", 0.01, "--kp-obj")
    status, out, err = demo("video", *flags, *kapao)
    assert status == 0, err
    assert f"{FRAMES} frames" in out
    film_path = clip.parent / f"{clip.stem}_ckpt_tiny_stripped_cpu.mp4"
    assert [frame.shape[:2] for frame in frames_of(film_path)] == [SIZE] * FRAMES
    rows = list(csv.reader(film_path.with_suffix(".csv").open()))
    assert len(rows) == FRAMES and all(len(row) % (3 * 17) == 0 for row in rows)


def test_a_depth_video_becomes_a_gif_of_the_size_that_was_asked_for(
    kapao: tuple[object, ...], clip: Path, demo: Demo
) -> None:
    flags = ("-p", clip, "--face", "--start", 0, "--end", -1, "--gif", "--gif-size", 80, 60)
    status, _, err = demo("video", *flags, *kapao)
    assert status == 0, err
    found = frames_of(clip.parent / f"{clip.stem}_ckpt_tiny_stripped_cpu.gif")
    assert len(found) == FRAMES and found[0].shape[:2] == (60, 80)
    assert not list(clip.parent.glob("*_cpu.mp4"))


def test_start_and_end_cut_a_part_out_and_a_part_that_is_not_there_is_told(
    yolo_pose: tuple[object, ...], clip: Path, demo: Demo
) -> None:
    status, out, err = demo("video", "-p", clip, "--start", 0.5, "--end", 0.75, *yolo_pose)
    assert status == 0 and " on 3 frames " in out, out + err
    status, _, err = demo("video", "-p", clip, "--start", 188, "--end", 196, *yolo_pose)
    assert status == 1 and "has no frame from --start 188 s on" in err
    status, _, err = demo("video", "-p", clip, "--start", 5, "--end", 2, *yolo_pose)
    assert status == 2 and "--start 5 --end 2" in err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_the_demos_say_so_and_go_on(yolo_pose: tuple[object, ...], clip: Path, demo: Demo) -> None:
    for name in ("video", "squash"):
        status, out, err = demo(name, "-p", clip, "--display", "--fps", *yolo_pose)
        assert status == 0 and "--display: there is no display here" in err, err
        assert f"{FRAMES} frames" in out
    assert not list(clip.parent.glob("*_cpu.mp4")) and not list(clip.parent.glob("squash*"))


def test_squash_writes_an_mp4_or_a_gif_of_a_quarter_of_the_size(
    yolo_pose: tuple[object, ...], clip: Path, demo: Demo
) -> None:
    flags = ("-p", clip, "--start", 0.5, "--end", 1, "--fps")
    status, _, err = demo("squash", *flags, *yolo_pose)
    assert status == 0, err
    assert len(frames_of(clip.parent / "squash_inference_tiny_s6_last.mp4")) == 6
    status, _, err = demo("squash", *flags, "--gif", "--tracker", "everybody", *yolo_pose)
    assert status == 0, err
    [first, *_] = frames_of(clip.parent / "squash_inference_tiny_s6_last.gif")
    assert first.shape[:2] == (round(SIZE[0] / 4), SIZE[1] // 4)


def test_a_youtube_video_is_fetched_by_yt_dlp_or_the_message_says_what_to_do(
    yolo_pose: tuple[object, ...], clip: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--yt-id", "2DiQUX11YaY", "--tag", 136, "--end", 0.5)
    empty = clip.parent / "nothing"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    status, _, err = demo("video", *flags, *yolo_pose)
    assert status == 2 and "2DiQUX11YaY_720p.mp4 is not there and yt-dlp" in err and "pip install yt-dlp" in err
    program = empty / "yt-dlp"  # stands in for the real one: copies a file to where --output says
    program.write_text(f'#!/bin/sh\ncase "$5" in *2DiQUX11YaY) ;; *) exit 1;; esac\n/bin/cp "{clip}" "$4"\n')
    program.chmod(0o755)
    status, out, err = demo("video", *flags, *yolo_pose)
    assert status == 0 and " on 6 frames " in out, err
    assert (clip.parent / "2DiQUX11YaY_720p_tiny_s6_last_cpu.mp4").exists()
    program.write_text("#!/bin/sh\necho 'ERROR: Video unavailable' >&2\nexit 1\n")
    status, _, err = demo("video", "--yt-id", "nrchfeybHmw", *yolo_pose)
    assert status == 1 and "Video unavailable" in err


def test_the_published_demos_video_is_taken_where_it_lies(
    yolo_pose: tuple[object, ...], clip: Path, demo: Demo
) -> None:
    clip.rename(clip.parent / "yBZ0Y2t0ceo_480p.mp4")
    status, out, err = demo("video", "--end", 0.5, *yolo_pose)
    assert status == 0 and " on 6 frames " in out, err
    assert (clip.parent / "yBZ0Y2t0ceo_480p_tiny_s6_last_cpu.mp4").exists()


def test_without_a_video_the_demos_draw_one(yolo_pose: tuple[object, ...], tmp_path: Path, demo: Demo) -> None:
    status, out, err = demo("video", "--end", 0.2, *yolo_pose)
    assert status == 0 and "drawing one" in err and " on 5 frames " in out, err
    assert (tmp_path / "drawn_people_tiny_s6_last_cpu.mp4").exists()


def test_a_demo_works_as_typed_in_any_folder(yolo_pose: tuple[object, ...], picture: Path, tmp_path: Path) -> None:
    status, out, err = typed("image", "-p", picture, *yolo_pose, folder=tmp_path)
    assert status == 0 and "people" in out, err


def test_help_answers_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')")
    for name in ("image", "video", "squash"):
        words = [sys.executable, str(ROOT / "demos" / f"{name}.py"), "--help"]
        done = subprocess.run(
            words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        )
        assert done.returncode == 0 and "--weights" in done.stdout, done.stderr
