"""Runs exported files the way their users will, and hands what they give back as the house's own types."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from utils.core.contract import PoseModel
from utils.core.images import to_unit
from utils.core.poses import Candidates, Poses
from utils.core.tta import View
from utils.export.layout import CANDIDATES, leaves, poses_of, refilled

Run = Callable[[torch.Tensor], list[torch.Tensor]]  # images (B, 3, H, W) in 0..1 -> all outputs


def onnx_session(file: bytes) -> Run:
    """An ONNX file in ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(values) for values in session.run(None, {name: images.contiguous().numpy()})]

    return run


def torchscript_session(file: bytes) -> Run:
    network = torch.jit.load(io.BytesIO(file))

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            found = network(images)
        return [found] if isinstance(found, torch.Tensor) else list(found)

    return run


class FromFile:
    """Finds the people of images with an exported file; `model` is what the file was made from."""

    def __init__(self, run: Run, model: PoseModel, *, layout: Literal["fixed", "rows", "raw"], batch: int) -> None:
        self.run, self.model, self.layout, self.batch = run, model, layout, batch
        self.template: Any = None  # of the raw output

    def __call__(self, images: torch.Tensor) -> list[Poses]:
        """uint8 images (B, 3, H, W) -> the people of each, in input pixels."""
        people: list[Poses] = []
        for start in range(0, len(images), self.batch):
            chunk = to_unit(images[start : start + self.batch])
            missing = self.batch - len(chunk)
            full = torch.cat((chunk, chunk.new_zeros(missing, *chunk.shape[1:])))
            people += self._people(full)[: len(chunk)]
        return people

    def _people(self, images: torch.Tensor) -> list[Poses]:
        found = self.run(images)
        if self.layout == "rows":
            return [poses_of(found[0])]
        if self.layout == "fixed":
            return [poses_of(rows) for rows in found[0]]
        with torch.no_grad():
            if self.template is None:
                raw = self.model(images.to(next(self.model.parameters()).device))
                self.template = self.model.maps(raw)
            assert len(found) == len(leaves(self.template)), "the file has other raw maps than the model"
            return self.model.select(self.model.decode([refilled(self.template, iter(found))], [View()]))


class ProposedByFile(PoseModel):
    """A model whose network and decoding are an exported file that gives candidates; it selects as the model does."""

    def __init__(self, run: Run, model: PoseModel) -> None:
        super().__init__(model.spec)
        self.run, self.model = run, model
        self.letterbox = model.letterbox

    @property
    def stride(self) -> int:
        return self.model.stride

    def forward(self, images: torch.Tensor) -> Candidates:
        each = [Candidates(*self.run(image[None].float())) for image in images]
        fields = (torch.cat([getattr(one, name) for one in each]) for name in CANDIDATES)
        return Candidates(*fields)

    def decode(self, raws: Sequence[Candidates], views: Sequence[View]) -> Candidates:
        [candidates] = raws
        return candidates

    def select(self, candidates: Candidates) -> list[Poses]:
        return self.model.select(candidates)
