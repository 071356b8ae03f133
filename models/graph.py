"""Rows of a YAML become modules and their wiring; layers are looked up in a table of names."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from models import layers
from utils.core.config import did_you_mean
from utils.core.contract import Row

# What a row may name. The first argument of all but the last two is the number of output channels.
LAYERS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        layers.Conv, layers.DWConv, layers.Bottleneck, layers.C3, layers.SPP, layers.SPPF, layers.Focus,
        layers.ConvFocus, layers.Upsample, layers.Concat,
    )
}  # fmt: skip
WITHOUT_CHANNELS = ("Upsample", "Concat")


@dataclass(frozen=True)
class Place:
    """What a row hands on: how many channels, at which stride."""

    channels: int
    stride: float


class Graph(nn.Module):
    """The rows of a model, run in order; returns the maps of the rows that were asked for."""

    def __init__(self, rows: Sequence[Row], outputs: Sequence[int], *, channels: int = 3) -> None:
        super().__init__()
        if not rows:
            raise ValueError("rows: none found; a network has at least one layer")
        self.outputs = tuple(self._output(index, len(rows)) for index in outputs)
        self.sources: list[tuple[int, ...]] = []
        self.layers = nn.ModuleList()
        places: list[Place] = []
        for index, row in enumerate(rows):
            try:
                sources = _absolute(row.source, index)
                inputs = [places[source] if source >= 0 else Place(channels, 1) for source in sources]
                module, place = _build(row, inputs)
            except ValueError as error:
                raise ValueError(f"row {index} ({row.layer}): {error}") from None
            self.sources.append(sources)
            self.layers.append(module)
            places.append(place)
        self.channels = tuple(places[index].channels for index in self.outputs)
        self.strides = tuple(round(places[index].stride) for index in self.outputs)
        self._kept = {source for sources in self.sources for source in sources} | set(self.outputs)

    @staticmethod
    def _output(index: int, count: int) -> int:
        if not 0 <= index < count:
            raise ValueError(f"head: input row {index} found; rows go from 0 to {count - 1}")
        return index

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor | None] = []
        for index, (layer, sources) in enumerate(zip(self.layers, self.sources, strict=True)):
            inputs = [maps[source] if source >= 0 else images for source in sources]
            result = layer(inputs if isinstance(layer, layers.Concat) else inputs[0])
            maps.append(result if index in self._kept else None)
        return [maps[index] for index in self.outputs]


def _absolute(source: Sequence[int], index: int) -> tuple[int, ...]:
    """Row numbers from the front; -1 stands for the image in the first row only."""
    found = tuple(index + entry if entry < 0 else entry for entry in source)
    for entry, number in zip(source, found, strict=True):
        if number >= index or number < -1 or (number == -1 and index > 0):
            raise ValueError(f"from {entry} is not a row before this one")
    return found


def _build(row: Row, inputs: Sequence[Place]) -> tuple[nn.Module, Place]:
    if row.layer not in LAYERS:
        raise ValueError(f"no layer '{row.layer}' ({', '.join(LAYERS)}){did_you_mean(row.layer, LAYERS)}")
    if row.layer == "Concat":
        if len({place.stride for place in inputs}) > 1:
            sizes = ", ".join(f"1/{place.stride:g}" for place in inputs)
            raise ValueError(f"its inputs have different sizes ({sizes} of the image)")
        return layers.Concat(), Place(sum(place.channels for place in inputs), inputs[0].stride)
    if len(inputs) != 1:
        raise ValueError(f"{len(inputs)} inputs found; only Concat takes more than one")
    module = _construct(row, inputs[0].channels)
    first = module[0] if isinstance(module, nn.Sequential) else module
    channels = inputs[0].channels if row.layer in WITHOUT_CHANNELS else int(row.arguments[0])
    return module, Place(channels, inputs[0].stride * first.reduction)


def _construct(row: Row, channels_in: int) -> nn.Module:
    kind = LAYERS[row.layer]
    if row.layer not in WITHOUT_CHANNELS and not (row.arguments and _is_count(row.arguments[0])):
        raise ValueError(f"arguments {list(row.arguments)} found; expected the number of output channels first")
    options = dict(row.options)
    takes_repeats = "repeats" in inspect.signature(kind).parameters
    if takes_repeats:
        options["repeats"] = row.repeats
    try:
        module = kind(channels_in, *row.arguments, **options)
        if row.repeats == 1 or takes_repeats:
            return module
        rest = (kind(int(row.arguments[0]), *row.arguments, **options) for _ in range(row.repeats - 1))
        return nn.Sequential(module, *rest)
    except (TypeError, RuntimeError) as error:
        accepted = str(inspect.signature(kind)).replace(" -> None", "")
        raise ValueError(f"arguments {list(row.arguments)} {options} do not fit {accepted}: {error}") from None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def scaled(rows: Sequence[Row], *, depth: float, width: float, activation: str) -> tuple[Row, ...]:
    """Rows as a YAML writes them for all sizes -> the rows of one size, activations filled in."""
    for name, value in (("depth_multiple", depth), ("width_multiple", width)):
        if not (math.isfinite(value) and 0 < value <= 8):
            raise ValueError(f"{name}: found {value:g}; expected a number above 0, at most 8")
    return tuple(_scaled_row(row, depth, width, activation) for row in rows)


def _scaled_row(row: Row, depth: float, width: float, activation: str) -> Row:
    repeats = max(round(row.repeats * depth), 1) if row.repeats > 1 else row.repeats
    arguments, options = row.arguments, dict(row.options)
    if row.layer in LAYERS and row.layer not in WITHOUT_CHANNELS and arguments and _is_count(arguments[0]):
        arguments = (math.ceil(arguments[0] * width / 8) * 8, *arguments[1:])
        options.setdefault("activation", activation)
    return replace(row, repeats=repeats, arguments=arguments, options=options)
