"""A model as an ONNX file: decode and select of its own family inside the graph, and what the file says of itself."""

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from utils.core.contract import PoseModel
from utils.export import graphs
from utils.export.early_rows import rows_first
from utils.export.layout import CANDIDATES, DETECTIONS, IMAGES, EndToEnd, Export, Proposing, Selecting, most_people
from utils.export.metadata import metadata

if TYPE_CHECKING:  # imported where it is used
    import onnx

OPSETS = range(13, 21)  # that torch's tracing exporter translates


@dataclass(frozen=True)
class Exported:
    """A graph, and which of its tensors are what."""

    graph: "onnx.ModelProto"
    outputs: tuple[str, ...]  # that a user sees
    raw: tuple[str, ...]  # the maps of the network
    nodes_traced: int  # before simplification


def to_onnx(model: PoseModel, export: Export) -> Exported:
    """The graph that was asked for, with the tensors that it is made of as further outputs."""
    if export.opset not in OPSETS:
        raise ValueError(f"--opset: found {export.opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
    dtype = torch.float16 if export.half else torch.float32
    model = copy.deepcopy(model).to(dtype).eval()
    images = torch.full((export.batch, 3, *export.size), 0.5, device=next(model.parameters()).device)
    axes = _dynamic_axes(export)
    with torch.no_grad():
        proposed = Proposing(model)(images)
    raw = tuple(f"raw_{index}" for index in range(len(proposed) - len(CANDIDATES)))
    inside = (*CANDIDATES, *raw)
    if export.dynamic_batch and export.layout == "fixed":
        candidates = _traced(Proposing(model), (images,), (IMAGES,), inside, export, axes)
        selection = _traced_selection(model, proposed[: len(CANDIDATES)], export)
        traced = len(candidates.graph.node) + len(selection.graph.node)
        candidates, selection = (_simplified(part, export) for part in (candidates, selection))
        graph = graphs.for_each_image(candidates, selection, CANDIDATES, DETECTIONS)
    else:
        whole = Proposing(model) if export.layout == "raw" else EndToEnd(model, export.layout)
        names = inside if export.layout == "raw" else (DETECTIONS, *inside)
        graph = _traced(whole, (images,), (IMAGES,), names, export, axes)
        traced = len(graph.graph.node)
        if export.layout == "raw":
            graph = graphs.cut(graph, raw)
        graph = _simplified(graph, export)
    outputs = raw if export.layout == "raw" else (DETECTIONS,)
    return Exported(graph, outputs, raw, traced)


def finished(exported: Exported, model: PoseModel, export: Export, made: Mapping[str, Any]) -> bytes:
    """The file: what is only of use inside is no output any more, the graph is checked and says what it is."""
    import onnx

    graph = graphs.with_outputs(exported.graph, exported.outputs)
    graph = rows_first(graph) if export.simplify else graph
    onnx.helper.set_model_props(graph, metadata(model, export, exported.outputs, made))
    graph.producer_name = "limber"
    graphs.check(graph)
    return graph.SerializeToString()


def _traced_selection(model: PoseModel, proposed: Sequence[torch.Tensor], export: Export) -> "onnx.ModelProto":
    """The selection of one image as a graph of its own."""
    of_one = tuple(values[0] for values in proposed)
    axes = {name: {0: "candidates"} for name in CANDIDATES} if export.dynamic_size else {}
    return _traced(Selecting(model, most_people(model)), of_one, CANDIDATES, (DETECTIONS,), export, axes)


def _traced(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    export: Export,
    axes: Mapping[str, Mapping[int, str]],
) -> "onnx.ModelProto":
    import onnx

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is the one that translates the selection as it stands; it is said to be old, and it
        # mentions every number that it takes as fixed.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, buffer, dynamo=False, opset_version=export.opset, input_names=list(input_names),
            output_names=list(output_names), dynamic_axes={name: dict(value) for name, value in axes.items()},
        )  # fmt: skip
    return onnx.load_model_from_string(buffer.getvalue())


def _dynamic_axes(export: Export) -> dict[str, dict[int, str]]:
    """Which sides of which tensors are free; a free side of an output without a rule is left to shape inference."""
    axes: dict[int, str] = {0: "batch"} if export.dynamic_batch else {}
    if export.dynamic_size:
        axes |= {2: "height", 3: "width"}
    free = {IMAGES: axes} if axes else {}
    return free | ({DETECTIONS: {0: "people"}} if export.layout == "rows" else {})


def _simplified(graph: "onnx.ModelProto", export: Export) -> "onnx.ModelProto":
    return graphs.simplified(graph) if export.simplify else graph
