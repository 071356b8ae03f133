"""What a method family promises: PoseModel, the ModelSpec that it is built from, and the DetectionLayer for TI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from utils.core.config import into
from utils.core.geometry import Coding, Fit
from utils.core.poses import Candidates, Poses, Targets
from utils.core.schema import KeypointSchema
from utils.core.tta import View

if TYPE_CHECKING:
    from utils.core.nms import Rivals
    from utils.core.published import Published


@dataclass(frozen=True)
class Row:
    """One layer of a model: where its input comes from, how often it repeats, what it is and with which numbers."""

    source: tuple[int, ...]  # negative: that many rows back
    repeats: int
    layer: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_values(self) -> list[Any]:
        source = self.source[0] if len(self.source) == 1 else list(self.source)
        values = [source, self.repeats, self.layer, [list(a) if isinstance(a, tuple) else a for a in self.arguments]]
        return [*values, dict(self.options)] if self.options else values


@dataclass(frozen=True)
class ModelSpec:
    """All that decides a network, complete before it is built: `Model(spec)` needs nothing else."""

    family: str
    schema: KeypointSchema
    classes: tuple[str, ...] = ("person",)
    view: Literal["image", "person"] = "image"
    input_size: tuple[int, int] = (640, 640)  # (height, width) that it is trained for
    rows: tuple[Row, ...] = ()  # channels and repeats are final here
    head: Mapping[str, Any] = field(default_factory=dict)  # these three are read by the family, strictly
    gains: Mapping[str, Any] = field(default_factory=dict)
    select: Mapping[str, Any] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """Plain values for a checkpoint's header; `from_values` reads them back."""
        return {
            "family": self.family,
            "view": self.view,
            "input_size": list(self.input_size),
            "classes": list(self.classes),
            "schema": self.schema.to_values(),
            "rows": [row.to_values() for row in self.rows],
            "head": dict(self.head),
            "gains": dict(self.gains),
            "select": dict(self.select),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> "ModelSpec":
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}: expected 'key: value' lines, found {values!r}")
        values = dict(values)
        if not isinstance(values.get("schema"), Mapping):
            raise ValueError(f"{where}: 'schema' is missing; expected the keypoints")
        values["schema"] = KeypointSchema.from_values(values["schema"], where)
        values["rows"] = read_rows(values.get("rows", ()), where)
        return into(cls, values, where)

    def with_settings(
        self, *, select: Mapping[str, Any] | None = None, gains: Mapping[str, Any] | None = None
    ) -> "ModelSpec":
        """The same network with other thresholds or loss weights."""
        return replace(self, select={**self.select, **(select or {})}, gains={**self.gains, **(gains or {})})


def read_rows(rows: Sequence[Any], where: str) -> tuple[Row, ...]:
    """Rows as they stand in YAML: [from, repeats, layer, [arguments]] and, if needed, {options}."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ValueError(f"{where}: rows: found {rows!r}; expected a list of [from, repeats, layer, arguments]")
    return tuple(_read_row(row, f"{where}: row {i}") for i, row in enumerate(rows))


def _read_row(row: Any, where: str) -> Row:
    if isinstance(row, Row):
        return row
    if not isinstance(row, Sequence) or isinstance(row, str) or not 4 <= len(row) <= 5:
        raise ValueError(f"{where}: found {row}; expected [from, repeats, layer, [arguments]] or one {{options}} more")
    source, repeats, layer, arguments = row[:4]
    source = tuple(source) if isinstance(source, (list, tuple)) else (source,)
    if not source or not all(isinstance(index, int) and not isinstance(index, bool) for index in source):
        raise ValueError(f"{where}: from: found {row[0]!r}; expected row numbers")
    if type(repeats) is not int or repeats < 1:
        raise ValueError(f"{where}: repeats: found {repeats!r}; expected 1 or more")
    if not isinstance(arguments, (list, tuple)):
        raise ValueError(f"{where}: arguments: found {arguments!r}; expected a list")
    options = row[4] if len(row) == 5 else {}
    if not isinstance(options, Mapping):
        raise ValueError(f"{where}: options: found {options!r}; expected {{name: value}}")
    frozen = tuple(tuple(value) if isinstance(value, list) else value for value in arguments)
    return Row(source, repeats, str(layer), frozen, dict(options))


@dataclass(frozen=True)
class DetectionLayer:
    """What the head of a TI accelerator has to know. The names of the raw outputs come from the exported graph."""

    kind: Literal["yolo_v5", "yolo_x"]
    strides: tuple[int, ...]  # one per raw output, in order
    anchors: tuple[tuple[tuple[float, float], ...], ...]  # (width, height) pixels per level; empty for anchor-free
    classes: int
    keypoints: int


@dataclass(frozen=True)
class NoGains:
    """For a family whose loss has nothing to weigh."""


@dataclass(frozen=True)
class NoThresholds:
    """For a family whose selection has nothing to decide."""


class PoseModel(nn.Module):
    """What a method family promises. Coordinates are input pixels; the number of keypoints comes from spec.schema."""

    published_names: Sequence[tuple[str, str]] = ()  # (pattern, replacement): names its published checkpoints used
    gains_type: type = NoGains  # the dataclass that spec.gains is read into
    select_type: type = NoThresholds  # the dataclass that spec.select is read into
    usual_recipe: str = "hyp.scratch.yaml"  # the hyp YAML of a training that names none
    learning_aids: Sequence[str] = ()  # how names of weights begin that only help learning; a checkpoint may lack them
    fuses: bool = False  # whether there are keypoint objects, and Poses.fused says where they went
    letterbox: Fit = Fit()  # how a whole image is put into the input, as in the family's published evaluation
    coding: Coding = "published"  # how a person crop is measured, for families of view "person"
    rivals: "Rivals | None" = None  # what becomes of poses of one image that are alike, for families of view "person"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    @classmethod
    def recognise(cls, published: "Published") -> ModelSpec | None:
        """The spec of a published checkpoint if it is one of this family's, else None."""
        return None

    @classmethod
    def starting_from(cls, spec: ModelSpec, weights: ModelSpec) -> ModelSpec:
        """The spec of a new model that takes what fits from weights of its family: what they depend on comes along."""
        return spec

    @property
    def stride(self) -> int:
        """Input sides must be multiples of this."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> Any:
        """(B, 3, H, W) in 0..1 -> raw: private to the family, the same type in training and in evaluation."""
        raise NotImplementedError

    def loss(self, raw: Any, targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        """Named terms, weighted: the trainer adds them up. `progress` is the share of the training done, 0..1."""
        raise NotImplementedError

    def decode(self, raws: Sequence[Any], views: Sequence[View]) -> Candidates:
        """One raw per view -> candidates in the unviewed image. Plain inference is one view."""
        raise NotImplementedError

    def maps(self, raw: Any) -> Any:
        """The raw output without what only helps learning: as many maps as the detection head has levels."""
        layer = self.ti_layer()
        return raw[: len(layer.strides)] if layer else raw

    def select(self, candidates: Candidates) -> list[Poses]:
        """The people of each image; plain tensor code, because what runs is also what is exported."""
        raise NotImplementedError

    def keypoint_objects(self, candidates: Candidates) -> list[Poses]:
        """Keypoints that were found on their own, per image: their boxes, scores, and as classes their numbers.

        Only for families that detect keypoints as objects. Each has one keypoint, the centre of its box: (N, 1, 2).
        """
        raise ValueError(f"family {self.spec.family} has no keypoint objects")

    def ti_layer(self) -> DetectionLayer | None:
        """What TI's runtime needs to decode this head itself, or None when it cannot."""
        return None
