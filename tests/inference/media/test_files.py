"""Pictures and videos from real files, whole and damaged."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.inference.media.makers import number_of, numbered, write_video
from utils.core import images
from utils.inference.media.files import is_cut_short, picture, video
from utils.inference.media.frames import Faults
from utils.inference.media.sources import Source


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("limber").propagate = True
    caplog.set_level(logging.INFO, logger="limber")


@pytest.mark.parametrize("name, codec", [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("ä ö.mp4", "mp4v")])
def test_every_frame_of_a_video_arrives_in_order_with_its_time(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, 12, fps=10, codec=codec)
    faults = Faults()
    frames = list(video(str(path), faults))
    assert [number_of(frame.image) for frame in frames] == list(range(12)) == [frame.index for frame in frames]
    assert frames[0].clip.fps == pytest.approx(10, rel=0.01) and frames[5].seconds == pytest.approx(0.5, rel=0.01)
    assert str(faults) == ""
    left, right = frames[3].image[:, :30].mean(), frames[3].image[:, 34:].mean()
    assert left > right


def test_a_stride_leaves_frames_out_and_slows_the_clock_so_that_the_duration_stays(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 11, fps=12)
    frames = list(video(str(path), Faults(), stride=3))
    assert [frame.index for frame in frames] == [0, 3, 6, 9] == [number_of(frame.image) for frame in frames]
    assert frames[0].clip.fps == 4 and frames[0].clip.count == 4
    assert Source(str(path), stride=3).total == 4


def test_a_rotation_flag_turns_the_picture_upright(tmp_path: Path) -> None:
    """The matrix in the track header says that the camera was held sideways, as telephones write it."""
    path = write_video(tmp_path / "held sideways.mp4", 4)
    data = path.read_bytes()
    upright = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4").tobytes()  # by 90 degrees
    track = data.index(b"tkhd")
    place = data.index(upright, track)
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])
    frames = list(video(str(path), Faults()))
    assert [frame.image.shape for frame in frames] == [(64, 48, 3)] * 4
    above, below = frames[0].image[:30].mean(), frames[0].image[34:].mean()
    assert above > below  # the bright half was on the left


def test_a_gif_is_a_video(tmp_path: Path) -> None:
    film = cv2.Animation()
    film.frames, film.durations = [numbered(i) for i in range(5)], np.full(5, 100, np.int32)
    cv2.imwriteanimation(str(tmp_path / "a.gif"), film)
    frames = list(video(str(tmp_path / "a.gif"), Faults()))
    assert [number_of(frame.image) for frame in frames] == list(range(5))
    assert frames[0].clip.fps == pytest.approx(10)


def test_pictures_are_upright_too(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", numbered(9, (40, 60)))
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    [frame] = picture(tmp_path / "turned.jpg", Faults())
    assert frame.image.shape == (60, 40, 3)


def test_a_picture_cut_short_is_known_by_its_end_not_by_that_of_a_preview_inside(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", numbered(9, (200, 300)))
    whole = data.tobytes()
    preview = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    held = whole[:2] + preview + whole[2:]
    assert not is_cut_short(whole) and not is_cut_short(held) and not is_cut_short(whole + b"appended by a telephone")
    assert is_cut_short(whole[:-40]) and is_cut_short(held[:-40])
    _, png = cv2.imencode(".png", numbered(9))
    assert not is_cut_short(png.tobytes()) and is_cut_short(png.tobytes()[:-20])


def damaged(data: bytes, kind: int, generator: np.random.Generator) -> bytes:
    """One of five things that happen to files."""
    cut = int(generator.integers(1, int(len(data) * 0.9)))
    return (
        data[:cut],  # the copy was interrupted
        b"",
        bytes(generator.integers(0, 256, len(data), dtype=np.uint8)),  # encrypted
        bytes(len(data) // 2) + data[len(data) // 2 :],  # the first blocks are lost
        b"<html><body>404 Not Found</body></html>",
    )[kind]


def test_three_hundred_damaged_files_are_named_each_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = np.random.default_rng(0)
    film = write_video(tmp_path / "whole.mp4", 20).read_bytes()
    motion = write_video(tmp_path / "whole.avi", 20, codec="MJPG").read_bytes()
    texture = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    stills = [cv2.imencode(suffix, texture)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp")]
    wholes = [(".mp4", film), (".avi", motion), *zip((".jpg", ".png", ".webp", ".bmp"), stills, strict=True)]
    names = []
    for number in range(300):
        suffix, whole = wholes[number % len(wholes)]
        name = f"damaged_{number:03d}{suffix}"
        (tmp_path / name).write_bytes(damaged(whole, number // len(wholes) % 5, generator))
        names.append(name)
    source = Source(str(tmp_path))
    frames = list(source)
    assert sum("whole" in frame.clip.name for frame in frames) == 40
    unnamed = [name for name in names if name not in caplog.text]
    assert not unnamed
    assert source.faults.files >= 250 and source.faults.frames > 0  # a cut film may show its beginning


def test_flipped_bits_stop_nothing(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    film = write_video(tmp_path / "whole.mp4", 20).read_bytes()
    for number in range(40):
        data = bytearray(film)
        for place in generator.integers(0, len(data), 30):
            data[place] ^= 1 << int(generator.integers(8))
        (tmp_path / "flipped.mp4").write_bytes(bytes(data))
        faults = Faults()
        frames = list(video(str(tmp_path / "flipped.mp4"), faults))
        assert len(frames) <= 60, number


def test_the_real_clips_give_the_frames_that_they_hold(shared: Path) -> None:
    for name, size, fps in (("people", (540, 960, 3), 5), ("posetrack", (720, 1280, 3), 30)):
        faults = Faults()
        frames = list(video(str(shared / "data" / "video" / f"{name}.mp4"), faults))
        assert [frame.image.shape for frame in frames] == [size] * 5
        assert frames[0].clip.fps == fps and str(faults) == ""


def test_a_picture_of_sixty_thousand_pixels_a_side_is_refused_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(bomb)
    images.write(tmp_path / "z.png", numbered(3))
    frames = list(Source(str(tmp_path)))
    assert len(frames) == 1 and "bomb.png" in caplog.text
