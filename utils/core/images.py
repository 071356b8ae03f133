"""Pixels: reading, writing, moving by a matrix, and stacking for the network. OpenCV's home on the ground.

Images are RGB uint8 arrays (H, W, 3), upright: the EXIF rotation is applied when a file is read.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from utils.core.files import naming
from utils.core.geometry import (
    Fit,
    Matrix,
    chain,
    in_pixel_indices,
    is_affine,
    is_scale_and_shift,
    letterbox,
    scaling,
    translation,
)

GREY = (114, 114, 114)  # fills what an image does not cover, as in the published preprocessing
BLACK = (0, 0, 0)  # the same around person crops
SLIVER = 64  # pixels; smaller pieces of a mosaic are warped, not resized
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
LARGEST_COPY = 16  # times as many pixels as are wanted: more are not made only to be cut off


def read(path: str | Path) -> np.ndarray:
    """An image file as RGB, upright. `ValueError` says why a file cannot be read."""
    return decode(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> np.ndarray:
    """The bytes of a file; `ValueError` says why it cannot be read."""
    try:
        return np.fromfile(path, np.uint8)  # not cv2.imread: that fails on non-ASCII paths under Windows
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def decode(data: np.ndarray, name: str) -> np.ndarray:
    """The bytes of an image file as RGB, upright; `name` is for the error message."""
    return _decode(data, name, cv2.IMREAD_COLOR)


def decode_reduced(data: np.ndarray, name: str, size: tuple[int, int], scale: float) -> tuple[np.ndarray, Matrix]:
    """An image whose upright size is known and that will be shown at this scale: a JPEG shown at half its size or less
    is decoded smaller, which is faster and averages. Returns it and the matrix from the full image's pixels to its own.
    """
    factor = max(factor for factor in REDUCED if factor * scale <= 1 or factor == 1)
    while factor > 1 and not _reduces_exactly(data, size, factor):
        factor //= 2
    image = _decode(data, name, REDUCED[factor])
    expected = tuple(-(-side // factor) for side in size)
    if image.shape[:2] == expected[::-1]:  # annotated as it is stored, without its EXIF rotation
        image = _decode(data, name, REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION)
    if image.shape[:2] != expected:
        height, width = (side * factor for side in image.shape[:2])
        raise ValueError(f"{name}: about {height} x {width} pixels found; the annotations say {size[0]} x {size[1]}")
    return image, scaling(1 / factor, 1 / factor)


def reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """An image at 1 / factor, averaged over whole blocks counted from its corner; the last ones are filled up."""
    if factor == 1:
        return image
    below, right = (-side % factor for side in image.shape[:2])
    if below or right:
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(image, (image.shape[1] // factor, image.shape[0] // factor), interpolation=cv2.INTER_AREA)


def _reduces_exactly(data: np.ndarray, size: tuple[int, int], factor: int) -> bool:
    """True for a JPEG whose reduced pixels are whole blocks counted from the upright image's corner."""
    if data[:2].tobytes() != b"\xff\xd8":
        return False
    return (size[0] % factor == 0 and size[1] % factor == 0) or b"Exif\0" not in data[:65536].tobytes()


def _decode(data: np.ndarray, name: str, flags: int) -> np.ndarray:
    if not len(data):
        raise ValueError(f"{name}: the file is empty; expected an image")
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:  # for instance more pixels than OpenCV agrees to allocate
        raise ValueError(f"{name}: not a usable image: {error.err or 'refused by the decoder'}") from None
    if image is None:
        raise ValueError(f"{name}: not an image that can be decoded (broken, or of an unknown format)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def write(path: str | Path, image: np.ndarray, *, quality: int = 95) -> None:
    """Write an RGB image; the suffix decides the format."""
    suffix = Path(path).suffix or ".jpg"
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(suffix, image[..., ::-1], settings)
    except cv2.error:  # no encoder for this suffix
        done = False
    if not done:
        raise ValueError(f"{path}: cannot write an image as '{suffix}'")
    with naming(path):
        Path(path).write_bytes(data.tobytes())  # not cv2.imwrite: that fails on non-ASCII paths under Windows


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


def resize(image: np.ndarray, size: tuple[int, int], *, smooth: bool = True) -> np.ndarray:
    """To (height, width): averaging when it shrinks unless told otherwise, linear when it grows."""
    if image.shape[:2] == tuple(size):
        return image
    averages = smooth and size[0] < image.shape[0] and size[1] < image.shape[1]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if averages else cv2.INTER_LINEAR)


def fit(
    image: np.ndarray, size: tuple[int, int], how: Fit | None = None, *, longest: int | None = None
) -> tuple[np.ndarray, Matrix]:
    """The letterboxed image of (height, width), and the matrix that took it there."""
    how = how or Fit()
    matrix, (height, width) = letterbox(image.shape[:2], size, how, longest=longest)
    if how.rounding == "none":
        return crop(image, matrix, size, fill=GREY), matrix
    top, left = round(matrix[1, 2]), round(matrix[0, 2])
    canvas = blank(size)
    copy = resize(image, (int(height), int(width)), smooth=how.smooth)
    canvas[top : top + copy.shape[0], left : left + copy.shape[1]] = copy
    return canvas, matrix


def warp(image: np.ndarray, matrix: Matrix, size: tuple[int, int], fill: tuple[int, int, int] = GREY) -> np.ndarray:
    """The image under any matrix, cut to (height, width); grey where nothing lands."""
    if is_scale_and_shift(matrix) and (placed := _whole_pixels(image, matrix, size, fill)) is not None:
        return placed
    pixels = in_pixel_indices(matrix)
    if is_affine(matrix):
        return cv2.warpAffine(image, pixels[:2], (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=fill)
    return cv2.warpPerspective(image, pixels, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=fill)


def crop(image: np.ndarray, matrix: Matrix, size: tuple[int, int], fill: tuple[int, int, int] = BLACK) -> np.ndarray:
    """A part by a matrix that counts from pixel centres, as that of `geometry.person_crop` does."""
    pixels = matrix[:2]
    return cv2.warpAffine(image, pixels, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=fill)


def paint(canvas: np.ndarray, image: np.ndarray, matrix: Matrix, corners: np.ndarray) -> Matrix:
    """Warp an image straight into a canvas, where the quadrilateral (4, 2) is, and return what was really done.

    An upright piece is resized between whole pixels, five times as fast as a warp; for that the matrix gives way by
    half a pixel of the image at the piece's edges. Neighbours meet without a gap; border pixels are stretched.
    """
    # Pixel i belongs to whoever covers its centre, i + 0.5.
    low = np.ceil(corners.min(0) - 0.5).astype(int).clip(0)
    high = np.minimum(np.ceil(corners.max(0) - 0.5).astype(int), canvas.shape[1::-1])
    if (high <= low).any():
        return matrix
    region = canvas[low[1] : high[1], low[0] : high[0]]
    if not is_scale_and_shift(matrix):
        target = np.empty_like(region)
        _warp_into(target, image, chain(matrix, translation(-low[0], -low[1])))
        mask = np.zeros(region.shape[:2], np.uint8)
        outline = np.round((corners - low - 0.5) * 16).astype(np.int32)  # in sixteenths of a pixel
        cv2.fillConvexPoly(mask, outline, 255, shift=4)
        cv2.copyTo(target, mask, region)
        return matrix
    scale, shift = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    first = np.round((low - shift) / scale).astype(int).clip(0)
    last = np.minimum(np.round((high - shift) / scale).astype(int), image.shape[1::-1])
    if (last - first).min() < SLIVER:  # half a pixel would be too much
        _warp_into(region, image, chain(matrix, translation(-low[0], -low[1])))
        return matrix
    part = image[first[1] : last[1], first[0] : last[0]]
    cv2.resize(part, region.shape[1::-1], dst=region, interpolation=cv2.INTER_LINEAR)
    done = (high - low) / (last - first)
    return chain(translation(-first[0], -first[1]), scaling(done[0], done[1]), translation(low[0], low[1]))


def _warp_into(target: np.ndarray, image: np.ndarray, matrix: Matrix) -> None:
    pixels, size = in_pixel_indices(matrix), target.shape[1::-1]
    how = {"dst": target, "flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    if is_affine(matrix):
        cv2.warpAffine(image, pixels[:2], size, **how)
    else:
        cv2.warpPerspective(image, pixels, size, **how)


def blank(size: tuple[int, int], fill: tuple[int, int, int] = GREY) -> np.ndarray:
    """An image of (height, width) in one colour."""
    if len(set(fill)) == 1:  # a hundred times as fast as repeating three values
        return np.full((*size, 3), fill[0], np.uint8)
    return np.full((*size, 3), fill, np.uint8)


def mirrored(image: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return cv2.flip(image, 1)


def upended(image: np.ndarray) -> np.ndarray:
    """Top and bottom exchanged."""
    return cv2.flip(image, 0)


def _whole_pixels(
    image: np.ndarray, matrix: Matrix, size: tuple[int, int], fill: tuple[int, int, int]
) -> np.ndarray | None:
    """Resize and paste, where the copy of the image has whole pixels and starts on one; else None."""
    corner = matrix[:2, 2]
    extent = np.array([matrix[0, 0] * image.shape[1], matrix[1, 1] * image.shape[0]])
    if not (np.allclose(corner, corner.round(), atol=1e-6) and np.allclose(extent, extent.round(), atol=1e-6)):
        return None
    (left, top), (width, height) = corner.round().astype(int), extent.round().astype(int)
    if width < 1 or height < 1:
        return None
    if width * height > max(image.shape[0] * image.shape[1], LARGEST_COPY * size[0] * size[1]):
        return None  # a small part, much enlarged: do not enlarge all of the image for it
    canvas = blank(size, fill)
    bottom, right = min(top + height, size[0]), min(left + width, size[1])
    if bottom > max(top, 0) and right > max(left, 0):
        copy = resize(image, (int(height), int(width)))
        canvas[max(top, 0) : bottom, max(left, 0) : right] = copy[
            max(-top, 0) : bottom - top, max(-left, 0) : right - left
        ]
    return canvas


def stack(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Equal-sized RGB images (H, W, 3) as one uint8 tensor (B, 3, H, W)."""
    shapes = {image.shape for image in images}
    assert len(shapes) == 1, f"images of {sorted(shapes)} in one batch; expected one size"
    batch = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for planes, image in zip(batch, images, strict=True):
        cv2.split(image, list(planes))  # three times as fast as copying a transposed array
    return torch.from_numpy(batch)


def to_unit(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 images on their device as numbers in 0..1, as the networks take them."""
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)


def one_thread() -> None:
    """Keep OpenCV to the calling thread; for worker processes, which are many already."""
    cv2.setNumThreads(0)
