"""Which kinds of scenes are drawn: what figure, how many of them, and how close to one another.

Imports neither numpy nor OpenCV: `python -m utils.data.people --help` answers at once.
"""

from dataclasses import dataclass
from typing import Literal

from utils.core.config import did_you_mean

SMALLEST_SIDE = 32  # pixels of an image
Figure = Literal["person", "corners", "hand"]
Difficulty = Literal["easy", "moderate", "hard"]
FIGURES: tuple[Figure, ...] = ("person", "corners", "hand")


@dataclass(frozen=True)
class SceneSettings:
    """What kind of scenes to draw."""

    size: tuple[int, int] = (320, 320)  # (height, width)
    figure: Figure = "person"
    difficulty: Difficulty = "moderate"

    def __post_init__(self) -> None:
        for what, known in (("figure", FIGURES), ("difficulty", CROWDINGS)):
            found = getattr(self, what)
            if found not in known:
                raise ValueError(f"no {what} '{found}' is drawn ({', '.join(known)}){did_you_mean(found, known)}")
        if min(self.size) < SMALLEST_SIDE:
            raise ValueError(f"size: found {self.size}; expected at least {SMALLEST_SIDE} pixels each way")


@dataclass(frozen=True)
class Crowding:
    """How many figures of which size share an image, and how much of one another they may cover."""

    count: tuple[int, int]
    height: tuple[float, float]  # of a person, as a fraction of the image's height
    things: tuple[int, int]
    overlap: float  # largest share of a figure's box that another box may cover when it is placed
    together: float  # chance of being put close to somebody
    margin: float  # of the image's width that stays free of figures' middles on either side


CROWDINGS: dict[str, Crowding] = {
    "easy": Crowding((1, 2), (0.70, 1.15), (0, 1), overlap=0.15, together=0.0, margin=0.15),
    "moderate": Crowding((2, 5), (0.32, 0.85), (0, 3), overlap=0.45, together=0.15, margin=0.03),
    "hard": Crowding((8, 18), (0.22, 0.75), (2, 6), overlap=1.0, together=0.75, margin=0.0),
}
