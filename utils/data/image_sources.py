"""Where images come from: annotated files, or people that are drawn as they are asked for."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from utils.core import images
from utils.core.geometry import Matrix, identity, scaling
from utils.core.poses import Origin, untouched
from utils.data.image_cache import ImageCache
from utils.data.reading.headers import is_cut_short
from utils.data.records import Records
from utils.data.sample import PERSON_FIELDS, People, Pixels, Size


class Damaged(ValueError):
    """An image that cannot be used; `index` says which one of its source."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


class Source(Pixels, Protocol):
    """A source for a whole training: one that draws can show other images in every epoch."""

    def at(self, epoch: int) -> Pixels: ...


@dataclass(frozen=True)
class Files:
    """Annotated image files. A large photograph that ends up small is decoded at half, a quarter or an eighth."""

    records: Records
    cache: ImageCache | None = None

    def __len__(self) -> int:
        return len(self.records)

    def at(self, epoch: int) -> "Files":
        return self

    def size(self, index: int) -> Size:
        return self.records.size(index)

    def people(self, index: int) -> People:
        persons = self.records.persons(index)
        return People(*(getattr(persons, name) for name in PERSON_FIELDS))

    def origin(self, index: int) -> Origin:
        return untouched(self.records.image_id(index), self.records.path(index), self.records.size(index))

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        """Its pixels and the matrix that leads to them; `Damaged` when it cannot be read."""
        try:
            return self._decoded(index, scale) if self.cache is None else self._cached(index, self.cache)
        except ValueError as error:
            raise Damaged(index, str(error)) from None

    def _decoded(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        path = self.records.path(index)
        data = images.read_bytes(path)
        # Nearly every whole JPEG ends with these two bytes; only of the others is it worth looking for the end.
        if data[-2:].tobytes() != b"\xff\xd9" and is_cut_short(data.tobytes()):
            raise ValueError(f"{path}: the end of the file is missing after {len(data)} bytes; fetch it again")
        return images.decode_reduced(data, path, self.records.size(index), scale)

    def _cached(self, index: int, cache: ImageCache) -> tuple[np.ndarray, Matrix]:
        factor = cache.factor(index)
        image = cache.find(index)
        if image is None:
            image, reduction = self._decoded(index, 1 / factor)
            image = images.reduced(image, round(factor * reduction[0, 0]))
            cache.keep(index, image)
        return image, scaling(1 / factor, 1 / factor)


class Picture(Protocol):
    """A drawn image and who is in it; `classes` may be missing where there is only one."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    boxes: np.ndarray  # (N, 4)
    keypoints: np.ndarray  # (N, K, 2)
    visibility: np.ndarray  # (N, K)
    areas: np.ndarray  # (N)


class Drawing(Protocol):
    """Anything that draws people: how many there are to an epoch, and the picture with a number, which has no end."""

    def __len__(self) -> int: ...

    def draw(self, number: int) -> Picture: ...


def _people_of(picture: Picture) -> People:
    return People(
        np.asarray(picture.boxes, np.float32),
        np.asarray(picture.keypoints, np.float32),
        np.asarray(picture.visibility, np.uint8),
        np.asarray(picture.areas, np.float32),
        np.asarray(getattr(picture, "classes", np.zeros(len(picture.boxes))), np.int64),
    )


class Drawn:
    """Drawn people as a source: in every epoch others, each drawn once per sample."""

    REMEMBERED = 12  # pictures: a mosaic asks for the size, the people and the pixels of nine

    def __init__(self, drawing: Drawing, first: int = 0) -> None:
        self.drawing = drawing
        self.first = first
        self._recent: OrderedDict[int, tuple[np.ndarray, People]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.drawing)

    def at(self, epoch: int) -> "Drawn":
        return Drawn(self.drawing, epoch * len(self))

    def _picture(self, index: int) -> tuple[np.ndarray, People]:
        number = self.first + index
        if number not in self._recent:
            picture = self.drawing.draw(number)
            self._recent[number] = picture.image, _people_of(picture)
            if len(self._recent) > self.REMEMBERED:
                self._recent.popitem(last=False)
        return self._recent[number]

    def size(self, index: int) -> Size:
        return self._picture(index)[0].shape[:2]

    def people(self, index: int) -> People:
        return self._picture(index)[1]

    def origin(self, index: int) -> Origin:
        number = self.first + index
        return untouched(number, f"drawn/{number}", self.size(index))

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        return self._picture(index)[0], identity()


class Recent:
    """A source that remembers the last image, for crops of several people in the same one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._last: tuple[int, tuple[np.ndarray, Matrix]] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def at(self, epoch: int) -> "Recent":
        return self

    def size(self, index: int) -> Size:
        return self.source.size(index)

    def people(self, index: int) -> People:
        return self.source.people(index)

    def origin(self, index: int) -> Origin:
        return self.source.origin(index)

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        """Always the full image: several crops, and evaluation above all, want every pixel."""
        if self._last is None or self._last[0] != index:
            self._last = index, self.source.image(index, 1.0)
        return self._last[1]
