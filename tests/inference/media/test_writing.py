"""Videos out: as many frames, as long, as fast as what came in; opened again and looked at."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.inference.media.makers import number_of, numbered, write_video
from utils.inference.media import ffmpeg
from utils.inference.media.files import video
from utils.inference.media.frames import Faults
from utils.inference.media.window import Window
from utils.inference.media.writing import GifFile, VideoFile

NEEDS_FFMPEG = pytest.mark.skipif(ffmpeg.find_ffmpeg() is None, reason="no ffmpeg on this machine")


@pytest.fixture(params=["with what is here", "without ffmpeg"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without ffmpeg":
        monkeypatch.setattr("utils.inference.media.writing.find_ffmpeg", lambda: None)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("size", [(48, 64), (47, 61)])
@pytest.mark.parametrize("fps", [10, 29.97])
def test_a_written_video_has_the_frames_and_the_rate_it_was_given(
    tmp_path: Path, size: tuple[int, int], fps: float
) -> None:
    film = VideoFile(tmp_path / "a film.mp4", size, fps)
    for index in range(15):
        film.write(numbered(index, size))
    film.close()
    frames = list(video(str(tmp_path / "a film.mp4"), Faults()))
    assert [number_of(frame.image) for frame in frames] == list(range(15))
    assert frames[0].clip.fps == pytest.approx(fps, rel=1e-3)
    assert all(abs(found - side) <= 1 for found, side in zip(frames[0].image.shape, size, strict=False))


@pytest.mark.usefixtures("machine")
def test_pictures_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    film = VideoFile(tmp_path / "a.mp4", (48, 64), 10)
    film.write(numbered(3))
    film.write(numbered(3, (96, 128)))
    film.close()
    assert [frame.image.shape for frame in video(str(tmp_path / "a.mp4"), Faults())] == [(48, 64, 3)] * 2


@pytest.mark.usefixtures("machine")
def test_a_live_video_runs_as_fast_as_the_world_did(tmp_path: Path) -> None:
    """Pictures that come at 5 per second, then in a burst, then after a pause, into a file of 10 per second."""
    film = VideoFile(tmp_path / "live.mp4", (48, 64), 10)
    for index, seconds in enumerate([0, 0.2, 0.4, 0.6, 0.61, 0.62, 1.5, 60]):
        film.write_at(numbered(index), seconds)
    film.close()
    numbers = [number_of(frame.image) for frame in video(str(tmp_path / "live.mp4"), Faults())]
    assert numbers == [0, 1, 1, 2, 2, 3, 3] + [6] * 9 + [7]


def test_a_gif_opens_again_with_its_frames(tmp_path: Path) -> None:
    film = GifFile(tmp_path / "a.gif", 10, side=32)
    for index in range(6):
        film.write(numbered(index))
    film.close()
    frames = list(video(str(tmp_path / "a.gif"), Faults()))
    assert [number_of(frame.image) for frame in frames] == list(range(6)) and frames[0].image.shape == (24, 32, 3)
    assert frames[0].clip.fps == pytest.approx(10)


def test_a_folder_that_does_not_exist_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.inference.media.writing.find_ffmpeg", lambda: None)
    with pytest.raises(OSError, match=r"a\.mp4"):
        VideoFile(tmp_path / "nowhere" / "a.mp4", (48, 64), 10)


@NEEDS_FFMPEG
def test_ffmpeg_writes_what_browsers_play_and_keeps_the_sound(tmp_path: Path) -> None:
    program = ffmpeg.find_ffmpeg()
    assert program is not None
    silent, loud = write_video(tmp_path / "silent.mp4", 20, fps=10), tmp_path / "loud.mp4"
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-map", "0:v", "-map", "1:a", "-c:a", "aac")
    subprocess.run([program, *ffmpeg.QUIET, "-i", str(silent), *tone, "-c:v", "copy", str(loud)], check=True)
    for source, has_sound in ((silent, False), (loud, True)):
        film = VideoFile(tmp_path / "out.mp4", (48, 64), 10, source)
        for index in range(20):
            film.write(numbered(index))
        film.close()
        told = subprocess.run([program, "-hide_banner", "-i", str(film.path)], capture_output=True, text=True).stderr
        assert "Video: h264" in told and "yuv420p" in told and ("Audio: aac" in told) == has_sound
        assert "Duration: 00:00:02.0" in told
        assert len(list(video(str(film.path), Faults()))) == 20
        data = film.path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # a browser can begin before everything has arrived
    assert not list(tmp_path.glob(".*"))


@NEEDS_FFMPEG
def test_an_ffmpeg_that_stops_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    film = VideoFile(tmp_path / "nowhere" / "a.mp4", (48, 64), 10)
    with pytest.raises(OSError, match=r"a\.mp4: ffmpeg stopped: .*No such file"):
        for index in range(2000):
            film.write(np.full((48, 64, 3), index % 255, np.uint8))
        film.close()


@pytest.mark.skipif(sys.platform != "linux" or "DISPLAY" in os.environ, reason="there may be a display here")
def test_without_a_display_there_is_no_window_and_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="limber")
    assert Window.open("title") is None
