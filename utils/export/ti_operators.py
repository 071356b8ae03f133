"""What TI's importer, TIDL, accepts before the heads, and what a graph has beside that, layer by layer."""

from typing import TYPE_CHECKING

from utils.export.trunk import Parts, layer_of

if TYPE_CHECKING:  # imported where it is used
    import onnx

FAST = ("Conv", "Relu", "Clip", "LeakyRelu", "Concat", "Add", "MaxPool", "Resize", "Split", "Slice", "Identity")
POOLS = ([1, 1], [2, 2], [3, 3])
DEPTHWISE = ([1, 1], [3, 3], [5, 5], [7, 7])


def faults(found: Parts) -> list[str]:
    """What the importer does not read, layer by layer."""
    wrong = []
    for node in found.network:
        options = _options(node)
        where = layer_of(node) or node.name
        if node.op_type == "Slice" and _is_strided(node, found):
            wrong.append(f"{where}: a slice with steps, as in the Focus stem")
        if node.op_type == "MaxPool" and options["kernel_shape"] not in POOLS:
            wrong.append(f"{where}: a pool of {options['kernel_shape']}; TI's runtime has 1x1, 2x2 and 3x3")
        if node.op_type == "Conv" and len(set(options.get("strides", [1, 1]))) > 1:
            wrong.append(f"{where}: a convolution with strides {options['strides']}; both must be the same")
        if node.op_type == "Conv" and options.get("group", 1) > 1 and options["kernel_shape"] not in DEPTHWISE:
            wrong.append(f"{where}: a depthwise convolution of {options['kernel_shape']}; TI has 3x3, 5x5 and 7x7")
    return wrong


def remarks(found: Parts) -> tuple[str, ...]:
    """Operators outside the fast ones, by layer. A sigmoid and a product are how SiLU stands in a graph."""
    said = {}
    for node in found.network:
        if node.op_type in FAST:
            continue
        where = layer_of(node) or node.name
        is_silu = node.op_type in ("Sigmoid", "Mul", "HardSwish", "HardSigmoid")
        kind = "SiLU (a table on AM67A, AM68A, AM69A and TDA4VM, not on AM62A; loses accuracy in 8 bits)"
        said[where, kind if is_silu else node.op_type] = None
    return tuple(f"{where}: {kind}" for where, kind in said)


def _options(node: "onnx.NodeProto") -> dict[str, object]:
    import onnx

    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _is_strided(node: "onnx.NodeProto", found: Parts) -> bool:
    """Steps are the fifth input, a constant; one that is not known counts as strided."""
    if len(node.input) < 5:
        return False
    steps = found.constants.get(node.input[4])
    return steps is None or bool((steps != 1).any())
