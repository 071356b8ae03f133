"""RLE on HRNet: coordinates and how sure they are, regressed; the shape of the errors is learned by a flow.

Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", 2021. The authors published no HRNet head;
here each branch is averaged over all places and the averages stand side by side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.flow import Flow
from models.hrnet import PUBLISHED_NAMES, Trunk, TrunkSettings
from models.top_down import Rescoring, TopDown, one_person
from utils.core.config import into
from utils.core.contract import ModelSpec
from utils.core.poses import Candidates, Targets
from utils.core.tta import View


@dataclass(frozen=True)
class Gains:
    """The loss, under the names of the hyp YAML."""

    laplace: bool = False  # the fixed density: the authors' mixture of two kinds, or a Laplace density as in mmpose


class Model(TopDown):
    """Raw output: coordinates (B, K, 2) in shares of the crop from its middle, and logits of their spread (B, K, 2)."""

    published_names = PUBLISHED_NAMES
    gains_type = Gains
    usual_recipe = "hyp.rle.yaml"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, into(Rescoring, spec.select, "select"))
        self.settings = into(TrunkSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.trunk = Trunk(self.settings, outputs=4)
        features, numbers = 15 * self.settings.width, 2 * spec.schema.count  # 1 + 2 + 4 + 8 widths
        self.place, self.spread = nn.Linear(features, numbers), nn.Linear(features, numbers)
        for layer in (self.place, self.spread):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
        self.flow = Flow()  # of use in training only

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.check_size(images)
        branches = self.trunk(self.normalised(images))
        features = torch.cat([branch.mean((2, 3)) for branch in branches], 1)  # (B, F)
        length = features.norm(dim=1, keepdim=True).clamp(min=1e-9)
        place = nn.functional.linear(features, self.place.weight) / length + self.place.bias
        count = self.spec.schema.count
        return place.unflatten(1, (count, 2)), self.spread(features).unflatten(1, (count, 2))

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[tuple[torch.Tensor, torch.Tensor]], views: Sequence[View]) -> Candidates:
        height, width = self.spec.input_size
        places, spreads = [], []
        for (place, spread), flipped in zip(raws, self.mirrored(views), strict=True):
            place, spread = place.float(), spread.float().sigmoid()
            if flipped:  # between pixel centres the mirror image of x is W - 1 - x
                swap = list(self.spec.schema.swap)
                place, spread = place[:, swap], spread[:, swap]
                place = torch.stack((-place[..., 0] - 1 / width, place[..., 1]), -1)
            places.append(place)
            spreads.append(spread)
        place, spread = (torch.stack(seen).mean(0) for seen in (places, spreads))
        points = (place + 0.5) * place.new_tensor([width, height])
        return self.pose(points, 1 - spread.mean(-1), self.spec.input_size)

    # ------------------------------------------------------------------------------------------ learning

    def loss(
        self, raw: tuple[torch.Tensor, torch.Tensor], targets: Targets, progress: float
    ) -> dict[str, torch.Tensor]:
        place, spread = (values.float() for values in raw)
        points, labelled = one_person(targets, len(place))
        height, width = self.spec.input_size
        goal = points.float() / points.new_tensor([width, height]).float() - 0.5
        return self.likelihood(place, spread.sigmoid(), goal, labelled.bool())

    def likelihood(
        self, place: torch.Tensor, spread: torch.Tensor, goal: torch.Tensor, labelled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Two terms for each labelled coordinate, summed, by crop: places, spreads, goals (B, K, 2), labelled (B, K).

        The error in units of its spread under the flow's density; and under a fixed one, that the flow refines.
        """
        crops = len(place)
        place, spread, goal = place[labelled], spread[labelled], goal[labelled]  # (M, 2)
        error = (place - goal) / spread
        learned = spread.log() - self.flow.log_density(error)[:, None]
        off = (goal - place).abs()
        if self.gains.laplace:
            fixed = (2 * spread).log() + off / (spread + 1e-9)
        else:
            fixed = (spread * math.sqrt(2 * math.pi)).log() + off / (math.sqrt(2) * spread + 1e-9)
        return {"flow": learned.sum() / crops, "error": fixed.sum() / crops}
