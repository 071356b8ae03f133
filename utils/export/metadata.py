"""What an exported file says about itself, so that nobody has to be told how to use it: text by key, mostly JSON.

format          "limber 1"
family, view    which method; "image" looks at whole images, "person" at crops of one person
keypoints       [names]; beside it, in the same order: swap (index of the mirror image) and sigmas
skeleton        [[index, index]]; groups {"face": [index]}
classes         [names]
input           {"name", "size": [height, width], "batch", "stride", "dynamic": ["batch", "size"],
                 "channels": "RGB", "scale": 1/255, "mean": [0, 0, 0], "std": [1, 1, 1], "type": "float32"}
letterbox       {"rounding": nearest|down|none, "place": centre|corner, "smooth": bool, "padding": 114}
output          {"layout": fixed|rows|raw, "names": [...], "columns": [...]}
select          {"conf", "iou", "max_poses", ...}: the thresholds that are inside the graph
head            {"kind", "strides", "anchors", "classes", "keypoints"}: how raw maps are decoded, where TI's kinds fit
views           "one": no test-time augmentation is part of the file
made            {"command", "weights", "precision", "opset", "simplified", "torch", "limber"}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from utils.core.contract import PoseModel
from utils.core.tta import PADDING
from utils.export.layout import IMAGES, Export, columns, thresholds

FORMAT = "limber 1"


def metadata(model: PoseModel, export: Export, outputs: Sequence[str], made: Mapping[str, Any]) -> dict[str, str]:
    """Every key with its text."""
    spec, schema, layer = model.spec, model.spec.schema, model.ti_layer()
    dynamic = [name for name in ("batch", "size") if getattr(export, f"dynamic_{name}")]
    facts = {
        "keypoints": list(schema.names),
        "swap": list(schema.swap),
        "sigmas": list(schema.sigmas),
        "skeleton": [list(bone) for bone in schema.skeleton],
        "groups": {name: list(members) for name, members in schema.groups.items()},
        "classes": list(spec.classes),
        "input": {
            "name": IMAGES, "size": list(export.size), "batch": export.batch, "stride": model.stride,
            "dynamic": dynamic, "channels": "RGB", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1],
            "type": "float32",
        },
        "letterbox": {**asdict(model.letterbox), "padding": round(PADDING * 255)},
        "output": {
            "layout": export.layout,
            "names": list(outputs),
            "columns": [] if export.layout == "raw" else columns(schema),
        },
        "select": {} if export.layout == "raw" else thresholds(model),
        "head": asdict(layer) if layer else {},
        "made": {
            **made,
            "precision": "fp16" if export.half else "fp32",
            "opset": export.opset,
            "simplified": export.simplify,
            "torch": torch.__version__,
        },
    }  # fmt: skip
    plain = {"format": FORMAT, "family": spec.family, "view": spec.view, "views": "one"}
    return plain | {key: json.dumps(value) for key, value in facts.items()}
