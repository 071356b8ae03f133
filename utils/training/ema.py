"""Ema: the slow average of a model's weights and statistics, which is what is evaluated and kept."""

import copy
import math

import torch
from torch import distributed, nn


def decay_at(update: int, decay: float = 0.9999, ramp: float = 2000.0) -> float:
    """How much of the average stays at its n-th update; in the beginning little, so that it follows quickly."""
    return decay * (1 - math.exp(-update / ramp))


class Ema:
    """A copy of the model whose floating state entries follow the original's; whole numbers are left alone."""

    def __init__(
        self, model: nn.Module, *, decay: float = 0.9999, ramp: float = 2000.0, copies_first: bool = False
    ) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.ramp, self.updates = decay, ramp, 0
        self.copies_first = copies_first
        self._averages, self._sources = floating_state(self.model), floating_state(model)

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        copies = self.copies_first and self.updates == 1
        share = 1.0 if copies else 1 - decay_at(self.updates, self.decay, self.ramp)
        torch._foreach_lerp_(self._averages, self._sources, share)

    def agree(self) -> None:
        """Take rank 0's average: batch statistics differ between ranks, and all must evaluate the same network."""
        if distributed.is_initialized():
            for tensor in self._averages:
                distributed.broadcast(tensor, 0)


def floating_state(model: nn.Module) -> list[torch.Tensor]:
    """The entries of a state dict that can be averaged, sharing their memory with the model."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
