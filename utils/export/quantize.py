"""int8 for ONNX Runtime: calibrated on pictures, the heads and the stem kept wide, and what that costs in AP."""

import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from utils.core.images import to_unit
from utils.export import graphs
from utils.export.layout import CANDIDATES, IMAGES
from utils.export.onnx import Exported
from utils.export.session import Run
from utils.export.trunk import parts

if TYPE_CHECKING:  # imported where it is used
    import onnx

WORTH_IT = ("Conv", "MaxPool", "Concat", "Resize", "Relu", "Add")  # operators that calculate in 8 bits
COLLAPSE = 0.1  # AP that may be lost before a file is refused


@dataclass(frozen=True)
class Cost:
    """AP of a model in fp32, in int8 as it is delivered, and with everything in int8."""

    fp32: float
    int8: float
    everything: float

    def __str__(self) -> str:
        return (
            f"AP {self.fp32:.4f} in fp32, {self.int8:.4f} in int8 with stem and heads kept wide "
            f"({self.int8 - self.fp32:+.4f}); "
            f"everything in int8 would give {self.everything:.4f} ({self.everything - self.fp32:+.4f})"
        )

    @property
    def collapsed(self) -> bool:
        return self.fp32 - self.int8 > COLLAPSE


class Pictures:
    """Calibration images one by one, as the quantizer asks for them."""

    def __init__(self, batches: Iterable[torch.Tensor]) -> None:
        self.images: Iterator[np.ndarray] = (to_unit(image[None]).numpy() for batch in batches for image in batch)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {IMAGES: image}


def with_wide_heads(exported: Exported, pictures: Sequence[torch.Tensor]) -> "onnx.ModelProto":
    """The network in int8 but for its stem and its heads; decoding and selection stay as they are."""
    graph = exported.graph.graph
    found = parts(graph, exported.raw)
    wide = {node.name for node in (found.stem, *found.heads)}
    narrow = {node.name for node in found.network} - wide
    return _quantized(exported.graph, pictures, [node.name for node in graph.node if node.name not in narrow])


def everywhere(exported: Exported, pictures: Sequence[torch.Tensor]) -> "onnx.ModelProto":
    """All that the quantizer would put into int8 by itself, heads and decoding too: for comparison only."""
    return _quantized(graphs.cut(exported.graph, CANDIDATES), pictures, [])


def candidates_of(graph: "onnx.ModelProto") -> bytes:
    """The part of a graph that ends before the selection."""
    return graphs.cut(graph, CANDIDATES).SerializeToString()


def times_as_fast(wide: Run, narrow: Run, images: torch.Tensor, repeats: int = 15) -> float:
    """How much less time the second takes: medians of one run in which both take turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, times in zip((wide, narrow), taken, strict=True):
            start = time.perf_counter()
            run(images)
            times.append(time.perf_counter() - start)
    return statistics.median(taken[0]) / statistics.median(taken[1])


def _quantized(
    graph: "onnx.ModelProto", pictures: Sequence[torch.Tensor], untouched: Sequence[str]
) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    options: dict[str, Any] = {"op_types_to_quantize": list(WORTH_IT)} if untouched else {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(graph.SerializeToString())
        quantize_static(
            source, target, Pictures(pictures), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=list(untouched),
            calibrate_method=CalibrationMethod.MinMax, **options,
        )  # fmt: skip
        return onnx.load(target)
