"""The building blocks of the YOLO networks: convolutions, CSP blocks, pyramids of pools, and the stems."""

import copy
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import nn

ACTIVATIONS = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "none": nn.Identity,
}
Activation = str  # one of the above


def activation_named(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation '{name}' found; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class Conv(nn.Module):
    """Convolution, batch normalisation, activation."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        *,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.03)
        self.act = activation_named(activation)

    @property
    def reduction(self) -> int:
        return self.conv.stride[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(x)))

    def fused(self) -> nn.Sequential:
        """The same function in evaluation, with the normalisation folded into the convolution."""
        conv, bn = self.conv, self.bn
        folded = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, groups=conv.groups
        ).to(conv.weight)
        with torch.no_grad():
            factor = bn.weight / torch.sqrt(bn.running_var + bn.eps)
            folded.weight.copy_(conv.weight * factor.view(-1, 1, 1, 1))
            folded.bias.copy_(bn.bias - bn.running_mean * factor)
        return nn.Sequential(folded, copy.deepcopy(self.act))


class DWConv(Conv):
    """Depthwise convolution: as many groups as fit both sides."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, *, activation: Activation = "silu"
    ) -> None:
        groups = math.gcd(channels_in, channels_out)
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, activation=activation)


class Bottleneck(nn.Module):
    """1x1, then 3x3, added to its input where that fits."""

    reduction = 1

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        shortcut: bool = True,
        expansion: float = 0.5,
        *,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        hidden = int(channels_out * expansion)
        self.cv1 = Conv(channels_in, hidden, 1, activation=activation)
        self.cv2 = Conv(hidden, channels_out, 3, activation=activation)
        self.adds = shortcut and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.adds else y


class C3(nn.Module):
    """Cross-stage partial block: bottlenecks on one half of the channels, the other half passes by."""

    reduction = 1

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        shortcut: bool = True,
        *,
        repeats: int = 1,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        hidden = channels_out // 2
        self.cv1 = Conv(channels_in, hidden, activation=activation)
        self.cv2 = Conv(channels_in, hidden, activation=activation)
        self.cv3 = Conv(2 * hidden, channels_out, activation=activation)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, hidden, shortcut, 1.0, activation=activation) for _ in range(repeats))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class SPP(nn.Module):
    """Spatial pyramid: the input beside its maxima over growing windows.

    A window of 2n + 1 is n windows of 3 in a row: the same numbers, and accelerators have the 3x3 pool.
    """

    reduction = 1

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        windows: Sequence[int] = (5, 9, 13),
        *,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        if any(window % 2 == 0 or window < 3 for window in windows) or sorted(windows) != list(windows):
            raise ValueError(f"windows {list(windows)} found; expected odd sizes from 3 on, growing")
        hidden = channels_in // 2
        self.cv1 = Conv(channels_in, hidden, activation=activation)
        self.cv2 = Conv(hidden * (len(windows) + 1), channels_out, activation=activation)
        steps = [after // 2 - before // 2 for before, after in zip((1, *windows), windows, strict=False)]
        self.pools = nn.ModuleList(nn.Sequential(*(nn.MaxPool2d(3, 1, 1) for _ in range(step))) for step in steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maxima = [self.cv1(x)]
        for pool in self.pools:
            maxima.append(pool(maxima[-1]))
        return self.cv2(torch.cat(maxima, 1))


class SPPF(SPP):
    """The pyramid of later YOLOv5 releases: three equal windows, one on top of the other."""

    def __init__(
        self, channels_in: int, channels_out: int, window: int = 5, *, activation: Activation = "silu"
    ) -> None:
        half = window // 2
        super().__init__(channels_in, channels_out, [1 + 2 * half * n for n in (1, 2, 3)], activation=activation)


class Focus(nn.Module):
    """Each 2x2 block of pixels becomes channels, then a convolution.

    Which pixel of the block comes when differs between published networks and cannot be seen in their weights:
    'rows' takes the upper pair first (TI), 'columns' the left pair (the original).
    """

    reduction = 2
    ORDERS: ClassVar = {"rows": ((0, 0), (0, 1), (1, 0), (1, 1)), "columns": ((0, 0), (1, 0), (0, 1), (1, 1))}

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        *,
        order: Literal["rows", "columns"] = "rows",
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        if order not in self.ORDERS:
            raise ValueError(f"order '{order}' found; expected rows or columns")
        self.order = order
        self.conv = Conv(4 * channels_in, channels_out, kernel, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.cat([x[..., row::2, column::2] for row, column in self.ORDERS[self.order]], 1))


class ConvFocus(nn.Module):
    """Focus without strided slices, for accelerators: a learned 3x3 convolution with stride 2 takes their place."""

    reduction = 2

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, *, activation: Activation = "silu"
    ) -> None:
        super().__init__()
        self.conv_slice = Conv(channels_in, 4 * channels_in, 3, 2, activation=activation)
        self.conv = Conv(4 * channels_in, channels_out, kernel, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.conv_slice(x))


class Upsample(nn.Upsample):
    """Each pixel becomes a block of equal ones."""

    def __init__(self, channels_in: int, factor: int = 2) -> None:
        super().__init__(scale_factor=factor, mode="nearest")

    @property
    def reduction(self) -> float:
        return 1 / self.scale_factor


class Concat(nn.Module):
    """Several maps of one size, channel after channel."""

    reduction = 1

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tuple(maps), 1)


def fused(model: nn.Module) -> nn.Module:
    """A copy of a network for evaluation, every normalisation folded into the convolution before it."""
    return _with_fused_convolutions(copy.deepcopy(model)).eval()


def _with_fused_convolutions(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, child.fused() if isinstance(child, Conv) else _with_fused_convolutions(child))
    return module
