"""One id per person from frame to frame, by where they should be now and how they hold themselves.

Association in rounds as in ByteTrack: whom the network is sure of first, then weaker finds, which may only continue
what is known. Whoever is hidden is expected where their movement leads, ever less exactly, and gets the old id back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from utils.core.assignment import assign
from utils.core.geometry import pairwise_iou
from utils.core.oks import oks
from utils.core.poses import Poses, person_areas
from utils.core.schema import KeypointSchema
from utils.inference.motion import Motion

SEEN = 0.3  # keypoints are compared from this score on, relative to the best of their person
NO_ID = -1  # of somebody who was seen too seldom for one
CORNERS = 2  # of the box; they move like keypoints


@dataclass(frozen=True)
class TrackSettings:
    """What counts as the same person, and for how long."""

    sure: float = 0.5  # people with at least this score are matched first, and only they can be new
    weak: float = 0.1  # people below this score are ignored
    similarity: float = 0.2  # the least that two sights of one person have in common, 0..1
    similarity_weak: float = 0.4  # the same where the second one is weak
    keypoint_share: float = 0.9  # of the similarity; the rest is the overlap of boxes, which is all there is at 0
    confirm: int = 2  # frames in a row until somebody new gets an id; in the first frame everybody does
    patience: int = 30  # frames that somebody may be hidden; who comes back later gets a new id
    bridge: int = 1  # frames for which somebody who was surely seen until now is reported where they should be

    def __post_init__(self) -> None:
        for name in ("sure", "weak", "similarity", "similarity_weak", "keypoint_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; expected a number between 0 and 1")
        for name, least in (("confirm", 1), ("patience", 0), ("bridge", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: found {getattr(self, name)}; expected at least {least} frames")


@dataclass(frozen=True)
class _Tracks:
    """The people who are known, one row each."""

    motion: Motion
    ids: np.ndarray  # (T)
    classes: np.ndarray  # (T)
    scores: np.ndarray  # (T) when last seen
    keypoint_scores: np.ndarray  # (T, K) when last seen
    sights: np.ndarray  # (T) in how many frames they were seen
    hidden: np.ndarray  # (T) frames since then

    @classmethod
    def starting(cls, found: Poses) -> "_Tracks":
        once = np.ones(len(found), np.int64)
        last = (found.classes, found.scores, found.keypoint_scores)
        return cls(Motion.starting(*_measured(found)), NO_ID * once, *last, once, 0 * once)

    @classmethod
    def joined(cls, parts: Sequence["_Tracks"]) -> "_Tracks":
        rest = ([getattr(part, field.name) for part in parts] for field in fields(cls)[1:])
        return cls(Motion.joined([part.motion for part in parts]), *map(np.concatenate, rest))

    def __getitem__(self, chosen: np.ndarray) -> "_Tracks":
        return _Tracks(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.ids)

    def predicted(self) -> "_Tracks":
        return replace(self, motion=self.motion.predicted(), hidden=self.hidden + 1)

    def seen(self, found: Poses) -> "_Tracks":
        """After each of them was found."""
        motion = self.motion.corrected(*_measured(found))
        last = {"scores": found.scores, "keypoint_scores": found.keypoint_scores}
        return replace(self, motion=motion, sights=self.sights + 1, hidden=0 * self.hidden, **last)

    def expected(self) -> Poses:
        """Everybody where they should be, half as sure with every frame that they are not seen."""
        boxes, keypoints = self.motion.places[:, -CORNERS:], self.motion.places[:, :-CORNERS]
        faded = 0.5**self.hidden
        return Poses(
            boxes=boxes.reshape(-1, 4),
            scores=self.scores * faded,
            classes=self.classes,
            keypoints=keypoints,
            keypoint_scores=self.keypoint_scores * faded[:, None],
            ids=self.ids,
        )


class Tracker:
    """Gives the people of a video their ids: `tracker.update(poses)` once for every frame, also for an empty one."""

    def __init__(self, schema: KeypointSchema, settings: TrackSettings | None = None) -> None:
        self.settings = settings or TrackSettings()
        self.sigmas = torch.tensor(schema.sigmas, dtype=torch.float64)
        self.frames = 0
        self.next_id = 1
        self.tracks: _Tracks | None = None  # until the first frame

    def update(self, poses: Poses) -> Poses:
        """Those people of the next frame who have an id, with it, best first; then who is only expected."""
        found = poses.numpy()
        self.frames += 1
        tracks = _Tracks.starting(found[:0]) if self.tracks is None else self.tracks.predicted()
        rows, people = self._paired(tracks, found)
        fresh = np.setdiff1d(np.flatnonzero(found.scores >= self.settings.sure), people)
        seen = self._confirmed(_Tracks.joined((tracks[rows].seen(found[people]), _Tracks.starting(found[fresh]))))
        waited_for = (tracks.ids != NO_ID) & (tracks.hidden <= self.settings.patience)
        waited_for[rows] = False
        hidden = tracks[waited_for]
        self.tracks = _Tracks.joined((seen, hidden))
        everybody, known = np.concatenate((people, fresh)), seen.ids != NO_ID
        order = np.argsort(everybody[known])
        reported = replace(found[everybody[known][order]], ids=seen.ids[known][order])
        # Who walks behind something is seen ever less before; who was surely seen a moment ago was missed.
        missed = (hidden.hidden <= self.settings.bridge) & (hidden.scores >= self.settings.sure)
        return _together(reported, hidden[missed].expected()) if missed.any() else reported

    def _paired(self, tracks: _Tracks, found: Poses) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the tracks and indices of the people who go together."""
        settings, scores = self.settings, found.scores
        known, recent = tracks.ids != NO_ID, tracks.hidden == 1
        sure, weak = scores >= settings.sure, (scores >= settings.weak) & (scores < settings.sure)
        likeness = self._likeness(tracks, found)  # (T, N)
        rows, people = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for candidates, finds, least in (
            (known, sure, settings.similarity),
            (known & recent, weak, settings.similarity_weak),
            (~known, sure, settings.similarity),
        ):
            free_rows, free_people = (
                np.setdiff1d(np.flatnonzero(mask), taken) for mask, taken in ((candidates, rows), (finds, people))
            )
            # To leave two people alone costs as much as the least similarity that is accepted.
            of_rows, of_people = assign(likeness[np.ix_(free_rows, free_people)] - least)
            rows, people = np.append(rows, free_rows[of_rows]), np.append(people, free_people[of_people])
        return rows, people

    def _likeness(self, tracks: _Tracks, found: Poses) -> np.ndarray:
        """How much each track and each person found have in common: (T, N), 0..1; of another class, nothing."""
        expected = torch.from_numpy(tracks.motion.places)  # (T, P, 2)
        boxes, share = torch.from_numpy(found.boxes.astype(np.float64)), self.settings.keypoint_share
        alike = pairwise_iou(expected[:, -CORNERS:].flatten(1), boxes)  # (T, N)
        if len(self.sigmas) and share:
            alike = share * self._pose_likeness(tracks, expected[:, :-CORNERS], found, boxes) + (1 - share) * alike
        return np.where(tracks.classes[:, None] == found.classes, alike.numpy(), 0.0)

    def _pose_likeness(
        self, tracks: _Tracks, expected: torch.Tensor, found: Poses, boxes: torch.Tensor
    ) -> torch.Tensor:
        """How alike the poses are, laid over each other, times how likely it is to have come that far: (T, N), 0..1.

        Where somebody is becomes uncertain while they are hidden; how tall they are does not.
        """
        keypoints = torch.from_numpy(found.keypoints.astype(np.float64))
        seen = torch.from_numpy(trust(found) >= SEEN).double()  # (N, K)
        apart = (keypoints - expected[:, None]) * seen[..., None]  # (T, N, K, 2)
        shift = apart.sum(2) / seen.sum(1)[:, None].clamp(min=1)  # (T, N, 2)
        areas = person_areas(boxes)  # (N)
        shape = oks(expected[:, None] + shift[:, :, None], keypoints, seen, areas, self.sigmas)  # (T, N)
        unsure = torch.from_numpy(tracks.motion.variance.min(1))[:, None]  # (T, 1), of the best known point
        tolerance = (2 * self.sigmas).square().mean() * areas + unsure  # (T, N)
        return shape * torch.exp(-shift.square().sum(-1) / (2 * tolerance))

    def _confirmed(self, tracks: _Tracks) -> _Tracks:
        """The same with an id for everybody who was seen often enough."""
        often = tracks.sights >= (1 if self.frames == 1 else self.settings.confirm)
        new = np.flatnonzero(often & (tracks.ids == NO_ID))
        ids = tracks.ids.copy()
        ids[new] = self.next_id + np.arange(len(new))
        self.next_id += len(new)
        return replace(tracks, ids=ids)


def _together(found: Poses, expected: Poses) -> Poses:
    if found.fused is not None:  # nobody's keypoints were replaced where nobody was found
        expected = replace(expected, fused=np.zeros(expected.keypoint_scores.shape, found.fused.dtype))
    values = ((getattr(found, field.name), getattr(expected, field.name)) for field in fields(Poses))
    return Poses(*(None if here is None else np.concatenate((here, there)) for here, there in values))


def _measured(found: Poses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (N, P, 2) of the keypoints and the box's corners, sizes (N), and trust (N, P)."""
    corners = found.boxes.reshape(len(found), CORNERS, 2)
    places = np.concatenate((found.keypoints, corners), 1).astype(np.float64)
    sizes = np.sqrt(np.maximum(person_areas(found.boxes.astype(np.float64)), 1.0))
    return places, sizes, np.concatenate((trust(found), np.ones((len(found), CORNERS))), 1)


def trust(found: Poses) -> np.ndarray:
    """Keypoint scores beside the best of their person (N, K): families count them differently, some not at all."""
    best = found.keypoint_scores.max(1, keepdims=True, initial=0.0)
    return np.where(best > 0, found.keypoint_scores / np.maximum(best, 1e-9), 1.0)
