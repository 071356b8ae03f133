"""Pictures for the tests: soft bright spots on grey, one at every keypoint, and the records that belong to them."""

from pathlib import Path

import numpy as np

from utils.core import images
from utils.core.geometry import Matrix, identity
from utils.core.poses import Origin, untouched
from utils.core.schema import KeypointSchema
from utils.data.records import Packer, Records
from utils.data.sample import People

THREE = KeypointSchema(("nose", "left_hand", "right_hand"), swap=(0, 2, 1), sigmas=(0.05,) * 3)
SPOT = 3.0  # standard deviation of a spot, pixels


def people(*points: list[tuple[float, float, int]], box: tuple[float, ...] | None = None) -> People:
    """Persons given as lists of (x, y, visibility); the box is their extent with 15 pixels of room."""
    values = np.array(points, np.float32)  # (N, K, 3)
    low, high = values[..., :2].min(1) - 15, values[..., :2].max(1) + 15
    boxes = np.concatenate((low, high), 1) if box is None else np.array([box] * len(points), np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return People(
        boxes.astype(np.float32),
        np.ascontiguousarray(values[..., :2]),
        values[..., 2].astype(np.uint8),
        areas.astype(np.float32),
        np.zeros(len(points), np.int64),
    )


def spotted(size: tuple[int, int], persons: People) -> np.ndarray:
    """Grey, with a soft bright spot whose middle is exactly at every visible keypoint."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    picture = np.full(size, 114.0)
    for point in persons.keypoints[persons.visibility > 0]:
        picture += 130 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * SPOT**2))
    return np.repeat(picture.clip(0, 255).round().astype(np.uint8)[..., None], 3, 2)


def middle_of_spot(image: np.ndarray, near: np.ndarray, reach: int = 9) -> np.ndarray:
    """The centre of brightness around a point: (x, y)."""
    column, row = (int(value) for value in near)
    top, left = max(row - reach, 0), max(column - reach, 0)
    part = image[top : row + reach + 1, left : column + reach + 1, 0].astype(float) - 114
    part = np.where(part > 4, part, 0)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    return np.array([(x * part).sum() / part.sum() + left, (y * part).sum() / part.sum() + top])


class InMemory:
    """A source of pictures that are already there."""

    def __init__(self, *pictures: tuple[np.ndarray, People]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def at(self, epoch: int) -> "InMemory":
        return self

    def size(self, index: int) -> tuple[int, int]:
        return self.pictures[index][0].shape[:2]

    def people(self, index: int) -> People:
        return self.pictures[index][1]

    def origin(self, index: int) -> Origin:
        return untouched(index, f"{index}.png", self.size(index))

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        return self.pictures[index][0], identity()


def crowd_of_spots(rng: np.random.Generator, size: tuple[int, int], count: int = 2) -> tuple[np.ndarray, People]:
    """A picture with spots that are far enough apart to be told from one another."""
    cells = [(x, y) for y in range(25, size[0] - 24, 42) for x in range(25, size[1] - 24, 42)]
    chosen = rng.permutation(len(cells))[: 3 * min(count, len(cells) // 3)]
    points = np.array([cells[i] for i in chosen]) + rng.uniform(-4, 4, (len(chosen), 2))
    persons = people(*([(x, y, 2) for x, y in group] for group in points.reshape(-1, 3, 2)))
    return spotted(size, persons), persons


def on_disk(folder: Path, *pictures: tuple[np.ndarray, People], suffix: str = ".png") -> Records:
    """The pictures as files, and the records that describe them."""
    packer = Packer(pictures[0][1].keypoints.shape[1])
    for number, (image, persons) in enumerate(pictures):
        name = f"{number:03d}{suffix}"
        images.write(folder / name, image)
        packer.image(name, image.shape[:2], 100 + number)
        for i in range(len(persons)):
            points = np.concatenate((persons.keypoints[i], persons.visibility[i][:, None]), 1)
            packer.person(
                persons.boxes[i].tolist(),
                points.ravel().tolist(),
                area=float(persons.areas[i]),
                kind=int(persons.classes[i]),
                annotation_id=1000 * number + i,
            )
    return packer.records(folder)
