"""TopDown: what the families that look at one person at a time have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models.build import renamed
from models.hrnet import COARSEST, settings_of
from utils.core.contract import ModelSpec, PoseModel
from utils.core.nms import Rivals
from utils.core.poses import Candidates, Poses, Targets
from utils.core.published import Published
from utils.core.schema import KeypointSchema
from utils.core.tta import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


@dataclass(frozen=True)
class Rescoring:
    """What the score of a pose is, the mean score of the keypoints that count; and which poses of an image stay."""

    visible_from: float = 0.2  # keypoints with a higher score count
    oks: float = Rivals.above  # OKS from which two poses are the same person: the better one stays
    soft_oks: bool = False  # neither is dropped; both are weakened by their likeness, and the best twenty stay


class TopDown(PoseModel):
    """A person crop in, one pose out. Coordinates count from pixel centres, as `geometry.person_crop` does."""

    select_type = Rescoring

    def __init__(self, spec: ModelSpec, selection: Rescoring) -> None:
        super().__init__(spec)
        if spec.view != "person":
            raise ValueError(f"view: '{spec.view}' found; {spec.family} looks at one person at a time: view: person")
        self.selection = selection
        self.rivals = Rivals(selection.oks, soft=selection.soft_oks)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @property
    def stride(self) -> int:
        return COARSEST

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std

    def pose(self, points: torch.Tensor, scores: torch.Tensor, size: tuple[int, int]) -> Candidates:
        """One candidate for every crop of (height, width), from its keypoints (B, K, 2) and their scores (B, K)."""
        counts = (scores > self.selection.visible_from).to(scores.dtype)  # (B, K)
        mean = (scores * counts).sum(-1) / counts.sum(-1).clamp(min=1)  # (B)
        # In UDP's intervals a crop ends at the centre of its last pixel.
        last = 1 if self.coding == "unbiased" else 0
        box = points.new_tensor([0.0, 0.0, size[1] - last, size[0] - last])
        return Candidates(
            boxes=box.expand(len(points), 1, 4),
            scores=mean[:, None, None],
            keypoints=points[:, None],
            keypoint_scores=scores[:, None],
        )

    def select(self, candidates: Candidates) -> list[Poses]:
        return [
            Poses(
                boxes=candidates.boxes[crop],
                scores=candidates.scores[crop, :, 0],
                classes=torch.zeros_like(candidates.scores[crop, :, 0], dtype=torch.int64),
                keypoints=candidates.keypoints[crop],
                keypoint_scores=candidates.keypoint_scores[crop],
            )
            for crop in range(candidates.boxes.shape[0])
        ]

    def mirrored(self, views: Sequence[View]) -> list[bool]:
        """Which views are mirror images; maps of crops can be averaged over these only."""
        for view in views:
            if view.scale != 1.0 or view.flip == "vertical":
                raise ValueError(
                    f"{self.spec.family}: a view at scale {view.scale:g}, flip {view.flip} found; person crops can be "
                    "looked at as they are and mirrored: --scales 1 1 --flips -1 3"
                )
        return [view.flip == "horizontal" for view in views]

    def check_size(self, images: torch.Tensor) -> None:
        """For heads that know one size of crops only."""
        size = (images.shape[-2], images.shape[-1])
        if size != self.spec.input_size:
            raise ValueError(
                f"crops of {size[0]} x {size[1]} found; this {self.spec.family} was built for "
                f"{self.spec.input_size[0]} x {self.spec.input_size[1]}: leave --img out"
            )


def one_person(targets: Targets, crops: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The keypoints (B, K, 2) of the one person in each crop, and which of them (B, K) are labelled."""
    keypoints = targets.keypoints.new_zeros((crops, *targets.keypoints.shape[1:]))
    labelled = targets.keypoints.new_zeros(keypoints.shape[:2])
    keypoints[targets.image_index] = targets.keypoints
    labelled[targets.image_index] = (targets.visibility > 0).to(labelled.dtype)
    return keypoints, labelled


def published_trunk(published: Published, family: type[PoseModel]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights under our names, and the settings of their trunk; nothing where there is no HRNet with a pose head."""
    tensors = renamed(published.tensors(), family) if not published.module else {}
    final, first, branch = (
        tensors.get(name) for name in ("head.weight", "trunk.conv1.conv.weight", "trunk.transition1.0.conv.weight")
    )
    if final is None or first is None or branch is None or final.ndim != 4:
        return {}, {}
    return tensors, asdict(settings_of(tensors.keys(), width=len(branch), stem=len(first)))


def published_spec(
    family: str, head: Mapping[str, Any], keypoints: int, input_size: tuple[int, int] = (256, 192)
) -> ModelSpec:
    schema = KeypointSchema.of_weights(keypoints)
    return ModelSpec(family=family, schema=schema, view="person", input_size=input_size, head=head)
