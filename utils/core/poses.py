"""The values that travel through the house: Batch and Targets in, Candidates in between, Poses out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from utils.core.geometry import (
    Array,
    Matrix,
    box_areas,
    chain,
    clip_boxes,
    identity,
    move_boxes,
    move_points,
    xyxy_to_xywh,
)

if TYPE_CHECKING:  # only named in a return type; imported for real when a user asks for it
    import supervision


@dataclass(frozen=True)
class Origin:
    """Where an input image comes from, and the one matrix that leads from its pixels to the network's."""

    image_id: int | str
    path: str
    size: tuple[int, int]  # (height, width) of the original
    to_input: Matrix
    box_score: float = 1.0  # of the detection that a person crop was cut from

    def under(self, matrix: Matrix) -> "Origin":
        """The same image after one more movement."""
        return replace(self, to_input=chain(self.to_input, matrix))


@dataclass(frozen=True)
class Targets:
    """The persons of a batch, flat: who belongs to which image stands in `image_index`."""

    image_index: torch.Tensor  # (N) int64
    boxes: torch.Tensor  # (N, 4)
    keypoints: torch.Tensor  # (N, K, 2)
    visibility: torch.Tensor  # (N, K): 0 not labelled, 1 hidden, 2 seen
    areas: torch.Tensor  # (N) of the person's mask, else of the box
    classes: torch.Tensor  # (N) int64

    def __post_init__(self) -> None:
        count = len(self.image_index)
        for field in fields(self):
            found = getattr(self, field.name).shape
            assert found[0] == count, f"Targets.{field.name}: {tuple(found)} found; expected {count} rows"

    def __len__(self) -> int:
        return len(self.image_index)

    def to(self, device: torch.device | str) -> "Targets":
        return Targets(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    @classmethod
    def nobody(cls, keypoints: int) -> "Targets":
        """No person at all, for images that are empty on purpose."""
        return cls(
            image_index=torch.zeros(0, dtype=torch.int64),
            boxes=torch.zeros(0, 4),
            keypoints=torch.zeros(0, keypoints, 2),
            visibility=torch.zeros(0, keypoints),
            areas=torch.zeros(0),
            classes=torch.zeros(0, dtype=torch.int64),
        )


@dataclass(frozen=True)
class Batch:
    """Images as the network takes them, who is on them, and where each came from."""

    images: torch.Tensor  # (B, 3, H, W) uint8, RGB
    targets: Targets
    origins: tuple[Origin, ...]

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(self.images.to(device, non_blocking=True), self.targets.to(device), self.origins)

    def pin_memory(self) -> "Batch":
        """Called by torch's loader, so that the copy to a GPU can overlap with work."""
        pinned = Targets(*(getattr(self.targets, field.name).pin_memory() for field in fields(Targets)))
        return Batch(self.images.pin_memory(), pinned, self.origins)


@dataclass(frozen=True)
class Candidates:
    """What a network proposes for a batch, before anything is chosen; coordinates are input pixels."""

    boxes: torch.Tensor  # (B, A, 4)
    scores: torch.Tensor  # (B, A, C)
    keypoints: torch.Tensor  # (B, A, K, 2)
    keypoint_scores: torch.Tensor  # (B, A, K)
    origins: tuple[Origin, ...] = ()  # of the images, where they are known: an exported network sees only its input

    @classmethod
    def pooled(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """All candidates of several views or levels, in order."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls) if field.name != "origins"]
        return cls(*(torch.cat([getattr(part, name) for part in parts], 1) for name in names), parts[0].origins)


@dataclass(frozen=True)
class Poses:
    """The people found in one image, best first. Fields are tensors inside the house and numpy arrays for its users."""

    boxes: Array  # (N, 4)
    scores: Array  # (N)
    classes: Array  # (N)
    keypoints: Array  # (N, K, 2)
    keypoint_scores: Array  # (N, K)
    ids: Array | None = None  # (N) when tracked
    fused: Array | None = None  # (N, K) which keypoints a keypoint object has replaced, in families that have those

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Any) -> "Poses":
        """Some of the people: a slice, a mask or a list of indices; `poses[0]` keeps its first dimension too."""
        if not isinstance(chosen, slice) and np.ndim(chosen) == 0:  # also what argmax returns
            chosen = [int(chosen)]
        return self._each(lambda values: values[chosen])

    def _each(self, change: Any) -> "Poses":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Poses(**{name: None if value is None else change(value) for name, value in values.items()})

    def numpy(self) -> "Poses":
        """The same people in numpy arrays; boxes, scores and keypoints in float32."""
        return self._each(lambda values: _as_numpy(values))

    def moved(self, matrix: Matrix) -> "Poses":
        """The same people in other coordinates; `poses.moved(inverse(origin.to_input))` is the way back."""
        return replace(self, boxes=move_boxes(self.boxes, matrix), keypoints=move_points(self.keypoints, matrix))

    def cut_to(self, size: tuple[int, int]) -> "Poses":
        """Boxes cut to an image of (height, width). Keypoints stay: a hand may well be outside the picture."""
        return replace(self, boxes=clip_boxes(self.boxes, size))

    def to_coco(self, image_id: int | str, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Rows of a COCO results file: x, y and score for every keypoint, box as left, top, width, height.

        COCO counts from pixel centres, its annotations and its evaluation are continuous: nothing is shifted.
        """
        poses = self.numpy()
        named = category_ids is not None and len(category_ids) > 0
        flat = np.concatenate((poses.keypoints, poses.keypoint_scores[..., None]), -1)  # (N, K, 3)
        rows = zip(
            poses.scores,
            poses.classes,
            xyxy_to_xywh(poses.boxes),
            flat.reshape(len(self), 3 * flat.shape[1]),
            strict=True,
        )
        return [
            {
                "image_id": image_id,
                "category_id": int(category_ids[int(kind)] if named else kind + 1),
                "bbox": [round(float(value), 3) for value in box],
                "keypoints": [round(float(value), 3) for value in points],
                "score": round(float(score), 5),
            }
            for score, kind, box, points in rows
        ]

    def to_json(self, names: Sequence[str] | None = None) -> str:
        """A JSON list with one object per person; with names, keypoints become an object by name."""
        poses = self.numpy()
        people = []
        for i in range(len(poses)):
            points = np.concatenate((poses.keypoints[i], poses.keypoint_scores[i, :, None]), -1)  # (K, 3)
            points = [[round(float(value), 4) for value in point] for point in points]
            person = {
                "box": [round(float(value), 4) for value in poses.boxes[i]],
                "score": round(float(poses.scores[i]), 6),
                "class": int(poses.classes[i]),
                "keypoints": dict(zip(names, points, strict=True)) if names else points,
            }
            if poses.ids is not None:
                person["id"] = int(poses.ids[i])
            people.append(person)
        return json.dumps(people)

    def to_supervision(self) -> "supervision.KeyPoints":
        """The same people as `supervision.KeyPoints`, for its annotators and trackers (pip install supervision)."""
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
        poses = self.numpy()
        # By position: the third is 'confidence' up to supervision 0.31 and 'keypoint_confidence' since 0.29.
        return supervision.KeyPoints(poses.keypoints, poses.classes.astype(int), poses.keypoint_scores)


def _as_numpy(values: Array) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    return values


def person_areas(boxes: Array) -> Array:
    """Areas to go with boxes that come without a mask; COCO's masks cover about half of their box, hence the 0.53."""
    return 0.53 * box_areas(boxes)


def untouched(image_id: int | str, path: str, size: tuple[int, int]) -> Origin:
    """The origin of an image that goes into the network as it is."""
    return Origin(image_id, path, size, identity())
