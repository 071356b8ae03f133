"""The files that one export leaves, each compared with the model before it is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from utils.core.checkpoint import write_whole
from utils.core.console import log
from utils.core.contract import PoseModel
from utils.export import graphs, parity, quantize
from utils.export.layout import Export
from utils.export.onnx import Exported, finished, to_onnx
from utils.export.session import FromFile, ProposedByFile, Run, onnx_session, torchscript_session
from utils.export.ti import Limits, to_ti
from utils.export.torchscript import to_torchscript

Pictures = Sequence[torch.Tensor]  # batches of uint8 images (B, 3, H, W) as the network takes them


@dataclass(frozen=True)
class Job:
    """A model (normalisations folded) and how it is to be exported: what all formats share."""

    model: PoseModel
    export: Export
    stem: Path  # the files' path without a suffix
    made: Mapping[str, Any]
    pictures: Pictures  # to compare on; none to leave that out

    def write(self, suffix: str, content: bytes | str) -> Path:
        path = self.stem.with_name(self.stem.name + suffix)
        data = content.encode() if isinstance(content, str) else content
        write_whole(path, lambda target: Path(target).write_bytes(data))
        log.info("%s: %.1f MB", path, len(data) / 1e6)
        return path

    def compare(self, run: Run, export: Export, what: str) -> None:
        """The parity report; a file that differs by more than the bounds is refused."""
        if not self.pictures:
            return
        bounds = parity.HALF if export.half else parity.Bounds()
        from_file = FromFile(run, self.model, layout=export.layout, batch=export.batch)
        found = parity.compare(self.model, from_file, self.pictures, bounds)
        if not found.people and not found.alone:
            log.warning("%s: %s; compare on pictures with people: --data", what, found)
        elif not found.holds:
            raise ValueError(f"{what} differs from the model: {found}; not written (--no-check writes it all the same)")
        else:
            log.info("%s equals the model, one view each: %s", what, found)


def export_onnx(job: Job) -> None:
    exported = to_onnx(job.model, job.export)
    file = finished(exported, job.model, job.export, job.made)
    left = len(graphs.every_node(exported.graph.graph))
    log.info("ONNX opset %d: %d nodes, %d as traced", job.export.opset, left, exported.nodes_traced)
    job.compare(onnx_session(file), job.export, "the ONNX file")
    job.write(".onnx", file)


def export_torchscript(job: Job) -> None:
    file = to_torchscript(job.model, job.export, job.made)
    job.compare(torchscript_session(file), job.export, "the TorchScript file")
    job.write(".torchscript", file)


def export_ti(job: Job, limits: Limits) -> None:
    """NAME_ti.onnx with the prototxt that names its tensors, its raw part, and the options to compile with."""
    stem = job.stem.name
    export = replace(job.export, layout="rows", batch=1, simplify=True)
    files = to_ti(job.model, export, prototxt_name=f"{stem}_ti.prototxt", limits=limits)
    whole = finished(files.exported, job.model, export, job.made)
    raw_export = replace(export, layout="raw")
    raw = finished(Exported(files.raw, files.exported.raw, files.exported.raw, 0), job.model, raw_export, job.made)
    job.compare(onnx_session(whole), export, "the TI graph")
    job.compare(onnx_session(raw), raw_export, "the raw TI graph")
    job.write("_ti.onnx", whole)
    job.write("_ti_raw.onnx", raw)
    job.write("_ti.prototxt", files.prototxt)
    job.write("_ti_compile.json", files.config)
    for remark in files.remarks:
        log.warning("outside TI's fast operators: %s", remark)


def export_int8(job: Job, calibration: Pictures, thorough: PoseModel, evaluate: Callable[[PoseModel], float]) -> str:
    """NAME_int8.onnx and what it costs; `thorough` is the model with the thresholds that AP is counted with."""
    if job.export.batch > 1 or job.export.layout == "raw":
        raise ValueError(
            "--int8: calibrated and counted image by image, with the selection; leave out --batch and --raw"
        )
    exported = to_onnx(job.model, job.export)
    int8 = replace(exported, graph=quantize.with_wide_heads(exported, calibration))
    everything = quantize.everywhere(exported, calibration)
    runs = [onnx_session(quantize.candidates_of(graph)) for graph in (exported.graph, int8.graph, everything)]
    cost = quantize.Cost(*(evaluate(ProposedByFile(run, thorough)) for run in runs))
    if cost.collapsed:
        raise ValueError(f"--int8: {cost}; not written: calibrate on more or other pictures, or stay with --half")
    file = finished(int8, job.model, job.export, {**job.made, "int8": asdict(cost)})
    job.write("_int8.onnx", file)
    return (
        f"{cost}; {quantize.times_as_fast(runs[0], runs[1], calibration[0][:1] / 255):.2f} times as fast as fp32 here"
    )
