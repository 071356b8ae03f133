"""Two players among spectators, as in the published squash demo: whoever is large plays, and who is nearer stays.

Simpler than utils/inference/track.py, which knows neither that there are two nor that the rest does not matter.
"""

from dataclasses import dataclass, replace

import numpy as np

from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.look import Look, mixed, show

ORANGE, BLUE = 1, 2  # the ids of the players; in the first frame orange is farther left
LEAST_DIAGONAL = 450 / 1080  # of a player's box, in image heights
COLOURS = {ORANGE: (245, 140, 66), BLUE: (66, 140, 245)}  # RGB
GREY = (200, 200, 200)
TINT, OPACITY, CROWD_OPACITY = 0.15, 0.7, 0.5


@dataclass(frozen=True)
class Scene:
    """The people of a frame: players with their ids, orange first, and all others who are too small to play."""

    players: Poses
    crowd: Poses


class Players:
    """Tells two players apart by the mean distance of their keypoints from frame to frame."""

    def __init__(self, least_diagonal: float = LEAST_DIAGONAL) -> None:
        self.least_diagonal = least_diagonal
        self.last: np.ndarray | None = None  # (2, K, 2) keypoints of orange and blue when they were last seen

    def update(self, poses: Poses, height: int) -> Scene:
        """Whoever of the next frame plays. Before two have been seen together nobody does."""
        found = poses.numpy()
        sides = found.boxes[:, 2:] - found.boxes[:, :2]  # (N, 2)
        large = np.hypot(sides[:, 0], sides[:, 1]) >= self.least_diagonal * height
        candidates = found[np.flatnonzero(large)[:2]]  # the best scores come first
        crowd = found[~large]
        order = self._order(candidates)
        players = candidates[[index for index in order if index is not None]]
        ids = [player for player, index in zip((ORANGE, BLUE), order, strict=True) if index is not None]
        if self.last is not None:
            last = self.last.copy()
            last[np.array(ids, np.int64) - 1] = players.keypoints
            self.last = last
        return Scene(replace(players, ids=np.array(ids, np.int64)), crowd)

    def _order(self, candidates: Poses) -> tuple[int | None, int | None]:
        """Which candidate is orange and which is blue."""
        if self.last is None:
            if len(candidates) < 2:
                return None, None
            first, second = np.argsort(candidates.boxes[:, 0], kind="stable").tolist()
            self.last = candidates.keypoints[[first, second]]
            return first, second
        if not len(candidates):
            return None, None
        distances = np.linalg.norm(self.last - candidates.keypoints[0], axis=-1).mean(-1)  # (2)
        other = 1 if len(candidates) > 1 else None
        return (0, other) if distances[0] <= distances[1] else (other, 0)


class Court:
    """Frames with orange and blue players in tinted boxes, and a grey crowd."""

    def __init__(
        self, schema: KeypointSchema, *, least_diagonal: float = LEAST_DIAGONAL, threshold: float = 0.0
    ) -> None:
        self.schema = schema
        self.players = Players(least_diagonal)
        self.crowd_look = Look(colour=GREY, threshold=threshold, opacity=CROWD_OPACITY)
        self.looks = {
            player: Look(dots=True, face=True, colour=colour, threshold=threshold, opacity=OPACITY)
            for player, colour in COLOURS.items()
        }

    def draw(self, image: np.ndarray, poses: Poses) -> np.ndarray:
        """The next frame with everybody on it."""
        scene = self.players.update(poses, image.shape[0])
        drawn = show(image, scene.crowd, self.schema, self.crowd_look)
        for index, player in enumerate(scene.players.ids.tolist()):
            one = scene.players[index]
            left, top, right, bottom = one.boxes[0].round().astype(int).clip(0).tolist()
            box = drawn[top:bottom, left:right]
            box[:] = mixed(box, np.full_like(box, COLOURS[player]), TINT)
            drawn = show(drawn, one, self.schema, self.looks[player])
        return drawn
