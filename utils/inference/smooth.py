"""Keypoints of tracked people without their tremble: the 1-euro filter, one for every id."""

from dataclasses import dataclass, replace

import numpy as np

from utils.core.poses import Poses, person_areas
from utils.inference.track import trust


@dataclass(frozen=True)
class OneEuroSettings:
    """Less cut-off is calmer; more beta follows quick movements sooner."""

    cutoff: float = 1.5  # Hz, of a keypoint at rest
    beta: float = 3.0  # Hz for each person size per second
    speed_cutoff: float = 1.0  # Hz, of the speed
    patience: int = 30  # frames after which somebody who was not seen is forgotten

    def __post_init__(self) -> None:
        if self.cutoff <= 0 or self.beta < 0 or self.speed_cutoff <= 0:
            raise ValueError(
                f"cutoff {self.cutoff}, beta {self.beta}, speed_cutoff {self.speed_cutoff} found; "
                "expected frequencies over 0, and a beta of at least 0"
            )


@dataclass(frozen=True)
class _Memory:
    keypoints: np.ndarray  # (K, 2), as they were handed out
    speeds: np.ndarray  # (K, 2) person sizes per second
    frame: int


class OneEuro:
    """Casiez, Roussel and Vogel's filter (CHI 2012): calm where a keypoint rests, quick where it moves.

    A keypoint that the network is unsure of counts less: it moves the smoothed one by its score, relative to the best
    of its person.
    """

    def __init__(self, rate: float = 30.0, settings: OneEuroSettings | None = None) -> None:
        if rate <= 0:
            raise ValueError(f"rate: found {rate}; expected frames per second")
        self.rate = rate
        self.settings = settings or OneEuroSettings()
        self.memories: dict[int, _Memory] = {}
        self.frame = 0

    def update(self, poses: Poses) -> Poses:
        """The people of the next frame with calmer keypoints; they need the ids of a tracker."""
        if poses.ids is None:
            raise ValueError("smoothing: people without ids found; track them first")
        self.frame += 1
        found = poses.numpy()
        keypoints, believed = found.keypoints.copy(), trust(found)
        sizes = np.sqrt(np.maximum(person_areas(found.boxes), 1.0))
        for i, person in enumerate(found.ids.tolist()):
            memory = self._followed(self.memories.get(person), found.keypoints[i], believed[i], float(sizes[i]))
            self.memories[person] = memory
            keypoints[i] = memory.keypoints
        last = self.frame - self.settings.patience
        self.memories = {person: memory for person, memory in self.memories.items() if memory.frame >= last}
        return replace(found, keypoints=keypoints)

    def _followed(self, memory: _Memory | None, keypoints: np.ndarray, trusted: np.ndarray, size: float) -> _Memory:
        if memory is None:
            return _Memory(keypoints, np.zeros_like(keypoints), self.frame)
        seconds = (self.frame - memory.frame) / self.rate
        moved = (keypoints - memory.keypoints) / (size * seconds)  # (K, 2)
        share = trusted * _share(np.array(self.settings.speed_cutoff), seconds)  # (K)
        speeds = memory.speeds + share[:, None] * (moved - memory.speeds)
        cutoff = self.settings.cutoff + self.settings.beta * np.linalg.norm(speeds, axis=1)  # (K)
        share = trusted * _share(cutoff, seconds)
        return _Memory(memory.keypoints + share[:, None] * (keypoints - memory.keypoints), speeds, self.frame)


def _share(cutoff: np.ndarray, seconds: float) -> np.ndarray:
    """How much of a new value passes an exponential filter with this cut-off frequency."""
    turn = 2 * np.pi * cutoff * seconds
    return turn / (turn + 1)
