"""Heat maps on HRNet: for each keypoint of a person crop a map of where it is.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", 2019; with unbiased coding,
Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.heatmaps import (
    dark_step,
    draw_gaussians,
    map_loss,
    mirrored_maps,
    newton_step,
    peaks,
    quarter_step,
    to_cells,
    windows_meet,
)
from models.hrnet import PUBLISHED_NAMES, STRIDE, Trunk, TrunkSettings
from models.top_down import Rescoring, TopDown, one_person, published_spec, published_trunk
from utils.core.config import into
from utils.core.contract import ModelSpec
from utils.core.geometry import Coding
from utils.core.poses import Candidates, Targets
from utils.core.published import Published
from utils.core.tta import View

SIGMA_SHARE = 32  # a map's height in sigmas: 2 cells for 256 x 192, 3 for 384 x 288, as published


@dataclass(frozen=True)
class HeadSettings(TrunkSettings):
    # How keypoints become maps and come back. dark: bells off the cells, and Newton's step to the top of a bell;
    # unbiased: both, and crops and cells measured between pixel centres, as in UDP.
    coding: Literal["published", "dark", "unbiased"] = "published"
    blur: int = 0  # cells under which an unbiased map is smoothed for that step; 0: as in UDP's code, 11: as in mmpose


@dataclass(frozen=True)
class Gains:
    """The loss, under the names of the hyp YAML."""

    sigma: float = 0.0  # of a bell, in cells; 0: a 32nd of the map's height
    hardest: int = 0  # keypoints of a person that count, the worst ones; 0: all (the published option OHKM: 8)


class Model(TopDown):
    """Raw output: maps (B, K, H / 4, W / 4)."""

    published_names = PUBLISHED_NAMES
    gains_type = Gains
    usual_recipe = "hyp.hrnet.yaml"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, into(Rescoring, spec.select, "select"))
        self.settings = into(HeadSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.coding: Coding = "unbiased" if self.settings.coding == "unbiased" else "published"
        self.trunk = Trunk(self.settings)
        self.head = nn.Conv2d(self.settings.width, spec.schema.count, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def recognise(cls, published: Published) -> ModelSpec | None:
        tensors, head = published_trunk(published, cls)
        if not tensors or "mlp_head_x.weight" in tensors or "head.mlp_head_x.weight" in tensors:
            return None
        return published_spec("pose_hrnet", head, keypoints=len(tensors["head.weight"]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(self.normalised(images))[0])

    def factor(self, maps: torch.Tensor) -> tuple[float, float]:
        """Input pixels to a cell, across and down."""
        height, width = maps.shape[-2:]
        if self.coding == "published":
            return STRIDE, STRIDE
        return (STRIDE * width - 1) / (width - 1), (STRIDE * height - 1) / (height - 1)

    def sigma(self, maps: torch.Tensor) -> float:
        """Of a bell, in cells."""
        return self.gains.sigma or maps.shape[-2] / SIGMA_SHARE

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[torch.Tensor], views: Sequence[View]) -> Candidates:
        corners = self.coding == "published"
        seen = [
            mirrored_maps(raw, self.spec.schema.swap, shifted=corners) if mirrored else raw
            for raw, mirrored in zip(raws, self.mirrored(views), strict=True)
        ]
        maps = torch.stack(seen).float().mean(0) if len(seen) > 1 else seen[0].float()
        place, scores = peaks(maps)
        points = self._refined(maps, place) * maps.new_tensor(self.factor(maps))
        return self.pose(points, scores, (STRIDE * maps.shape[-2], STRIDE * maps.shape[-1]))

    def _refined(self, maps: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Between the cells: where the tops (B, K, 2) are."""
        if self.settings.coding == "published":
            return quarter_step(maps, place)
        if self.settings.coding == "dark":
            return dark_step(maps, place, self.sigma(maps))
        return newton_step(maps, place, self.settings.blur)

    # ------------------------------------------------------------------------------------------ learning

    def loss(self, raw: torch.Tensor, targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        target, weight = self.rendered(targets, raw)
        return {"heatmap": map_loss(raw.float(), target, weight, self.gains.hardest)}

    def rendered(self, targets: Targets, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the maps should be (B, K, H, W), and which of them count (B, K)."""
        points, labelled = one_person(targets, len(maps))
        size = (maps.shape[-2], maps.shape[-1])
        sigma = self.sigma(maps)
        exact, whole = to_cells(points.float(), self.factor(maps))
        weight = labelled * windows_meet(whole, 3 * sigma, size)
        centre = whole if self.settings.coding == "published" else exact
        return draw_gaussians(centre, whole, weight, size, sigma), weight
