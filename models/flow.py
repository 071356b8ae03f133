"""A normalising flow on the plane: the density of regression errors, learned while the regression is.

Dinh et al., "Density Estimation Using Real NVP", 2017.
"""

import math
from itertools import pairwise

import torch
from torch import nn

HIDDEN = 64
MASKS = ((0.0, 1.0), (1.0, 0.0)) * 3  # which coordinate each layer leaves alone


class Flow(nn.Module):
    """Six layers that each move one coordinate by what the other one says."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("masks", torch.tensor(MASKS), persistent=False)
        self.scales = nn.ModuleList(nn.Sequential(*_network(), nn.Tanh()) for _ in MASKS)
        self.shifts = nn.ModuleList(nn.Sequential(*_network()) for _ in MASKS)

    def log_density(self, points: torch.Tensor) -> torch.Tensor:
        """Points (..., 2) -> the logarithm of how dense they lie (...)."""
        growth = points.new_zeros(points.shape[:-1])
        for mask, scale, shift in zip(self.masks.flip(0), reversed(self.scales), reversed(self.shifts), strict=True):
            kept = mask * points
            stretch, moved = scale(kept) * (1 - mask), shift(kept) * (1 - mask)
            points = kept + (1 - mask) * (points - moved) * torch.exp(-stretch)
            growth = growth - stretch.sum(-1)
        return growth - points.square().sum(-1) / 2 - math.log(2 * math.pi)


def _network() -> list[nn.Module]:
    sizes = (2, HIDDEN, HIDDEN, 2)
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.LeakyReLU())][:-1]
    # A new flow moves nothing: the density is a normal one, and its top is where the error is 0.
    nn.init.zeros_(layers[-1].weight)
    nn.init.zeros_(layers[-1].bias)
    return layers
