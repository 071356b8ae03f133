"""UDP on HRNet: for each keypoint a disc around it, and within the disc how far it is, across and down.

Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", 2020;
with attention, Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.heatmaps import blurred, cell_grid, peaks, sample, to_cells, windows_meet
from models.hrnet import PUBLISHED_NAMES, STRIDE, Trunk, TrunkSettings
from models.top_down import Rescoring, TopDown, one_person
from utils.core.config import into
from utils.core.contract import ModelSpec
from utils.core.geometry import Coding
from utils.core.poses import Candidates, Targets
from utils.core.tta import View

MAPS = 3  # for each keypoint: disc, offset across, offset down
DISC_BLUR, OFFSET_BLUR = 1.75, 0.75  # reach in radii: 15 and 7 cells wide for 256 x 192, as published
REACH = 1.5  # radii from which a keypoint beyond the edge still counts, as published
ROUNDING = 1e-5  # a cell exactly on a disc's edge belongs to it
RADIUS_SHARE = 16  # a map's height in radii: 4 cells for 256 x 192, as published


@dataclass(frozen=True)
class HeadSettings(TrunkSettings):
    radius: float = 0.0  # of a disc, in cells, and the unit of the offsets; 0: a 16th of the map's height


class Model(TopDown):
    """Raw output: maps (B, K * 3, H / 4, W / 4), keypoint after keypoint."""

    published_names = PUBLISHED_NAMES
    usual_recipe = "hyp.udp.yaml"
    coding: Coding = "unbiased"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, into(Rescoring, spec.select, "select"))
        self.settings = into(HeadSettings, spec.head, "head")
        self.trunk = Trunk(self.settings)
        self.head = nn.Conv2d(self.settings.width, MAPS * spec.schema.count, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(self.normalised(images))[0])

    def radius(self, maps: torch.Tensor) -> float:
        return self.settings.radius or maps.shape[-2] / RADIUS_SHARE

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[torch.Tensor], views: Sequence[View]) -> Candidates:
        seen = [
            self._put_back(raw) if mirrored else raw for raw, mirrored in zip(raws, self.mirrored(views), strict=True)
        ]
        maps = torch.stack(seen).float().mean(0) if len(seen) > 1 else seen[0].float()
        disc, across, down = (maps[:, part::MAPS] for part in range(MAPS))  # (B, K, H, W) each
        radius = self.radius(maps)
        wide, narrow = (2 * int(reach * radius) + 1 for reach in (DISC_BLUR, OFFSET_BLUR))
        smooth = blurred(disc, wide)
        place, scores = peaks(smooth)
        offset = torch.stack([sample(blurred(part, narrow), place) for part in (across, down)], -1)
        cells = place + radius * offset
        points = cells * cells.new_tensor(_factor(maps))
        return self.pose(points, scores, (STRIDE * maps.shape[-2], STRIDE * maps.shape[-1]))

    def _put_back(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps that were seen in the mirror: reversed, keypoints exchanged, offsets across the other way round."""
        parts = maps.flip(-1).unflatten(1, (-1, MAPS))[:, list(self.spec.schema.swap)]
        return (parts * parts.new_tensor([1.0, -1.0, 1.0]).view(MAPS, 1, 1)).flatten(1, 2)

    # ------------------------------------------------------------------------------------------ learning

    def loss(self, raw: torch.Tensor, targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        points, labelled = one_person(targets, len(raw))
        target, weight = self.rendered(points.float(), labelled, raw)
        return self.terms(raw.float(), target, weight)

    def terms(self, maps: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """Half the mean squared difference of the discs, and of the offsets within them."""
        weight = weight[..., None, None]
        disc = target[:, 0::MAPS]
        offsets = [(disc * (maps[:, part::MAPS] - target[:, part::MAPS])).square().mean() for part in range(1, MAPS)]
        return {"disc": 0.5 * (weight * (maps[:, 0::MAPS] - disc)).square().mean(), "offset": 0.5 * sum(offsets)}

    def rendered(
        self, points: torch.Tensor, labelled: torch.Tensor, maps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the maps should be (B, K * 3, H, W), and which discs count (B, K)."""
        radius = self.radius(maps)
        exact, whole = to_cells(points, _factor(maps))  # (B, K, 2)
        columns, rows = cell_grid(maps)
        across = (exact[..., 0, None, None] - columns).expand(-1, -1, len(rows), -1) / radius  # (B, K, H, W)
        down = (exact[..., 1, None, None] - rows[:, None]).expand(-1, -1, -1, len(columns)) / radius
        weight = labelled * windows_meet(whole, REACH * radius, (maps.shape[-2], maps.shape[-1]))
        disc = (across.square() + down.square() <= 1 + ROUNDING) * weight[..., None, None]
        return torch.stack((disc, across * disc, down * disc), 2).flatten(1, 2), weight


def _factor(maps: torch.Tensor) -> tuple[float, float]:
    """Input pixels to a cell, across and down, between the first and the last of each."""
    height, width = maps.shape[-2:]
    return (STRIDE * width - 1) / (width - 1), (STRIDE * height - 1) / (height - 1)
