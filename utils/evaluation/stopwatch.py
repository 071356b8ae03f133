"""Where the time of an evaluation goes: waiting for images, the network, the selection after it, the counting."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

Item = TypeVar("Item")


@dataclass(frozen=True)
class Seconds:
    """Sums over what this process did."""

    images: int  # that went through the network
    loading: float  # waiting for the next batch
    network: float
    selection: float  # decoding, suppression and the way back to original pixels
    evaluation: float

    @property
    def milliseconds(self) -> float:
        """Per image, from the network's input to people in original pixels."""
        return 1000 * (self.network + self.selection) / max(self.images, 1)

    @property
    def line(self) -> str:
        parts = {"loading": self.loading, "network": self.network, "selection": self.selection}
        listed = ", ".join(f"{name} {1000 * part / max(self.images, 1):.1f}" for name, part in parts.items())
        total = max(sum(parts.values()) + self.evaluation, 1e-9)
        shares = f"selection {self.selection / total:.1%} and evaluation {self.evaluation / total:.1%} of the time"
        return (
            f"ms per image: {listed} ({self.images} images); evaluation {self.evaluation:.2f} s; "
            f"{self.images / total:.1f} images/s, {shares}"
        )


class Stopwatch:
    """Takes the times. With the network at hand its share of the prediction is told apart from the rest."""

    def __init__(self, network: nn.Module | None = None) -> None:
        self.network = network
        self.loading = self.predicting = self.forward = self.evaluating = 0.0
        self.images = 0

    def waits(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time until each of them is there counts as loading."""
        start = _now()
        for item in items:
            self.loading += _now() - start
            yield item
            start = _now()

    @contextmanager
    def predicts(self, images: int) -> Iterator[None]:
        hooks = [] if self.network is None else self._hooks(self.network)
        start = _now()
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self.predicting += _now() - start
        self.images += images

    @contextmanager
    def evaluates(self) -> Iterator[None]:
        start = _now()
        yield
        self.evaluating += _now() - start

    @property
    def seconds(self) -> Seconds:
        return Seconds(self.images, self.loading, self.forward, self.predicting - self.forward, self.evaluating)

    def _hooks(self, network: nn.Module) -> list[Any]:
        started: list[float] = []

        def before(*_: Any) -> None:
            started.append(_now())

        def after(*_: Any) -> None:
            self.forward += _now() - started.pop()

        return [network.register_forward_pre_hook(before), network.register_forward_hook(after)]


def _now() -> float:
    """The time when everything that was given to a GPU is done."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
