"""A model as a TorchScript file: the same outputs as the ONNX file, and the same words about itself."""

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from utils.core.contract import PoseModel
from utils.export.layout import CANDIDATES, DETECTIONS, EndToEnd, Export, Proposing
from utils.export.metadata import metadata

CONFIG = "config.txt"  # where torch.jit.load(..., _extra_files={"config.txt": ""}) finds the metadata as JSON


class Shown(nn.Module):
    """What a user sees of a traced module: the detections alone, or the raw maps alone."""

    def __init__(self, inside: EndToEnd | Proposing) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        found = self.inside(images)
        return found[0] if isinstance(self.inside, EndToEnd) else found[len(CANDIDATES) :]


def to_torchscript(model: PoseModel, export: Export, made: Mapping[str, Any]) -> bytes:
    """The traced network: batch and image size are fixed."""
    if export.dynamic_batch or export.dynamic_size or export.half:
        raise ValueError(
            "--include torchscript: batch and size are fixed and numbers are fp32; leave out --dynamic, --half"
        )
    inside = Proposing(model) if export.layout == "raw" else EndToEnd(model, export.layout)
    images = torch.full((export.batch, 3, *export.size), 0.5, device=next(model.parameters()).device)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # every number that is taken as fixed is mentioned, and that tracing is old
        traced = torch.jit.trace(Shown(inside).eval(), images, check_trace=False)
    outputs = ("raw",) if export.layout == "raw" else (DETECTIONS,)
    facts = metadata(model, export, outputs, made)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files={CONFIG: json.dumps(facts)})
    return buffer.getvalue()
