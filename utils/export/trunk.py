"""Which nodes of a graph are the stem, the trunk and the heads: read off the graph, since families name them freely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # imported where it is used
    import onnx


@dataclass(frozen=True)
class Parts:
    """The nodes that make the raw maps, in order, and the convolutions at both ends."""

    network: tuple["onnx.NodeProto", ...]  # everything that the raw maps need
    stem: "onnx.NodeProto"  # the first convolution
    heads: tuple["onnx.NodeProto", ...]  # convolutions, and what joins their maps
    last: tuple["onnx.NodeProto", ...]  # of these the convolutions right before the raw maps, and what joins them
    constants: Mapping[str, np.ndarray]


def parts(graph: "onnx.GraphProto", raw: Sequence[str]) -> Parts:
    """The parts of a graph whose raw maps have these names.

    A head is the module that the last convolution before a raw map belongs to, if the stem is not in it too; where
    everything is one module, it is that last convolution alone.
    """
    makers = {name: node for node in graph.node for name in node.output}
    needed = _before(raw, makers, stop=())
    network = tuple(node for node in graph.node if node.output[0] in needed)
    stem = next(node for node in network if node.op_type == "Conv")
    at_end = _before(raw, makers, stop=("Conv",))
    last = [node for node in network if node.output[0] in at_end]
    modules = {_module(node) for node in last if node.op_type == "Conv"} - {_module(stem), ""}
    heads = tuple(node for node in network if _module(node) in modules or node in last)
    return Parts(network, stem, heads, tuple(last), _constants(graph))


def _constants(graph: "onnx.GraphProto") -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    found = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _before(names: Sequence[str], makers: dict[str, "onnx.NodeProto"], stop: Sequence[str]) -> set[str]:
    """All tensors that these are made from, themselves included, not beyond nodes of the kinds to stop at."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in makers:
            continue
        node = makers[name]
        found.update(node.output)
        if node.op_type not in stop:
            waiting += node.input
    return found


def layer_of(node: "onnx.NodeProto") -> str:
    """The module that a node was traced from, as in the model: body.layers.10.cv1."""
    path = node.name.split("/")
    inside = [part for part in (path[path.index("model") + 1 : -1] if "model" in path else path[:-1]) if part]
    # A child of a list or a sequence carries its parent's name: body/layers.10/cv1/cv1.1.
    following = [*inside[1:], ""]  # of the model's own nodes there is nothing inside
    return ".".join(part for part, after in zip(inside, following, strict=False) if not after.startswith(f"{part}."))


def _module(node: "onnx.NodeProto") -> str:
    return layer_of(node).partition(".")[0]
