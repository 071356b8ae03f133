"""Reads the layers of a YOLO network off its pickled modules: the checkpoint decides what is built, no YAML does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from utils.core.contract import Row
from utils.core.published import Published
from utils.core.unpickling import Record

ACTIVATIONS = {"SiLU": "silu", "ReLU": "relu", "Hardswish": "hardswish", "LeakyReLU": "leaky_relu", "Identity": "none"}

OF_YOLOV7 = ("IKeypoint", "IDetect", "IAuxDetect", "IBin")


@dataclass(frozen=True)
class Pickled:
    """A network of the YOLOv5 lineage as its checkpoint holds it: rows for the graph, and the record of its head."""

    rows: tuple[Row, ...]
    head: Record
    inputs: tuple[int, ...]  # rows that the head reads
    class_names: tuple[str, ...]

    @property
    def anchors(self) -> tuple[tuple[float, ...], ...]:
        """Pixels per level, from the buffers: autoanchor changes those, not the stored YAML."""
        buffers = self.head.attributes.get("_buffers", {})
        pixels = buffers.get("anchor_grid")
        if not isinstance(pixels, torch.Tensor):  # later releases keep them in cells only
            pixels = buffers["anchors"].float() * self.head.attributes["stride"].float().view(-1, 1, 1)
        return tuple(tuple(level) for level in pixels.float().flatten(1).tolist())


def read_network(published: Published) -> Pickled | None:
    """The layers of a pickled YOLO network with a Detect head; None when it is something else."""
    network = published.module
    layers = network.children.get("model") if network else None
    if network is None or layers is None or not layers.children:
        return None
    *body, head = layers.children.values()
    if head.kind != "Detect":
        return None
    try:
        rows = tuple(_row(record) for record in body)
        inputs = tuple(int(index) for index in head.attributes["f"])
        class_names = _class_names(network.attributes.get("names"), int(head.attributes["nc"]))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{published.path}: a YOLO network, but not one that can be rebuilt ({error})") from None
    except ValueError as error:
        raise ValueError(f"{published.path}: {error}") from None
    return Pickled(rows, head, inputs, class_names)


def stranger(published: Published) -> str | None:
    """What a pickled network is whose layers nobody here can build, whatever they are called; None for any other."""
    network = published.module
    layers = network.children.get("model") if network else None
    if network is None or layers is None or not layers.children:
        return None
    head = list(layers.children.values())[-1].kind
    if network.origin.startswith("ultralytics."):
        return f"a {network.kind} of Ultralytics' package"
    return f"a network of YOLOv7 (its head is '{head}')" if head in OF_YOLOV7 else None


def _class_names(names: Any, count: int) -> tuple[str, ...]:
    """As stored, in a list or by number; invented where the number of classes is another."""
    names = list(names.values()) if isinstance(names, Mapping) else list(names or ())
    return tuple(map(str, names)) if len(names) == count else tuple(f"class_{i}" for i in range(count))


def _row(record: Record) -> Row:
    source = record.attributes["f"]
    source = tuple(source) if isinstance(source, (list, tuple)) else (source,)
    if record.kind not in READERS:
        raise ValueError(f"layer {record.attributes.get('i')} is a {record.kind}; known are {', '.join(READERS)}")
    name, repeats, arguments, options = READERS[record.kind](record)
    return Row(source, repeats, name, arguments, options)


Parts = tuple[str, int, tuple[Any, ...], dict[str, Any]]  # layer, repeats, arguments, options


def _conv(record: Record) -> Parts:
    conv = record.children["conv"].attributes
    kernel, stride, padding = conv["kernel_size"][0], conv["stride"][0], conv["padding"][0]
    return "Conv", 1, (conv["out_channels"], kernel, stride, padding, conv["groups"]), _activation(record)


def _c3(record: Record) -> Parts:
    blocks = record.children["m"].children
    if any(block.kind != "Bottleneck" for block in blocks.values()):
        raise ValueError(f"layer {record.attributes.get('i')}: a C3 of {blocks['0'].kind}; known is Bottleneck")
    shortcut = bool(blocks["0"].attributes["add"])
    return "C3", len(blocks), (_channels(record.children["cv3"]), shortcut), _activation(record.children["cv1"])


def _bottleneck(record: Record) -> Parts:
    hidden, out = _channels(record.children["cv1"]), _channels(record.children["cv2"])
    return "Bottleneck", 1, (out, bool(record.attributes["add"]), hidden / out), _activation(record.children["cv1"])


def _spp(record: Record) -> Parts:
    windows = tuple(_window(pool) for pool in record.children["m"].children.values())
    return "SPP", 1, (_channels(record.children["cv2"]), windows), _activation(record.children["cv1"])


def _window(pool: Record) -> int:
    """The window of one pool, or of 3x3 pools in a row."""
    if pool.kind == "Sequential":
        return 2 * len(pool.children) + 1
    return int(pool.attributes["kernel_size"])


def _sppf(record: Record) -> Parts:
    window = int(record.children["m"].attributes["kernel_size"])
    return "SPPF", 1, (_channels(record.children["cv2"]), window), _activation(record.children["cv1"])


def _focus(record: Record) -> Parts:
    """TI's older files call both stems Focus; what is inside tells them apart."""
    conv = record.children["conv"]
    kernel = conv.children["conv"].attributes["kernel_size"][0]
    options = _activation(conv)
    if "conv_slice" in record.children:
        return "ConvFocus", 1, (_channels(conv), kernel), options
    order = "rows" if "contract" in record.children else "columns"
    return "Focus", 1, (_channels(conv), kernel), {**options, "order": order}


def _upsample(record: Record) -> Parts:
    return "Upsample", 1, (int(record.attributes["scale_factor"]),), {}


def _concat(record: Record) -> Parts:
    return "Concat", 1, (), {}


READERS = {
    "Conv": _conv,
    "DWConv": _conv,
    "C3": _c3,
    "Bottleneck": _bottleneck,
    "SPP": _spp,
    "SPPF": _sppf,
    "Focus": _focus,
    "ConvFocus": _focus,
    "Upsample": _upsample,
    "Concat": _concat,
}


def _channels(conv: Record) -> int:
    return int(conv.children["conv"].attributes["out_channels"])


def _activation(conv: Record) -> dict[str, str]:
    if "bn" not in conv.children:
        raise ValueError("its normalisation is folded away; expected a checkpoint as training wrote it")
    kind = conv.children["act"].kind
    if kind not in ACTIVATIONS:
        raise ValueError(f"activation {kind} found; known are {', '.join(ACTIVATIONS)}")
    return {"activation": ACTIVATIONS[kind]}
