"""How far two ways to compute the same may lie apart: as far as float32 itself strays from double precision.

A network that was hardly trained gives numbers far larger than its image, and how its sums are ordered depends on the
processor. A fixed tolerance is then too wide on one machine and too narrow on the next.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch

Outputs = tuple[torch.Tensor, ...]
FAR_OUT = 1e-4  # of the distance to the image


def stray(single: torch.Tensor, double: torch.Tensor) -> float:
    """How far float32 is from double precision, as a share of the largest value."""
    return _largest(single.double() - double) / _largest(double)


def in_both_precisions(
    network: torch.nn.Module, inputs: torch.Tensor, run: Callable[[torch.nn.Module, torch.Tensor], Outputs]
) -> list[tuple[torch.Tensor, float]]:
    """What `run` gives in float32, each with its largest distance from the same in double precision."""
    with torch.no_grad():
        single = run(network, inputs)
        double = run(copy.deepcopy(network).double(), inputs.double())
    return [(ours, _largest(ours.double() - exact.double())) for ours, exact in zip(single, double, strict=True)]


def assert_equal_but_for_rounding(found: np.ndarray, expected: tuple[torch.Tensor, float], *, least: float) -> None:
    """Another order of the same sums strays about as far as float32 does; `least` is for outputs that hardly stray."""
    values, strays = expected
    np.testing.assert_allclose(found, values.numpy(), rtol=1e-5, atol=least + 8 * strays)


def assert_near(found: np.ndarray, expected: np.ndarray, *, pixels: float, side: float) -> None:
    """Coordinates within so many pixels; only what lies beyond an image of this side has its rounding on top."""
    found, expected = np.asarray(found), np.asarray(expected)
    allowed = pixels + FAR_OUT * (np.abs(expected) - side).clip(min=0)
    over = np.abs(found - expected) - allowed
    assert found.shape == expected.shape and (over <= 0).all(), f"{over.max():.3g} px more than allowed"


def _largest(difference: torch.Tensor) -> float:
    return difference.abs().max().item() if difference.numel() else 0.0
