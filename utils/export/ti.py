"""Files for TI's accelerators: the detection layer as prototxt, the graph that it names, and how to compile them."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from utils.core.contract import DetectionLayer, PoseModel
from utils.export import graphs
from utils.export.layout import DETECTIONS, Export, thresholds
from utils.export.onnx import Exported, to_onnx
from utils.export.ti_input import with_plain_input
from utils.export.ti_operators import faults, remarks
from utils.export.trunk import Parts, parts

if TYPE_CHECKING:  # imported where it is used
    import onnx

OPSETS = range(11, 18)  # that the importer reads
NEWEST_IR = 9
META_ARCHITECTURE = 6  # of YOLOv5, v7 and YOLOX, keypoints included
NAMES = {"yolo_v5": ("yolov5", "CODE_TYPE_YOLO_V5", "YOLOv5"), "yolo_x": ("yolox", "CODE_TYPE_YOLO_X", None)}


@dataclass(frozen=True)
class Limits:
    """How much the runtime's own selection takes and gives; TI's values for poses."""

    candidates: int = 500  # before overlaps are looked at
    people: int = 20


@dataclass(frozen=True)
class TiFiles:
    """What the importer is given, and what it should be told about the graph."""

    exported: Exported  # the whole graph; its raw maps are the tensors that the prototxt names
    raw: "onnx.ModelProto"  # the same graph, ending at these maps
    prototxt: str
    config: str  # JSON
    remarks: tuple[str, ...]


def to_ti(model: PoseModel, export: Export, *, prototxt_name: str, limits: Limits | None = None) -> TiFiles:
    """All files for one model; one that the importer could not read is refused."""
    layer = model.ti_layer()
    if layer is None:
        raise ValueError(f"--include ti: TI's runtime has no layer for the head of {model.spec.family}")
    if export.opset not in OPSETS:
        raise ValueError(f"--opset {export.opset}: TI's importer reads {OPSETS[0]} to {OPSETS[-1]}")
    still = {"batch": 1, "dynamic_batch": False, "dynamic_size": False, "half": False}
    exported = to_onnx(model, replace(export, layout="rows", simplify=True, **still))
    assert exported.graph.ir_version <= NEWEST_IR
    exported = replace(exported, graph=with_plain_input(exported.graph, exported.raw))
    found = parts(exported.graph.graph, exported.raw)
    if wrong := faults(found):
        raise ValueError(f"--include ti: {wrong[0]}; models named ti_lite are built without it")
    _check_maps(exported, layer, export)
    limits = limits or Limits()
    return TiFiles(
        exported,
        graphs.cut(exported.graph, exported.raw),
        prototxt(exported, layer, export, conf_iou(model), limits),
        json.dumps(compile_config(model, layer, found, export, prototxt_name), indent=1) + "\n",
        remarks(found),
    )


def conf_iou(model: PoseModel) -> tuple[float, float]:
    values = thresholds(model)
    return float(values["conf"]), float(values["iou"])


def _check_maps(exported: Exported, layer: DetectionLayer, export: Export) -> None:
    """Every raw map has the place and the channels that the layer says."""
    shapes = graphs.shapes(exported.graph)
    assert len(exported.raw) == len(layer.strides), f"{len(exported.raw)} raw maps for {len(layer.strides)} levels"
    per_anchor = 5 + layer.classes + 3 * layer.keypoints
    for index, (name, stride) in enumerate(zip(exported.raw, layer.strides, strict=True)):
        anchors = len(layer.anchors[index]) if layer.anchors else 1
        expected = (1, anchors * per_anchor, export.size[0] // stride, export.size[1] // stride)
        assert shapes[name] == expected, f"{name}: {shapes[name]} found; the head says {expected}"


def prototxt(
    exported: Exported, layer: DetectionLayer, export: Export, conf_and_iou: tuple[float, float], limits: Limits
) -> str:
    """The detection layer in TIDL's text format, fields in the order of their numbers as TI's exporters write them."""
    name, code, framework = NAMES[layer.kind]
    conf, iou = conf_and_iou
    levels = [
        {
            "input": tensor,
            "anchor_width": [float(w) for w, _ in anchors],
            "anchor_height": [float(h) for _, h in anchors],
        }
        for tensor, anchors in zip(exported.raw, _anchors(layer), strict=True)
    ]
    detection: dict[str, Any] = {
        "num_classes": layer.classes,
        "share_location": True,
        "background_label_id": -1,
        "nms_param": {"nms_threshold": iou, "top_k": limits.candidates},
        "code_type": Word(code),
        "keep_top_k": limits.people,
        "confidence_threshold": conf,
    }
    if layer.keypoints:
        detection |= {"num_keypoint": layer.keypoints, "keypoint_confidence": True}
    block: dict[str, Any] = {
        "yolo_param": levels,
        "detection_output_param": detection,
        "name": name,
        "in_width": export.size[1],
        "in_height": export.size[0],
        "output": DETECTIONS,
    }
    return (
        "\n".join(as_text({"name": name, "tidl_yolo": block | ({"framework": framework} if framework else {})})) + "\n"
    )


def _anchors(layer: DetectionLayer) -> tuple[tuple[tuple[float, float], ...], ...]:
    """An anchor-free head is written as one square anchor per level, as large as its stride."""
    return layer.anchors or tuple(((stride, stride),) for stride in layer.strides)


class Word(str):
    """A name of an enumeration: stands without quotes."""


def as_text(values: dict[str, Any], indent: str = "") -> list[str]:
    """Nested values as lines of protobuf's text format; a list repeats its field."""
    lines = []
    for name, value in values.items():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                lines += [f"{indent}{name} {{", *as_text(entry, indent + "  "), f"{indent}}}"]
            else:
                plain = entry if isinstance(entry, Word) else json.dumps(entry)
                lines.append(f"{indent}{name}: {plain}")
    return lines


def compile_config(
    model: PoseModel, layer: DetectionLayer, found: Parts, export: Export, prototxt_name: str
) -> dict[str, Any]:
    """Options of TI's runtime for 8 bits, with the layers that lose too much in 8 bits kept in 16."""
    return {
        "runtime_options": {
            "tensor_bits": 8,
            "accuracy_level": 1,
            "object_detection:meta_arch_type": META_ARCHITECTURE,
            "object_detection:meta_layers_names_list": prototxt_name,
            "advanced_options:output_feature_16bit_names_list": ", ".join(sixteen_bit(found, layer)),
            "advanced_options:quantization_scale_type": 4,
            "advanced_options:add_data_convert_ops": 3,
        },
        "remarks": [
            "quantization_scale_type 4 is for AM62A, AM67A, AM68A and AM69A; TDA4VM takes 1",
            "tensor_bits 16 needs no list of layers",
        ],
        "preprocessing": {
            "size": list(export.size),
            "channels": "RGB",
            "mean": [0.0, 0.0, 0.0],
            "scale": [1 / 255] * 3,
            "pad_value": 114,
            "place": model.letterbox.place,
        },
    }


def sixteen_bit(found: Parts, layer: DetectionLayer) -> list[str]:
    """Tensors, named as in the graph, as in TI's own lists for its pose models.

    After the stem and at the raw maps; with anchors also before the heads, without them the towers stay in 8 bits.
    """
    makers = {name for node in found.network for name in node.output}
    activated = [
        node.output[0] for node in found.network if found.stem.output[0] in node.input and node.op_type == "Relu"
    ]
    ends = found.heads if layer.anchors else found.last
    own = [name for node in ends for name in node.output]
    entering = [name for node in ends for name in node.input if name in makers and name not in own]
    return list(dict.fromkeys([*(activated or found.stem.output), *(entering if layer.anchors else []), *own]))
