"""Pixels: reading, writing, moving by a matrix, and stacking for the network. OpenCV's home on the ground.

Images are RGB uint8 arrays (H, W, 3), upright: the EXIF rotation is applied when a file is read.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from utils.core.geometry import Matrix, in_pixel_indices, is_scale_and_shift, letterbox

GREY = (114, 114, 114)  # fills what an image does not cover, as in the published preprocessing


def read(path: str | Path) -> np.ndarray:
    """An image file as RGB, upright. `ValueError` says why a file cannot be read."""
    try:
        data = np.fromfile(path, np.uint8)  # not cv2.imread: that fails on non-ASCII paths under Windows
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    return decode(data, str(path))


def decode(data: np.ndarray, name: str) -> np.ndarray:
    """The bytes of an image file as RGB, upright; `name` is for the error message."""
    if not len(data):
        raise ValueError(f"{name}: the file is empty; expected an image")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:  # for instance more pixels than OpenCV agrees to allocate
        raise ValueError(f"{name}: not a usable image: {error.err or 'refused by the decoder'}") from None
    if image is None:
        raise ValueError(f"{name}: not an image that can be decoded (broken, or of an unknown format)")
    return np.ascontiguousarray(image[..., ::-1])


def write(path: str | Path, image: np.ndarray, *, quality: int = 95) -> None:
    """Write an RGB image; the suffix decides the format."""
    suffix = Path(path).suffix or ".jpg"
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, image[..., ::-1], settings)
    if not done:
        raise ValueError(f"{path}: cannot write an image as '{suffix}'")
    data.tofile(path)


def as_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """An array from a user as RGB uint8: grey and RGBA are converted, anything else is refused."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{name}: found {found}; expected an RGB array (height, width, 3) of uint8")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise ValueError(f"{name}: found {image.shape[2]} channels; expected RGB")
    return np.ascontiguousarray(image[..., :3])


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (height, width): averaging when it shrinks, linear when it grows."""
    if image.shape[:2] == tuple(size):
        return image
    shrinks = size[0] < image.shape[0] and size[1] < image.shape[1]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def fit(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Matrix]:
    """The letterboxed image of (height, width), and the matrix that took it there."""
    matrix, (height, width) = letterbox(image.shape[:2], size)
    top, left = round(matrix[1, 2]), round(matrix[0, 2])
    canvas = np.empty((*size, 3), np.uint8)
    canvas[:] = GREY
    canvas[top : top + height, left : left + width] = resize(image, (height, width))
    return canvas, matrix


def warp(image: np.ndarray, matrix: Matrix, size: tuple[int, int]) -> np.ndarray:
    """The image under any matrix, cut to (height, width); grey where nothing lands."""
    if is_scale_and_shift(matrix) and (placed := _whole_pixels(image, matrix, size)) is not None:
        return placed
    pixels = in_pixel_indices(matrix)
    if np.array_equal(matrix[2], (0.0, 0.0, 1.0)):
        return cv2.warpAffine(image, pixels[:2], (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=GREY)
    return cv2.warpPerspective(image, pixels, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=GREY)


def _whole_pixels(image: np.ndarray, matrix: Matrix, size: tuple[int, int]) -> np.ndarray | None:
    """Resize and paste, where the copy of the image has whole pixels and starts on one; else None."""
    corner = matrix[:2, 2]
    extent = np.array([matrix[0, 0] * image.shape[1], matrix[1, 1] * image.shape[0]])
    if not (np.allclose(corner, corner.round(), atol=1e-6) and np.allclose(extent, extent.round(), atol=1e-6)):
        return None
    (left, top), (width, height) = corner.round().astype(int), extent.round().astype(int)
    if width < 1 or height < 1:
        return None
    canvas = np.empty((*size, 3), np.uint8)
    canvas[:] = GREY
    bottom, right = min(top + height, size[0]), min(left + width, size[1])
    if bottom > max(top, 0) and right > max(left, 0):
        copy = resize(image, (int(height), int(width)))
        canvas[max(top, 0) : bottom, max(left, 0) : right] = copy[
            max(-top, 0) : bottom - top, max(-left, 0) : right - left
        ]
    return canvas


def stack(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Equal-sized RGB images (H, W, 3) as one uint8 tensor (B, 3, H, W)."""
    return torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]))


def to_unit(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 images on their device as numbers in 0..1, as the networks take them."""
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)
