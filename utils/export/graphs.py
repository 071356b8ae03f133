"""Work on ONNX graphs that knows nothing of poses: cutting, joining, simplifying, checking."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is used
    import onnx


def operators(graph: "onnx.ModelProto") -> Counter[str]:
    """How often each operator stands in a graph, those of inner graphs included."""
    return Counter(node.op_type for node in every_node(graph.graph))


def every_node(graph: "onnx.GraphProto") -> list["onnx.NodeProto"]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += every_node(attribute.g)
    return found


def with_outputs(model: "onnx.ModelProto", names: Sequence[str]) -> "onnx.ModelProto":
    """A copy of which only these outputs are left; the others stay as tensors inside, by name and shape."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    by_name = {value.name: value for value in copy.graph.output}
    kept = [by_name[name] for name in names]
    inside = [value for value in copy.graph.output if value.name not in names]
    del copy.graph.output[:]
    copy.graph.output.extend(kept)
    known = {value.name for value in copy.graph.value_info}
    copy.graph.value_info.extend(value for value in inside if value.name not in known)
    return copy


def cut(model: "onnx.ModelProto", outputs: Sequence[str]) -> "onnx.ModelProto":
    """The part of a graph that these of its outputs need."""
    whole = with_outputs(model, outputs)
    needed, kept = set(outputs), []
    for node in reversed(whole.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= {name for part in (node, *_inner(node)) for name in part.input}
    del whole.graph.node[:]
    whole.graph.node.extend(reversed(kept))
    for values in (whole.graph.initializer, whole.graph.value_info):
        used = [value for value in values if value.name in needed]
        del values[:]
        values.extend(used)
    return whole


def between(model: "onnx.ModelProto", inputs: Sequence[str], outputs: Sequence[str]) -> "onnx.ModelProto":
    """The part of a graph that makes these outputs of these tensors."""
    import onnx

    known = onnx.shape_inference.infer_shapes(model)
    return onnx.utils.Extractor(known).extract_model(list(inputs), list(outputs))


def _inner(node: "onnx.NodeProto") -> list["onnx.NodeProto"]:
    return [inner for attribute in node.attribute if attribute.HasField("g") for inner in every_node(attribute.g)]


def for_each_image(
    batch: "onnx.ModelProto", single: "onnx.ModelProto", handed_over: Sequence[str], output: str
) -> "onnx.ModelProto":
    """Join a graph over a batch with one for a single image: a Scan runs the second for every image of the first.

    `handed_over` are outputs of the first and inputs of the second, which lacks their first dimension.
    """
    import onnx
    from onnx import helper

    inner = onnx.compose.add_prefix(single, "each/")
    body = inner.graph
    scan = helper.make_node(
        "Scan", list(handed_over), [output], name="for_each_image", body=body, num_scan_inputs=len(handed_over)
    )
    joined = onnx.ModelProto()
    joined.CopyFrom(batch)
    joined.graph.node.append(scan)
    element = body.output[0].type.tensor_type
    images = batch.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    shape = [images, *(side.dim_param or side.dim_value for side in element.shape.dim)]
    joined.graph.output.insert(0, helper.make_tensor_value_info(output, element.elem_type, shape))
    return joined


def simplified(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Constants folded, doubles merged. A result that is not smaller is not taken."""
    import onnxslim

    slim = onnxslim.slim(model)
    return slim if len(slim.graph.node) <= len(model.graph.node) else model


def check(model: "onnx.ModelProto") -> None:
    """The rules of ONNX, with shapes inferred strictly; nothing but the standard's operators."""
    import onnx

    strange = [entry.domain for entry in model.opset_import if entry.domain not in ("", "ai.onnx")]
    assert not strange, f"operators of {strange} in the graph; runtimes have the standard's only"
    onnx.checker.check_model(model, full_check=True)


def opset_of(model: "onnx.ModelProto") -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def shapes(model: "onnx.ModelProto") -> Mapping[str, tuple[int | str, ...]]:
    """Every tensor whose shape is known, with it."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
