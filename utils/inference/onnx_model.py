"""ONNX files that Limber exported, run by ONNX Runtime behind the face of OneStage."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.core import images as pixels
from utils.core.console import log
from utils.core.contract import ModelSpec
from utils.core.geometry import Fit, inverse
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.predictor import Image, chunks

FORMAT = "limber 1"
BEFORE_KEYPOINTS = 6  # columns: the box, its score, its class


@dataclass(frozen=True)
class Facts:
    """What the file says of itself."""

    spec: ModelSpec
    letterbox: Fit
    layout: str
    batch: int
    dynamic: tuple[str, ...]

    @classmethod
    def read(cls, texts: Mapping[str, str], where: str) -> "Facts":
        if texts.get("format") != FORMAT:
            raise ValueError(f"{where}: not an ONNX file that Limber exported; export the model again with export.py")
        values: dict[str, Any] = {}
        for key, text in texts.items():
            try:
                values[key] = json.loads(text)
            except json.JSONDecodeError:
                values[key] = text
        layout, entry = values["output"]["layout"], values["input"]
        if values["view"] != "image":
            raise ValueError(
                f"{where}: a model of single persons; give its checkpoint with --pose-model and a detector"
            )
        if layout == "raw":
            raise ValueError(f"{where}: exported without the selection of people; export it again without --raw")
        schema = KeypointSchema(
            names=tuple(values["keypoints"]),
            swap=tuple(values["swap"]),
            sigmas=tuple(values["sigmas"]),
            skeleton=tuple((a, b) for a, b in values["skeleton"]),
            groups={name: tuple(members) for name, members in values["groups"].items()},
        )
        size, classes = tuple(entry["size"]), tuple(values["classes"])
        spec = ModelSpec(values["family"], schema, classes, input_size=size, select=values["select"])
        fit = {
            key: value for key, value in values["letterbox"].items() if key != "padding"
        }  # is always the house's grey
        return cls(spec, Fit(**fit), layout, entry["batch"], tuple(entry["dynamic"]))


class OnnxModel:
    """Images in, the people of each out: `OnnxModel("best.onnx")(["a.jpg"])`. Thresholds are part of the file."""

    def __init__(
        self,
        file: str | Path,
        *,
        cuda: bool = False,
        size: tuple[int, int] | None = None,
        conf: float | None = None,
        batch_size: int = 8,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves decoding its share
        options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        wanted = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        if cuda and wanted[0] not in there:
            raise ValueError(
                f"{file}: this onnxruntime has no GPU support (pip install onnxruntime-gpu); try --device cpu"
            )
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(file), options, providers=wanted)
        except Exception as error:  # onnxruntime's errors have no common class of their own
            raise ValueError(f"{file}: ONNX Runtime cannot open it: {str(error).splitlines()[0]}") from None
        self.facts = Facts.read(self._session.get_modelmeta().custom_metadata_map, str(file))
        self.spec = self.facts.spec
        self.size = size or self.spec.input_size
        if self.size != self.spec.input_size and "size" not in self.facts.dynamic:
            raise ValueError(
                f"--img: {file} takes {self.spec.input_size} only; export it with --dynamic size for others"
            )
        inside = float(self.spec.select.get("conf", 0))
        if conf is not None and conf < inside:
            log.warning("--conf-thres %g: %s was exported with %g and gives nobody below", conf, file, inside)
        self.conf = conf or 0.0
        self.batch_size = batch_size  # where the file leaves it open

    def __call__(self, images: Image | Sequence[Image]) -> list[Poses]:
        """The people of each image, best first, in numpy arrays and original pixels."""
        step = 1 if self.facts.layout == "rows" else self.facts.batch
        if "batch" in self.facts.dynamic:
            step = self.batch_size
        return [
            poses
            for chunk in chunks(images, step)
            for poses in self._look(
                [image for _, image in chunk], len(chunk) if "batch" in self.facts.dynamic else step
            )
        ]

    def _look(self, images: Sequence[np.ndarray], count: int) -> Iterator[Poses]:
        """Fill up to the batch that the file was made for, and leave out what only fills up."""
        fitted = [pixels.fit(image, self.size, self.facts.letterbox) for image in images]
        batch = pixels.to_unit(pixels.stack([image for image, _ in fitted])).numpy()
        full = np.concatenate((batch, np.zeros((count - len(batch), *batch.shape[1:]), batch.dtype)))
        found = self._session.run(None, {self._session.get_inputs()[0].name: full})[0]
        people = [found] if self.facts.layout == "rows" else found
        for rows, image, (_, matrix) in zip(people, images, fitted, strict=False):
            kept = rows[(rows[:, 4] > 0) & (rows[:, 4] >= self.conf)]
            points = kept[:, BEFORE_KEYPOINTS:].reshape(len(kept), self.spec.schema.count, 3)
            poses = Poses(kept[:, :4], kept[:, 4], kept[:, 5].astype(int), points[..., :2], points[..., 2])
            yield poses.moved(inverse(matrix)).cut_to(image.shape[:2]).numpy()
