"""What an exported network takes and gives: the modules that are traced, and the columns of their output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

from utils.core.contract import PoseModel
from utils.core.poses import Candidates, Poses
from utils.core.schema import KeypointSchema
from utils.core.tta import View

IMAGES = "images"  # the input: (B, 3, H, W) RGB in 0..1, float32 in every file
DETECTIONS = "detections"  # the output with the selection inside
CANDIDATES = tuple(field.name for field in fields(Candidates) if field.default is MISSING)
BEFORE_KEYPOINTS = ("x1", "y1", "x2", "y2", "score", "class")


@dataclass(frozen=True)
class Export:
    """What is asked for, whatever the format.

    fixed: (B, max_det, 6 + 3K), filled up with rows of zeros. rows: (n, 6 + 3K), the people of one image as TI's
    exporter gave them. raw: the maps of the network alone.
    """

    size: tuple[int, int]  # (height, width)
    batch: int = 1
    layout: Literal["fixed", "rows", "raw"] = "fixed"
    dynamic_batch: bool = False
    dynamic_size: bool = False
    opset: int = 16
    half: bool = False
    simplify: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"--batch: found {self.batch}; expected 1 or more")
        if self.layout == "rows" and (self.batch > 1 or self.dynamic_batch):
            raise ValueError(
                "--rows: a row does not say which image it belongs to; leave out --batch and --dynamic batch"
            )


def columns(schema: KeypointSchema) -> list[str]:
    """The meaning of each of the 6 + 3K numbers of a person."""
    points = [f"{name}_{what}" for name in schema.names for what in ("x", "y", "score")]
    return [*BEFORE_KEYPOINTS, *points]


def thresholds(model: PoseModel) -> dict[str, Any]:
    """All values that the model's selection goes by, those of the spec over the family's own."""
    own = {field.name: field.default for field in fields(model.select_type) if field.default is not MISSING}
    return {**own, **model.spec.select}


def most_people(model: PoseModel) -> int:
    """Rows of a fixed output: the selection's limit, or the one person whom a crop shows."""
    return int(thresholds(model).get("max_poses", 1))


def rows_of(poses: Poses) -> torch.Tensor:
    """The people of one image as rows: (N, 6 + 3K)."""
    numbers = [poses.boxes, poses.scores[:, None], poses.classes[:, None].to(poses.boxes.dtype)]
    if poses.keypoints.shape[1]:
        numbers.append(torch.cat((poses.keypoints, poses.keypoint_scores[..., None]), -1).flatten(1))
    return torch.cat(numbers, 1)


def poses_of(rows: torch.Tensor) -> Poses:
    """The way back; rows that only fill up are left out."""
    rows = rows[rows[:, 4] > 0]
    count = len(BEFORE_KEYPOINTS)
    points = rows[:, count:].unflatten(-1, (-1, 3)) if rows.shape[1] > count else rows.new_zeros(len(rows), 0, 3)
    return Poses(rows[:, :4], rows[:, 4], rows[:, 5].long(), points[..., :2], points[..., 2])


def leaves(raw: Any) -> list[torch.Tensor]:
    """The tensors of a raw output, in order; what else it is made of is the family's own affair."""
    if isinstance(raw, torch.Tensor):
        return [raw]
    parts = raw.values() if isinstance(raw, Mapping) else raw
    assert isinstance(raw, (Mapping, Sequence)), f"raw output of {type(raw).__name__}; expected tensors"
    return [leaf for part in parts for leaf in leaves(part)]


def refilled(template: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """A raw output like the template, of other tensors: the way back from `leaves`."""
    if isinstance(template, torch.Tensor):
        return next(tensors)
    if isinstance(template, Mapping):
        return {name: refilled(part, tensors) for name, part in template.items()}
    return tuple(refilled(part, tensors) for part in template)


class Proposing(nn.Module):
    """Images -> the fields of Candidates, then the raw maps."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model
        self.dtype = next(model.parameters()).dtype

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raw = self.model.maps(self.model(images.to(self.dtype)))
        candidates = self.model.decode([raw], [View()])
        return (*(getattr(candidates, name).float() for name in CANDIDATES), *leaves(raw))


class Selecting(nn.Module):
    """The candidates of one image, fields (A, ...) -> rows; filled up to a fixed number where one is given."""

    def __init__(self, model: PoseModel, limit: int | None) -> None:
        super().__init__()
        self.model = model
        self.limit = limit

    def forward(self, *fields_of_candidates: torch.Tensor) -> torch.Tensor:
        [poses] = self.model.select(Candidates(*(values[None] for values in fields_of_candidates)))
        return self.filled_up(rows_of(poses))

    def filled_up(self, rows: torch.Tensor) -> torch.Tensor:
        if self.limit is None:
            return rows
        return torch.cat((rows, rows.new_zeros(self.limit, rows.shape[1])))[: self.limit]


class EndToEnd(nn.Module):
    """Images -> detections, then the candidates and raw maps that they were made from."""

    def __init__(self, model: PoseModel, layout: Literal["fixed", "rows"]) -> None:
        super().__init__()
        self.proposing = Proposing(model)
        self.selecting = Selecting(model, most_people(model) if layout == "fixed" else None)
        self.layout = layout

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.proposing(images)
        people = self.proposing.model.select(Candidates(*found[: len(CANDIDATES)]))
        rows = [self.selecting.filled_up(rows_of(poses)) for poses in people]
        return (rows[0] if self.layout == "rows" else torch.stack(rows), *found)
