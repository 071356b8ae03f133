"""python -m models.summary NAME [--img 640] [--json]: layers, shapes, parameters, GMACs of a YAML or a checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from utils.core.command import Parser, run
from utils.core.flags import image_size

if TYPE_CHECKING:  # imported where they are used: --help answers at once
    from torch import nn

    from utils.core.contract import PoseModel


@dataclass(frozen=True)
class Part:
    """One row of the network, or its head."""

    name: str
    what: str
    shapes: tuple[tuple[int, ...], ...]
    params: int
    gmacs: float


@dataclass(frozen=True)
class Summary:
    """Parameters are those that training sees; GMACs are those of the fused network for one image."""

    params: int
    gmacs: float
    conv_gmacs: float  # of these what convolutions multiply, without the biases that are added
    input_size: tuple[int, int]
    parts: tuple[Part, ...]


def summarise(model: "PoseModel", size: tuple[int, int] | None = None) -> Summary:
    """Count without computing: the network runs on tensors that have a shape and no values.

    A GMAC is 1e9 multiply-adds: one for each use of a weight, and one for each bias that is added. This rule, on the
    fused network, gives the published figures.
    """
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    from models.layers import fused

    size = size or model.spec.input_size
    if any(side % model.stride for side in size):
        raise ValueError(f"--img {size[0]} {size[1]}: both sides must be multiples of {model.stride}")
    lean = fused(model).to("meta")
    counter = FlopCounterMode(display=False)
    watched = {name: module for name, module in lean.named_modules() if _is_part(name, module)}
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
    biases: dict[str, int] = {}
    for name, module in watched.items():
        module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: _shapes(out)}))
    for name, module in lean.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.register_forward_hook(lambda _, __, out, name=name: biases.update({name: out.numel()}))
    with torch.no_grad(), counter:
        lean(torch.empty(1, 3, *size, device="meta"))
    root = type(lean).__name__
    counts = {name.removeprefix(f"{root}."): sum(ops.values()) for name, ops in counter.get_flop_counts().items()}

    def gmacs(name: str) -> float:
        added = sum(count for conv, count in biases.items() if conv == name or conv.startswith(f"{name}."))
        return (counts.get(name, 0) / 2 + added) / 1e9

    parts = tuple(
        Part(name, _what(model, name), shapes[name], _params(model.get_submodule(name)), gmacs(name)) for name in shapes
    )
    multiplied, added = counter.get_total_flops() / 2, sum(biases.values())
    return Summary(_params(model), (multiplied + added) / 1e9, multiplied / 1e9, size, parts)


def _is_part(name: str, module: "nn.Module") -> bool:
    """The rows of a graph, and whatever else stands directly in the model."""
    return (name.count(".") == 2 and ".layers." in f".{name}.") or (name.count(".") == 0 and name not in ("", "body"))


def _shapes(output: Any) -> tuple[tuple[int, ...], ...]:
    maps = output if isinstance(output, Sequence) else (output,)
    return tuple(tuple(entry.shape[1:]) for entry in maps)


def _params(module: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _what(model: "PoseModel", name: str) -> str:
    index = name.rpartition(".")[2]
    if not index.isdigit():
        head = model.spec.head
        return " ".join(f"{key}={value}" for key, value in head.items() if not isinstance(value, (list, tuple)))
    row = model.spec.rows[int(index)]
    source = ",".join(map(str, row.source))
    options = "".join(f" {value}" for value in row.options.values())
    repeats = f" x{row.repeats}" if row.repeats > 1 else ""
    arguments = f" {row.to_values()[3]}" if row.arguments else ""
    return f"{row.layer}{repeats}{arguments}{options}  <- {source}"


def as_text(name: str, model: "PoseModel", summary: Summary) -> str:
    spec = model.spec
    lines = [
        f"{name}: {spec.family}, {spec.schema.count} keypoints, {len(spec.classes)} "
        f"class{'es' * (len(spec.classes) != 1)} ({', '.join(spec.classes[:4])}{', ...' * (len(spec.classes) > 4)})",
        "",
        f"{'row':>4}  {'channels x height x width':<27}{'parameters':>12}{'GMACs':>9}  layer",
    ]
    for part in summary.parts:
        index = part.name.rpartition(".")[2]
        for i, shape in enumerate(part.shapes):
            first = i == 0
            numbers = f"{part.params:>12,}{part.gmacs:>9.3f}  {part.what}" if first else ""
            lines.append(f"{index if first else '':>4}  {' x '.join(map(str, shape)):<27}{numbers}".rstrip())
    height, width = summary.input_size
    lines += ["", f"{summary.params:,} parameters, {summary.gmacs:.1f} GMACs at {height} x {width}"]
    lines += [f"{2 * summary.conv_gmacs:.2f} GFLOPs, as many count: twice what convolutions multiply, without biases"]
    return "\n".join(lines)


def main() -> None:
    parser = Parser(description="Layers, shapes, parameters and GMACs of a model YAML or a checkpoint.")
    parser.add_argument("name", help="a model YAML (bare names are found), or a checkpoint: ours or a published .pt")
    parser.add_argument("--img", type=int, nargs="+", metavar="PX", help="input side, or height and width")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    args = parser.parse_args()
    from models.build import load

    model = load(args.name)
    summary = summarise(model, image_size(args.img))
    if args.json:
        facts = asdict(summary) | {"family": model.spec.family, "keypoints": model.spec.schema.count}
        print(json.dumps(facts))
    else:
        print(as_text(args.name, model, summary))


if __name__ == "__main__":
    run(main)
