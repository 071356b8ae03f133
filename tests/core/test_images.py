"""Pixels: upright, RGB, where the matrix says they are, and one sentence for what is no image."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from utils.core import images
from utils.core.geometry import (
    chain,
    in_pixel_indices,
    letterbox,
    mirror,
    move_points,
    rotation,
    scaling,
    translation,
    upside_down,
)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["plain.png", "with two  spaces.png", "bücher 日本 😀.png", "ünï.bmp", "UPPER.PNG"])
def test_what_is_written_under_any_name_is_read_back(tmp_path: Path, name: str) -> None:
    image = noise(5, 7)
    images.write(tmp_path / name, image)
    assert np.array_equal(images.read(tmp_path / name), image)
    assert np.array_equal(images.read(str(tmp_path / name)), image)


def test_a_jpeg_is_near_and_its_quality_can_be_chosen(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(noise(64, 64), (0, 0), 8)
    for quality in (20, 95):
        images.write(tmp_path / f"{quality}.jpg", smooth, quality=quality)
    assert np.abs(images.read(tmp_path / "95.jpg").astype(int) - smooth).mean() < 3
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


def test_writing_a_png_does_not_complain_about_the_quality(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images.write(tmp_path / "a.png", noise(4, 4))
    assert capfd.readouterr() == ("", "")


def test_red_is_the_first_channel(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((2, 2, 3), (0, 0, 255), np.uint8))  # OpenCV: BGR
    assert images.read(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_grey_sixteen_bit_and_transparent_files_become_rgb(tmp_path: Path) -> None:
    for name, array in (
        ("grey", np.full((3, 4), 100, np.uint8)),
        ("deep", np.full((3, 4), 100 * 257, np.uint16)),
        ("alpha", np.full((3, 4, 4), (100, 100, 100, 0), np.uint8)),
    ):
        cv2.imwrite(str(tmp_path / f"{name}.png"), array)
        image = images.read(tmp_path / f"{name}.png")
        assert image.shape == (3, 4, 3) and image.dtype == np.uint8 and (image == 100).all(), name


UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    done, data = cv2.imencode(".jpg", cv2.GaussianBlur(noise(24, 40), (0, 0), 5))
    assert done and data[:2].tobytes() == b"\xff\xd8"
    plain = images.decode(data, "plain")
    # One TIFF entry: tag 0x0112 (orientation), type 3 (short), one value.
    tiff = b"II*\0" + struct.pack("<LHHHLHHL", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2].tobytes() + segment + data[2:].tobytes())
    assert np.array_equal(images.read(path), UPRIGHT[orientation](plain))


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels, with none behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


NO_IMAGES = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"this is not an image\n" * 30,
    "the start of a jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "the start of a png": png_of(4, 4)[:20],
    "more pixels than allowed": png_of(2**31 - 1, 2**31 - 1),
    "a million wide": png_of(1_000_000, 1_000_000),
    "no pixels": png_of(0, 0),
}


@pytest.mark.parametrize("case", NO_IMAGES)
def test_what_is_no_image_is_one_sentence_with_its_name(tmp_path: Path, case: str) -> None:
    path = tmp_path / "no image.png"
    path.write_bytes(NO_IMAGES[case])
    with pytest.raises(ValueError, match=r"no image\.png: ") as error:
        images.read(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_a_folder_is_one_sentence_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.jpg: cannot be read: No such file"):
        images.read(tmp_path / "missing.jpg")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        images.read(tmp_path)


def test_an_unknown_suffix_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.xyz: cannot write an image as '\.xyz'"):
        images.write(tmp_path / "a.xyz", noise(4, 4))
    images.write(tmp_path / "without", noise(4, 4))  # as JPEG
    assert images.read(tmp_path / "without").shape == (4, 4, 3)


# ---------------------------------------------------------------------------------------------- arrays


def test_arrays_of_users_become_rgb() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for array in (grey, grey[..., None]):
        assert images.as_rgb(array).tolist() == np.stack([grey] * 3, -1).tolist()
    rgba = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert images.as_rgb(rgba).tolist() == rgba[..., :3].tolist()
    turned = images.as_rgb(rgba[::-1, ::-1])
    assert turned.flags.c_contiguous and turned[0, 0].tolist() == rgba[1, 2, :3].tolist()
    rgb = noise(2, 3)
    rgb.setflags(write=False)
    assert np.array_equal(images.as_rgb(rgb), rgb)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4, 3), np.float32), r"found float32 \(4, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), "found 2 channels"),
        (np.zeros((3, 640, 640), np.uint8), "found 640 channels"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"found uint8 \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"found uint8 \(0, 4, 3\)"),
        (None, "found NoneType"),
        ("a.jpg", "found str"),
    ],
)
def test_other_arrays_are_refused_by_name(array: object, found: str) -> None:
    with pytest.raises(ValueError, match=f"frame 3: {found}; expected"):
        images.as_rgb(array, "frame 3")


def test_images_are_stacked_for_the_network_and_scaled_to_one() -> None:
    stacked = images.stack([noise(4, 6, seed) for seed in range(3)])
    assert stacked.shape == (3, 3, 4, 6) and stacked.dtype == torch.uint8
    assert stacked[1, 2, 3, 5] == noise(4, 6, 1)[3, 5, 2]
    unit = images.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert unit.dtype == torch.float32 and unit.tolist() == pytest.approx([0, 0.2, 1])
    assert images.to_unit(unit, torch.float16).dtype == torch.float16
    assert torch.equal(images.to_unit(unit), unit)


# ---------------------------------------------------------------------------------------------- fit


def published_fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Load, resize and letterbox as YOLO-Pose's evaluation does: averaging when it shrinks, then a grey border."""
    ratio = min(size[0] / image.shape[0], size[1] / image.shape[1])
    width, height = round(image.shape[1] * ratio), round(image.shape[0] * ratio)
    if ratio != 1:
        method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=method)
    across, along = (size[1] - width) / 2, (size[0] - height) / 2
    top, bottom, left, right = (
        round(along - 0.1), round(along + 0.1), round(across - 0.1), round(across + 0.1),
    )  # fmt: skip
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))


@pytest.mark.parametrize(
    ("source", "target"),
    [((48, 64), (64, 64)), ((43, 64), (64, 64)), ((64, 43), (64, 64)), ((37, 50), (64, 64)), ((72, 128), (38, 64)),
     ((101, 57), (128, 128)), ((333, 251), (64, 96)), ((64, 64), (64, 64)), ((200, 3), (64, 64)), ((1, 1), (7, 9))],
)  # fmt: skip
def test_a_fitted_image_has_the_pixels_of_the_published_letterbox(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    image = noise(*source)
    fitted, matrix = images.fit(image, target)
    assert np.array_equal(fitted, published_fit(image, target))
    assert np.array_equal(matrix, letterbox(source, target)[0])


def test_a_very_long_image_still_has_a_row(tmp_path: Path) -> None:
    fitted, matrix = images.fit(noise(1, 5000), (64, 64))
    assert fitted.shape == (64, 64, 3) and matrix[1, 1] == 1
    assert (fitted[:31] == 114).all() and (fitted[32:] == 114).all() and (fitted[31] != 114).any()


# ---------------------------------------------------------------------------------------------- warp


@pytest.mark.parametrize(
    ("left", "top", "width", "height"),
    [
        (0, 0, 40, 30),
        (5, 3, 40, 30),
        (5, 3, 80, 60),
        (-7, -9, 20, 15),
        (-100, 4, 400, 10),
        (50, 40, 40, 30),
        (2, 1, 13, 77),
    ],
)
def test_a_scale_and_a_shift_in_whole_pixels_is_a_resize_and_a_paste(
    left: int, top: int, width: int, height: int
) -> None:
    image, size = noise(30, 40), (48, 64)
    matrix = chain(scaling(width / 40, height / 30), translation(left, top))
    expected = np.full((200, 700, 3), 114, np.uint8)  # room for all of the copy around the canvas
    expected[100 + top : 100 + top + height, 150 + left : 150 + left + width] = images.resize(image, (height, width))
    assert np.array_equal(images.warp(image, matrix, size), expected[100:148, 150:214])


def test_a_letterbox_by_warp_is_the_fitted_image() -> None:
    for source in ((37, 50), (101, 57), (43, 64)):
        image = noise(*source)
        fitted, matrix = images.fit(image, (64, 64))
        assert np.array_equal(images.warp(image, matrix, (64, 64)), fitted)


def test_a_copy_that_leaves_the_canvas_leaves_it_grey() -> None:
    for matrix in (translation(100, 0), translation(0, -100), translation(100.5, 0.5), scaling(0.001, 0.001)):
        assert (images.warp(noise(30, 40), matrix, (20, 20)) == 114).mean() > 0.99


def blob(x: float, y: float, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    """A round light spot on the grey that also fills the border, with its centre at continuous (x, y)."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    light = 114 + 140 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    return np.repeat(light[..., None], 3, 2).astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    light = image[..., 0].astype(float) - 114
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


@pytest.mark.parametrize(
    "matrix",
    [
        translation(0.5, 0), translation(3.5, -2.25), mirror(80), upside_down(64),
        chain(mirror(80), translation(-0.5, 0)),
        chain(translation(-40, -32), rotation(30), translation(40, 32)),
        chain(scaling(1.7, 1.7), translation(-11.3, -9.8)), chain(scaling(0.5, 0.5), translation(10, 10)),
        np.array([[1.0, 0.05, 2.0], [0.02, 1.1, 1.0], [0.0004, 0.0003, 1.0]]),
    ],
)  # fmt: skip
def test_a_spot_lands_where_the_matrix_says_to_a_fraction_of_a_pixel(matrix: np.ndarray) -> None:
    moved = images.warp(blob(35.5, 28.25), matrix, (64, 80))
    expected = move_points(np.array([35.5, 28.25]), matrix)
    np.testing.assert_allclose(centre(moved), expected, atol=0.12)


def test_a_shift_of_half_a_pixel_averages_neighbours() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 1] = 200
    assert images.warp(image, translation(0.5, 0), (1, 4))[0, :, 0].tolist() == [57, 100, 100, 0]  # 57: half of grey


def test_a_mirror_is_exact() -> None:
    image = noise(30, 40)
    assert np.array_equal(images.warp(image, mirror(40), (30, 40)), image[:, ::-1])
    assert np.array_equal(images.warp(image, upside_down(30), (30, 40)), image[::-1])


def test_a_matrix_that_divides_by_a_constant_is_no_scale_and_shift() -> None:
    moved = images.warp(blob(40, 30), np.diag([1.0, 1.0, 2.0]), (64, 80))
    np.testing.assert_allclose(centre(moved), [20, 15], atol=0.12)


def test_a_small_part_of_a_large_image_is_enlarged_without_enlarging_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 times a 1000 x 1000 image would be 64 million pixels, of which 64 x 64 are wanted."""
    image, largest = cv2.GaussianBlur(noise(1000, 1000), (0, 0), 3), []
    resize = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda image, size, **more: largest.append(size) or resize(image, size, **more))
    matrix = chain(scaling(8, 8), translation(-4000, -4000))
    part = images.warp(image, matrix, (64, 64))
    assert all(width * height < 1e6 for width, height in largest)
    assert np.array_equal(part, cv2.warpAffine(image, in_pixel_indices(matrix)[:2], (64, 64)))
    whole = resize(image, (8000, 8000), interpolation=cv2.INTER_LINEAR)[4000:4064, 4000:4064]
    assert np.abs(part.astype(int) - whole).max() <= 1  # the same, to the rounding
