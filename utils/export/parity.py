"""Does a file give the keypoints that the model gives? Measured on pictures, matched person by person."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from utils.core.contract import PoseModel
from utils.core.geometry import pairwise_iou
from utils.core.images import to_unit
from utils.core.poses import Poses
from utils.core.tta import View

SAME = 0.5  # IoU from which two boxes can be one person's
UNDECIDED = 0.02  # share of people who may be missing on one side: the last digit decided at a threshold


@dataclass(frozen=True)
class Bounds:
    """What is still the same."""

    pixels: float = 0.05  # of the input
    score: float = 1e-4


HALF = Bounds(pixels=2.0, score=0.02)  # eleven bits of mantissa, and coordinates in the hundreds


@dataclass
class Parity:
    """Differences between a model and its file, over all pictures so far."""

    bounds: Bounds
    pictures: int = 0
    people: int = 0  # that the model finds
    matched: int = 0
    alone: int = 0  # found by one side only
    pixels: float = 0.0  # largest difference of a box side or a keypoint
    score: float = 0.0  # largest difference of a person's or a keypoint's score

    def add(self, ours: Poses, theirs: Poses) -> None:
        """One more picture: what the model found, what the file found."""
        self.pictures += 1
        self.people += len(ours)
        first, second = matches(ours, theirs)
        self.matched += len(first)
        self.alone += len(ours) + len(theirs) - 2 * len(first)
        for name, what in (("boxes", "pixels"), ("keypoints", "pixels"), ("scores", "score"),
                           ("keypoint_scores", "score")):  # fmt: skip
            difference = (getattr(ours, name)[first] - getattr(theirs, name)[second]).abs()
            if difference.numel():
                setattr(self, what, max(getattr(self, what), float(difference.max())))

    @property
    def holds(self) -> bool:
        few = self.alone <= UNDECIDED * max(self.people, 1)
        return few and self.pixels <= self.bounds.pixels and self.score <= self.bounds.score

    def __str__(self) -> str:
        if not self.people and not self.alone:
            return f"nobody was found on {self.pictures} pictures: nothing could be compared"
        return (
            f"{self.pictures} pictures, {self.matched} of {self.people} people matched, {self.alone} on one side only; "
            f"largest difference {self.pixels:.4f} px (bound {self.bounds.pixels:g}), "
            f"score {self.score:.1e} (bound {self.bounds.score:g})"
        )


def matches(ours: Poses, theirs: Poses) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of people who are each other's nearest, by boxes and keypoints together."""
    if not len(ours) or not len(theirs):
        nobody = torch.zeros(0, dtype=torch.int64)
        return nobody, nobody
    numbers = [torch.cat((poses.boxes, poses.keypoints.flatten(1)), 1) for poses in (ours, theirs)]
    distance = torch.cdist(*numbers, p=1)  # (N, M)
    distance[pairwise_iou(ours.boxes, theirs.boxes) < SAME] = torch.inf
    nearest, back = distance.argmin(1), distance.argmin(0)
    own = torch.arange(len(ours))
    mutual = (back[nearest] == own) & distance[own, nearest].isfinite()
    return own[mutual], nearest[mutual]


def compare(
    model: PoseModel, from_file: Callable[[torch.Tensor], list[Poses]], pictures: Iterable[torch.Tensor], bounds: Bounds
) -> Parity:
    """The model beside its file, on batches of uint8 images (B, 3, H, W)."""
    parity = Parity(bounds)
    reference = next(model.parameters())
    for images in pictures:
        with torch.no_grad():
            inputs = to_unit(images.to(reference.device), reference.dtype)
            ours = model.select(model.decode([model(inputs)], [View()]))
        for own, other in zip(ours, from_file(images), strict=True):
            parity.add(Poses(*(getattr(own, name).cpu() for name in _FIELDS)), other)
    return parity


_FIELDS = ("boxes", "scores", "classes", "keypoints", "keypoint_scores")
