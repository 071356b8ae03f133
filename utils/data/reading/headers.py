"""How large an image is, from the first bytes of its file; nothing is decoded where the format says it up front."""

import struct
from pathlib import Path
from typing import BinaryIO

from utils.core import images

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
LARGEST_SIDE = 1 << 20  # pixels; OpenCV decodes no more
EXIF_ORIENTATION = 0x0112
LIES_ON_ITS_SIDE = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange height and width
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's start of frame, in all its kinds
BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})  # JPEG markers that no length follows


def upright_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as `images.read` would return it. `ValueError` says why a file cannot be read."""
    try:
        with Path(path).open("rb") as file:
            size = _from_header(file)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    believable = size and min(size) > 0 and max(size) <= LARGEST_SIDE
    return size if believable else images.read(path).shape[:2]


def is_cut_short(data: bytes) -> bool:
    """True for a JPEG or PNG whose end is missing; decoders fill the rest with grey and say nothing."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"\xff\xd8"):
        # A thumbnail in the header has an end of its own: the picture's must come after its scan began.
        scan = _scan_start(data)
        return scan < 0 or data.find(b"\xff\xd9", scan) < 0
    return False


def _from_header(file: BinaryIO) -> tuple[int, int] | None:
    start = file.read(32)
    try:
        if start.startswith(b"\xff\xd8"):
            file.seek(2)
            return _jpeg(file)
        if start.startswith(b"\x89PNG\r\n\x1a\n") and start[12:16] == b"IHDR":
            return _png(file)
        if start.startswith(b"BM"):
            width, height = struct.unpack("<ii", start[18:26])
            return abs(height), width
        if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
            return _webp(start)
    except (struct.error, IndexError):
        return None  # cut off inside the header: the decoder will say so
    return None


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """Walk over the segments up to the frame's header; EXIF comes before it."""
    sideways = False
    while head := file.read(2):
        if head[0] != 0xFF:
            return None
        marker = head[1]
        while marker == 0xFF:  # fill bytes
            marker = file.read(1)[0]
        if marker in BARE_MARKERS:
            continue
        length = struct.unpack(">H", file.read(2))[0] - 2
        if marker in FRAME_MARKERS:
            height, width = struct.unpack(">xHH", file.read(5))
            return (width, height) if sideways else (height, width)
        if marker == 0xE1:
            segment = file.read(length)
            if segment.startswith(b"Exif\0\0"):
                sideways = _orientation(segment[6:]) in LIES_ON_ITS_SIDE
        else:
            file.seek(length, 1)
    return None


def _png(file: BinaryIO) -> tuple[int, int]:
    """IHDR comes first; an eXIf chunk may follow anywhere before the end."""
    file.seek(8)
    size, sideways = (0, 0), False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", file.read(8))
            size = height, width
            file.seek(length - 8 + 4, 1)
        elif kind == b"eXIf":
            sideways = _orientation(file.read(length)) in LIES_ON_ITS_SIDE
            break
        elif kind in (b"IDAT", b"IEND"):
            break  # what comes after the pixels is not looked at
        else:
            file.seek(length + 4, 1)
    return size[::-1] if sideways else size


def _webp(start: bytes) -> tuple[int, int] | None:
    """The two bitstreams; the extended format may carry EXIF at its end and is left to the decoder."""
    if start[12:16] == b"VP8 ":
        width, height = struct.unpack("<HH", start[26:30])
        return height & 0x3FFF, width & 0x3FFF
    if start[12:16] == b"VP8L":
        bits = struct.unpack("<I", start[21:25])[0]
        return ((bits >> 14) & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    return None


def _orientation(tiff: bytes) -> int:
    """The orientation in an EXIF block; 1, upright, where it says nothing."""
    try:
        order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
        if not order:
            return 1
        first = struct.unpack(order + "I", tiff[4:8])[0]
        for entry in range(struct.unpack(order + "H", tiff[first : first + 2])[0]):
            tag, _, _, value = struct.unpack(order + "HHIH", tiff[first + 2 + 12 * entry :][:10])
            if tag == EXIF_ORIENTATION:
                return value
    except struct.error:  # a damaged block: decoders ignore it too
        return 1
    return 1


def _scan_start(data: bytes) -> int:
    """Where a JPEG's compressed pixels begin; -1 when they never do."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in BARE_MARKERS:
            position += 2
        elif marker == 0xDA:
            return position
        else:
            position += 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
    return -1
