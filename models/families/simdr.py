"""SimDR on HRNet: where a keypoint is across and down, as two classifications into bins finer than a pixel.

Li et al., "Is 2D Heatmap Representation Even Necessary for Human Pose Estimation?", 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.hrnet import PUBLISHED_NAMES, STRIDE, Trunk, TrunkSettings
from models.top_down import Rescoring, TopDown, one_person, published_spec, published_trunk
from utils.core.config import into
from utils.core.contract import ModelSpec
from utils.core.poses import Candidates, Targets
from utils.core.published import Published
from utils.core.tta import View


@dataclass(frozen=True)
class HeadSettings(TrunkSettings):
    split: float = 2.0  # bins to a pixel
    labels: Literal["smooth", "gaussian"] = "smooth"  # how bins are taught: one and its smoothing; a bell (SimDR*)


@dataclass(frozen=True)
class SimdrRescoring(Rescoring):
    visible_from: float = 0.01  # probabilities of single bins are small; 0.005 is published for SimDR* at 384 x 288


@dataclass(frozen=True)
class Gains:
    """The loss, under the names of the hyp YAML."""

    label_smoothing: float = 0.1
    bin_sigma: float = 4.0  # of a bell, in bins, for labels: gaussian
    normalised: bool = False  # mean over bins and keypoints instead of their sum, as for ResNets


class Model(TopDown):
    """Raw output: logits (B, K, W * split) across and (B, K, H * split) down."""

    published_names = ((r"^(?:head\.)?mlp_head_([xy])\.", r"\1."), *PUBLISHED_NAMES)
    gains_type = Gains
    usual_recipe = "hyp.simdr.yaml"
    select_type = SimdrRescoring

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, into(SimdrRescoring, spec.select, "select"))
        self.settings = into(HeadSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.trunk = Trunk(self.settings)
        self.head = nn.Conv2d(self.settings.width, spec.schema.count, 1)
        height, width = spec.input_size
        cells = (height // STRIDE) * (width // STRIDE)
        self.x = nn.Linear(cells, round(width * self.settings.split))
        self.y = nn.Linear(cells, round(height * self.settings.split))

    @classmethod
    def recognise(cls, published: Published) -> ModelSpec | None:
        tensors, head = published_trunk(published, cls)
        if "x.weight" not in tensors or "y.weight" not in tensors:
            return None
        (across, cells), (down, _) = tensors["x.weight"].shape, tensors["y.weight"].shape
        split = (across * down / (cells * STRIDE**2)) ** 0.5
        size = (round(down / split), round(across / split))
        return published_spec("simdr", {**head, "split": split}, len(tensors["head.weight"]), size)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.check_size(images)
        maps = self.head(self.trunk(self.normalised(images))[0]).flatten(2)  # (B, K, H / 4 * W / 4)
        return self.x(maps), self.y(maps)

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[tuple[torch.Tensor, torch.Tensor]], views: Sequence[View]) -> Candidates:
        x, y = self.probabilities(raws, views)
        (best_x, place_x), (best_y, place_y) = x.max(-1), y.max(-1)  # (B, K) each
        points = torch.stack((place_x, place_y), -1) / self.settings.split
        sure = torch.maximum if self.settings.labels == "smooth" else torch.minimum
        return self.pose(points, sure(best_x, best_y), self.spec.input_size)

    def probabilities(
        self, raws: Sequence[tuple[torch.Tensor, torch.Tensor]], views: Sequence[View]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each bin across and down, over all views: SimDR averages probabilities, SimDR* logits."""
        flips, after = self.mirrored(views), self.settings.labels == "smooth"
        both = []
        for axis in (0, 1):
            seen = [raw[axis].float() for raw in raws]
            seen = [self._put_back(bins, axis) if flip else bins for bins, flip in zip(seen, flips, strict=True)]
            seen = [bins.softmax(-1) if after else bins for bins in seen]
            mean = torch.stack(seen).mean(0) if len(seen) > 1 else seen[0]
            both.append(mean if after else mean.softmax(-1))
        return both[0], both[1]

    def _put_back(self, bins: torch.Tensor, axis: int) -> torch.Tensor:
        """Bins that were seen in the mirror. Reversed, x lies a bin further right than its mirror image: one left."""
        bins = bins[:, list(self.spec.schema.swap)]
        if axis == 1:
            return bins
        back = bins.flip(-1)
        return torch.cat((back[..., 1:], back[..., -1:]), -1)

    # ------------------------------------------------------------------------------------------ learning

    def loss(
        self, raw: tuple[torch.Tensor, torch.Tensor], targets: Targets, progress: float
    ) -> dict[str, torch.Tensor]:
        points, labelled = one_person(targets, len(raw[0]))
        points = points.float()
        teach = self._smooth_terms if self.settings.labels == "smooth" else self._bell_terms
        x, y = teach(points, labelled, [logits.float() for logits in raw])
        return {"x": x, "y": y}

    def bins(self, points: torch.Tensor, labelled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The bins (B, K, 2) of points, and which count (B, K): those outside the crop do not."""
        last = points.new_tensor([self.x.out_features - 1, self.y.out_features - 1])
        bins = (points * self.settings.split).round()
        within = ((bins >= 0) & (bins <= last)).all(-1)
        return bins.clamp(min=0).minimum(last).long(), labelled * within

    def _smooth_terms(
        self, points: torch.Tensor, labelled: torch.Tensor, logits: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Divergence of the bins from one that is nearly certain."""
        bins, weight = self.bins(points, labelled)
        terms = []
        for axis, values in enumerate(logits):
            goal = self.smoothed(bins[..., axis], values.shape[-1])
            each = (goal * (goal.log() - values.log_softmax(-1))).nan_to_num().sum(-1) * weight  # (B, K)
            if self.gains.normalised:
                terms.append((each / values.shape[-1]).mean())
            else:
                terms.append(each.sum() / len(values))
        return terms

    def smoothed(self, bins: torch.Tensor, count: int) -> torch.Tensor:
        """One bin of (B, K) with most of the probability, the others with the rest: (B, K, count)."""
        rest = self.gains.label_smoothing
        goal = torch.full((*bins.shape, count), rest / (count - 1), device=bins.device)
        return goal.scatter(-1, bins[..., None], 1 - rest)

    def _bell_terms(
        self, points: torch.Tensor, labelled: torch.Tensor, logits: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Divergence of the bins from a bell, averaged over bins, keypoints and crops."""
        goals, weight = self.bells(points, labelled)
        terms = []
        for goal, values in zip(goals, logits, strict=True):
            known = torch.where(goal > 0, goal, torch.ones_like(goal)).log()
            terms.append(((goal * (known - values.log_softmax(-1))).mean(-1) * weight).mean())
        return terms

    def bells(
        self, points: torch.Tensor, labelled: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Densities across and down, and which count (B, K): not those wholly outside the crop."""
        sigma, split = self.gains.bin_sigma, self.settings.split
        height, width = self.spec.input_size
        reach, limit = 3 * sigma, points.new_tensor([width, height])
        meets = ((points - reach < limit) & (points + reach + 1 >= 0)).all(-1)
        goals = []
        for axis, count in ((0, self.x.out_features), (1, self.y.out_features)):
            away = torch.arange(count, device=points.device) - split * points[..., axis, None]
            goals.append(torch.exp(-away.square() / (2 * sigma**2)) / (sigma * (2 * torch.pi) ** 0.5))
        return (goals[0], goals[1]), labelled * meets
