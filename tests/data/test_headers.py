"""Image sizes are read from headers exactly as the decoder sees them."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.core import images
from utils.data.reading.headers import is_cut_short, upright_size

HEIGHT, WIDTH = 37, 53


def encoded(suffix: str) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


def exif(orientation: int, order: str) -> bytes:
    sign = {"II": "<", "MM": ">"}[order]
    entry = struct.pack(sign + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return order.encode() + struct.pack(sign + "HI", 42, 8) + struct.pack(sign + "H", 1) + entry + b"\0" * 4


def jpeg_with(block: bytes) -> bytes:
    data = encoded(".jpg")
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def png_with(block: bytes) -> bytes:
    data, chunk = encoded(".png"), b"eXIf" + block
    return data[:33] + struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_the_size_in_the_header_is_that_of_the_decoded_image(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(suffix))
    assert upright_size(path) == (HEIGHT, WIDTH) == images.read(path).shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("make", [jpeg_with, png_with])
def test_a_photograph_on_its_side_has_the_size_it_is_shown_with(tmp_path: Path, orientation: int, order: str, make):
    path = tmp_path / "a.jpg"
    path.write_bytes(make(exif(orientation, order)))
    expected = (WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH)
    assert upright_size(path) == expected == images.read(path).shape[:2]


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"XX*\0\0\0\0\x08", exif(6, "II")[:15]])
def test_a_damaged_exif_block_means_upright(tmp_path: Path, block: bytes):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(block))
    assert upright_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"not an image", b"BM", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused_with_its_name(tmp_path: Path, data: bytes):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.jpg"):
        upright_size(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path):
    with pytest.raises(ValueError, match=r"b\.png: cannot be read"):
        upright_size(tmp_path / "b.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_missing_end_is_noticed_and_bytes_after_the_end_are_not(suffix: str):
    data = encoded(suffix)
    assert not is_cut_short(data)
    assert not is_cut_short(data + b"a maker's note")
    assert is_cut_short(data[:-13])
    assert is_cut_short(data[: len(data) // 2])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture():
    data = jpeg_with(exif(1, "II") + encoded(".jpg"))
    assert not is_cut_short(data)
    assert is_cut_short(data[:-20])


def test_every_photograph_of_the_sample_sets_is_read_right(shared: Path):
    for path in sorted((shared / "data").rglob("*.jpg"))[::7]:
        assert upright_size(path) == images.read(path).shape[:2]
        assert not is_cut_short(path.read_bytes())


def test_a_header_that_promises_more_than_any_picture_has_is_not_believed(tmp_path: Path):
    """A bit of the width has flipped: two thousand million pixels across."""
    data = bytearray(encoded(".png"))
    data[16] ^= 0x80
    path = tmp_path / "wide.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"wide\.png: not an? "):
        upright_size(path)
