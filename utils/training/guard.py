"""Guard: remembers on the device which batches had a loss that is not a number, and keeps the statistics finite."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from utils.training.optimizer import NORMS


@dataclass(frozen=True)
class Bad:
    """A batch whose loss, or in whose step a gradient, was not a number."""

    step: int
    names: tuple[str, ...]  # of its images
    what: str  # loss or gradient


class Guard:
    """The optimizer skips a step that is not finite by itself; what a forward pass leaves behind is put back here.

    Nothing waits for the device until `look`, which should therefore be rare.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        norms = [module for module in model.modules() if isinstance(module, NORMS)]
        self._statistics = [
            buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point() and buffer.numel()
        ]
        self._good = self._flat()
        self._fine = torch.zeros((), dtype=torch.bool, device=device)
        self._losses: list[torch.Tensor] = []  # per batch: whether it was bad
        self._gradients: list[torch.Tensor] = []
        self._batches: list[tuple[int, tuple[str, ...]]] = []
        self._settled = 0  # batches whose step is done

    def watch_loss(self, total: torch.Tensor, step: int, names: Sequence[str]) -> None:
        """Remember the verdict on one batch, without reading it."""
        self._losses.append(~torch.isfinite(total.detach()))
        self._gradients.append(self._fine)
        self._batches.append((step, tuple(names)))

    def watch_gradient(self, length: torch.Tensor) -> None:
        """A gradient belongs to all batches of its step."""
        verdict = ~torch.isfinite(length.detach())
        for index in range(self._settled, len(self._gradients)):
            self._gradients[index] = verdict

    def settle(self) -> None:
        """After a step of the optimizer: keep the statistics if all was well, else put the last good ones back."""
        if self._statistics:
            found = self._flat()
            verdicts = [*self._losses[self._settled :], *self._gradients[self._settled :]]
            bad = torch.stack([*verdicts, ~torch.isfinite(found).all()]).any()
            self._good = torch.where(bad, self._good, found)
            parts = self._good.split([buffer.numel() for buffer in self._statistics])
            pairs = zip(parts, self._statistics, strict=True)
            torch._foreach_copy_(self._statistics, [part.view_as(buffer) for part, buffer in pairs])
        self._settled = len(self._batches)

    def look(self) -> tuple[int, list[Bad]]:
        """How many batches there were since the last look, and the bad ones. Waits for the device."""
        verdicts = torch.stack([*self._losses, *self._gradients]).tolist() if self._batches else []
        count = len(self._batches)
        found = [
            Bad(step, names, "loss" if loss else "gradient")
            for (step, names), loss, gradient in zip(self._batches, verdicts[:count], verdicts[count:], strict=True)
            if loss or gradient
        ]
        self._losses, self._gradients, self._batches, self._settled = [], [], [], 0
        return count, found

    def _flat(self) -> torch.Tensor:
        return torch.cat([buffer.flatten() for buffer in self._statistics]) if self._statistics else torch.zeros(0)


def blame(bad: Sequence[Bad], epoch: int, steps_per_epoch: int) -> str:
    """One clause about batches that were not finite: where, and which images."""
    first = min(entry.step for entry in bad)
    names = [name for entry in bad if entry.step == first for name in entry.names]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    other = f" ({len({entry.step for entry in bad}) - 1} later steps too)" if len(bad) > 1 else ""
    return (
        f"epoch {epoch}, step {first % steps_per_epoch}{other}: "
        f"the {bad[0].what} is not a number for {', '.join(names[:8])}{more}"
    )
