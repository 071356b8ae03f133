"""Polarised self-attention: which channels and which places matter, each found while the other is pooled away.

Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021, as released: the parallel
block takes its softmax after the product of query and value, the sequential one before.
"""

from typing import Literal

import torch
from torch import nn

Attention = Literal["none", "parallel", "sequential"]


class Parallel(nn.Module):
    """Both attentions look at the same input, and what they let through is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.place_query = nn.Conv2d(channels, 1, 1, bias=False)
        self.place_value = nn.Conv2d(channels, inner, 1, bias=False)
        self.spread = nn.Conv2d(inner, channels, 1, bias=False)
        self.channel_query = nn.Conv2d(channels, inner, 1, bias=False)
        self.channel_value = nn.Conv2d(channels, inner, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.channels(x) + x * self.places(x)

    def channels(self, x: torch.Tensor) -> torch.Tensor:
        """How much each channel counts: (B, C, 1, 1) in 0..1."""
        where = self.place_query(x).flatten(2).softmax(-1)  # (B, 1, HW)
        seen = self.place_value(x).flatten(2) @ where.transpose(1, 2)  # (B, C / 2, 1)
        return self.spread(seen[..., None]).sigmoid()

    def places(self, x: torch.Tensor) -> torch.Tensor:
        """How much each place counts: (B, 1, H, W) in 0..1."""
        query, value = self.channel_query(x).mean((2, 3)), self.channel_value(x).flatten(2)
        answer = (query[:, None] @ value).softmax(-1)  # (B, 1, HW)
        return answer.view(-1, 1, *x.shape[2:]).sigmoid()


class Sequential(Parallel):
    """Places are looked at in what the attention to channels has let through."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        narrow = channels // 8
        self.spread = nn.Sequential(
            nn.Conv2d(channels // 2, narrow, 1), nn.LayerNorm([narrow, 1, 1]), nn.ReLU(), nn.Conv2d(narrow, channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x * self.channels(x)
        return kept * self.places(kept)

    def places(self, x: torch.Tensor) -> torch.Tensor:
        query, value = self.channel_query(x).mean((2, 3)), self.channel_value(x).flatten(2).softmax(-1)
        return (query[:, None] @ value).view(-1, 1, *x.shape[2:]).sigmoid()


def attention_named(name: Attention, channels: int) -> nn.Module:
    return {"none": lambda _: nn.Identity(), "parallel": Parallel, "sequential": Sequential}[name](channels)
