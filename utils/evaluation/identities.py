"""Whether ids stay with their people: IDF1, and how often somebody's id changes.

IDF1 as Ristani et al. define it (ECCV workshops 2016): every true identity gets at most one id for the whole video, so
that as many sights as possible agree; the score is the harmonic mean of the shares of true and of reported sights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from utils.core.assignment import assign
from utils.core.oks import pairwise_oks
from utils.core.poses import Poses

SAME = 0.5  # OKS from which a reported person is the true one


@dataclass(frozen=True)
class Sights:
    """Who is truly to be seen in one frame."""

    ids: np.ndarray  # (N)
    keypoints: np.ndarray  # (N, K, 2)
    visibility: np.ndarray  # (N, K), 0 where not labelled
    areas: np.ndarray  # (N)


@dataclass(frozen=True)
class Identities:
    """What a tracker's ids are worth."""

    idf1: float
    switches: int  # frames in which somebody carries another id than when last reported
    true: int  # sights of people
    reported: int
    agreed: int  # sights with the right id

    @classmethod
    def total(cls, parts: Sequence["Identities"]) -> "Identities":
        """Several videos together."""
        names = ("switches", "true", "reported", "agreed")
        return cls.counted(**{name: sum(getattr(part, name) for part in parts) for name in names})

    @classmethod
    def counted(cls, *, switches: int, true: int, reported: int, agreed: int) -> "Identities":
        return cls(2 * agreed / max(true + reported, 1), switches, true, reported, agreed)


def judge(truth: Sequence[Sights], tracked: Sequence[Poses], sigmas: Sequence[float]) -> Identities:
    """Compare the people of every frame of one video with those a tracker reported."""
    if len(truth) != len(tracked):
        raise ValueError(f"{len(truth)} frames of truth and {len(tracked)} tracked ones; expected as many")
    together: dict[tuple[int, int], int] = {}  # (true id, reported id) -> frames
    last: dict[int, int] = {}  # true id -> the id that it carried last
    switches = 0
    for sights, poses in zip(truth, tracked, strict=True):
        alike = _alike(sights, poses, sigmas)  # (N, M)
        for i, j in zip(*np.nonzero(alike >= SAME), strict=True):
            pair = int(sights.ids[i]), int(poses.ids[j])
            together[pair] = together.get(pair, 0) + 1
        for i, j in _carried(sights, poses, alike, last):
            true, reported = int(sights.ids[i]), int(poses.ids[j])
            switches += last.get(true, reported) != reported
            last[true] = reported
    return Identities.counted(
        switches=switches,
        true=sum(len(sights.ids) for sights in truth),
        reported=sum(len(poses) for poses in tracked),
        agreed=_agreed(together),
    )


def _alike(sights: Sights, poses: Poses, sigmas: Sequence[float]) -> np.ndarray:
    """OKS of every true person with every reported one: (N, M)."""
    reported, true, labelled, areas = (
        torch.from_numpy(np.asarray(values, np.float64))
        for values in (poses.keypoints, sights.keypoints, sights.visibility > 0, sights.areas)
    )
    return pairwise_oks(reported, true, labelled, areas, torch.tensor(sigmas, dtype=torch.float64)).T.numpy()


def _carried(sights: Sights, poses: Poses, alike: np.ndarray, last: dict[int, int]) -> list[tuple[int, int]]:
    """Which reported person is which true one; whoever may still carry the same id does (CLEAR MOT)."""
    same = np.array([[last.get(int(i)) == int(j) for j in poses.ids] for i in sights.ids], bool).reshape(alike.shape)
    rows, columns = assign(np.where(alike >= SAME, alike + 10.0 * same, 0.0))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _agreed(together: dict[tuple[int, int], int]) -> int:
    """The most sights that agree when every true id has one reported id at most, and the other way round."""
    true, reported = (sorted({pair[side] for pair in together}) for side in (0, 1))
    frames = np.zeros((len(true), len(reported)))
    for (i, j), count in together.items():
        frames[true.index(i), reported.index(j)] = count
    rows, columns = assign(frames)
    return int(frames[rows, columns].sum())
