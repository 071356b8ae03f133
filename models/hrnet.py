"""The HRNet trunk: four branches of ever coarser maps that exchange what they see, the finest never given up.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", 2019.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.layers import Conv
from models.polarised import Attention, attention_named

STRIDE = 4  # of the finest branch
COARSEST = 32
EXPANSION = 4  # channels that a bottleneck gives, as a multiple of those inside
STAGES = (2, 3, 4)  # their names are their numbers of branches
# Published state dicts: flat with or without 'backbone.' in front (the repository of this seed, mmpose; official
# HRNet, SimDR), ImageNet classifiers with heads that nothing here needs.
_FRONT = r"^(?:backbone\.)?"
PUBLISHED_NAMES = (
    (r"^data_preprocessor\.", ""),
    (_FRONT + r"(?:incre_modules|downsamp_modules|classifier|final_layer\.\d)\.", ""),
    (_FRONT + r"(conv|bn)([12])\.", r"trunk.conv\2.\1."),
    (_FRONT + r"((?:layer1|stage\d\.\d+\.branches\.\d)\.\d+)\.(conv|bn)(\d)\.", r"trunk.\1.conv\3.\2."),
    (_FRONT + r"(layer1\.\d+)\.downsample\.0\.", r"trunk.\1.shortcut.conv."),
    (_FRONT + r"(layer1\.\d+)\.downsample\.1\.", r"trunk.\1.shortcut.bn."),
    (_FRONT + r"(transition\d\.\d+(?:\.\d+)?)\.0\.(\w+)$", r"trunk.\1.conv.\2"),
    (_FRONT + r"(transition\d\.\d+(?:\.\d+)?)\.1\.(\w+)$", r"trunk.\1.bn.\2"),
    (_FRONT + r"(stage\d\.\d+\.fuse_layers\.\d\.\d(?:\.\d)?)\.0\.(\w+)$", r"trunk.\1.conv.\2"),
    (_FRONT + r"(stage\d\.\d+\.fuse_layers\.\d\.\d(?:\.\d)?)\.1\.(\w+)$", r"trunk.\1.bn.\2"),
    (r"^(?:(?:keypoint_)?head\.)?final_layer\.", "head."),
)


@dataclass(frozen=True)
class TrunkSettings:
    """How large a trunk is; the defaults are HRNet-w32."""

    width: int = 32  # channels of the finest branch; each coarser one has twice as many
    stem: int = 64  # channels at strides 2 and 4
    bottlenecks: int = 4
    blocks: int = 4  # in each branch, between two exchanges
    modules: tuple[int, int, int] = (1, 4, 3)  # exchanges with two, three and four branches
    attention: Attention = "none"  # in every basic block


class NormedConv(Conv):
    """Convolution, normalisation with torch's own constants, ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, *, activation: str = "relu"
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, activation=activation)
        self.bn = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 to four times the channels, added to the input."""

    def __init__(self, channels_in: int, inner: int) -> None:
        super().__init__()
        channels_out = EXPANSION * inner
        self.conv1 = NormedConv(channels_in, inner, 1)
        self.conv2 = NormedConv(inner, inner)
        self.conv3 = NormedConv(inner, channels_out, 1, activation="none")
        fits = channels_in == channels_out
        self.shortcut = nn.Identity() if fits else NormedConv(channels_in, channels_out, 1, activation="none")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.shortcut(x) + self.conv3(self.conv2(self.conv1(x)))).relu()


class BasicBlock(nn.Module):
    """Two 3x3, added to the input; attention, if any, after the first."""

    def __init__(self, channels: int, attention: Attention) -> None:
        super().__init__()
        self.conv1 = NormedConv(channels, channels)
        self.attention = attention_named(attention, channels)
        self.conv2 = NormedConv(channels, channels, activation="none")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.conv2(self.attention(self.conv1(x)))).relu()


class Exchange(nn.Module):
    """Each branch goes its way for some blocks; then every output is the sum of all branches at its resolution."""

    def __init__(self, widths: Sequence[int], outputs: int, settings: TrunkSettings) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, settings.attention) for _ in range(settings.blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_between(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        seen = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for layers in self.fuse_layers:
            total = layers[0](seen[0])
            for layer, x in zip(layers[1:], seen[1:], strict=True):
                total = total + layer(x)
            fused.append(total.relu())
        return fused


class Enlarged(NormedConv):
    """1x1, then each cell becomes a block of equal ones."""

    def __init__(self, channels_in: int, channels_out: int, factor: int) -> None:
        super().__init__(channels_in, channels_out, 1, activation="none")
        self.act = nn.Upsample(scale_factor=factor, mode="nearest")


def _between(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch's resolution to another's."""
    if source == target:
        return nn.Identity()
    if source > target:
        return Enlarged(widths[source], widths[target], 2 ** (source - target))
    halvings = [NormedConv(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, NormedConv(widths[source], widths[target], stride=2, activation="none"))


class Trunk(nn.Module):
    """Images (B, 3, H, W) -> the maps of the finest branch, or of as many as are asked for, finest first."""

    def __init__(self, settings: TrunkSettings, outputs: int = 1) -> None:
        super().__init__()
        widths = [settings.width * 2**branch for branch in range(4)]
        stem, early = settings.stem, EXPANSION * settings.stem
        self.conv1 = NormedConv(3, stem, stride=2)
        self.conv2 = NormedConv(stem, stem, stride=2)
        self.layer1 = nn.Sequential(
            *(BottleneckBlock(early if i else stem, stem) for i in range(settings.bottlenecks)),
        )
        self.transition1 = nn.ModuleList(
            (NormedConv(early, widths[0]), nn.Sequential(NormedConv(early, widths[1], stride=2)))
        )
        self.transition2 = _new_branch(widths[:3])
        self.transition3 = _new_branch(widths)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(
                *(
                    Exchange(widths[:branches], outputs if branches == 4 and i + 1 == count else branches, settings)
                    for i in range(count)
                )
            )
            for branches, count in zip(STAGES, settings.modules, strict=True)
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        early = self.layer1(self.conv2(self.conv1(images)))
        maps = self.stage2([transition(early) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        return self.stage4([*maps, self.transition3[-1](maps[-1])])


def _new_branch(widths: Sequence[int]) -> nn.ModuleList:
    """All branches pass, and the coarsest one gives birth to a new one."""
    born = nn.Sequential(NormedConv(widths[-2], widths[-1], stride=2))
    return nn.ModuleList((*(nn.Identity() for _ in widths[:-1]), born))


def settings_of(names: Collection[str], width: int, stem: int) -> TrunkSettings:
    """The trunk that weights under our names belong to."""

    def count(beginning: str) -> int:
        found = {name.removeprefix(beginning).split(".")[0] for name in names if name.startswith(beginning)}
        return len(found)

    return TrunkSettings(
        width=width,
        stem=stem,
        bottlenecks=count("trunk.layer1."),
        blocks=count("trunk.stage2.0.branches.0."),
        modules=tuple(count(f"trunk.stage{stage}.") for stage in STAGES),
    )
