"""Images in, people in the pixels of those images out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.core import images as pixels
from utils.core.console import log
from utils.core.contract import PoseModel
from utils.core.distributed import choose_device
from utils.core.geometry import inverse
from utils.core.poses import Batch, Candidates, Origin, Poses, Targets
from utils.core.tta import View

Image = str | Path | np.ndarray  # a file, or an RGB array (height, width, 3) of uint8


class OneStage:
    """A model that finds people in whole images: letterbox, network, selection, and the way back."""

    def __init__(
        self,
        model: PoseModel,
        *,
        device: torch.device | str = "cpu",
        half: bool = False,
        views: Sequence[View] = (View(),),
        size: tuple[int, int] | None = None,
        batch_size: int = 8,
    ) -> None:
        self.device = torch.device(device)
        if half and self.device.type == "cpu":
            raise ValueError("half precision needs a GPU; leave it out on the CPU")
        self.size = size or model.spec.input_size
        if any(side % model.stride for side in self.size):
            raise ValueError(f"input size {self.size}: both sides must be multiples of {model.stride}")
        self.dtype = torch.float16 if half else torch.float32
        # Channels last is the faster layout of convolutions on CPUs and on GPUs alike (benchmarks/yolo_pose.py).
        self.model = model.to(self.device, self.dtype, memory_format=torch.channels_last).eval()
        self.views = tuple(views)
        self.batch_size = batch_size

    def __call__(self, images: Image | Sequence[Image]) -> list[Poses]:
        """The people of each image, best first, in numpy arrays and original pixels."""
        found: list[Poses] = []
        for chunk in chunks(images, self.batch_size):
            found += self.poses_of(self._batch(chunk))
        return found

    @torch.inference_mode()
    def poses_of(self, batch: Batch) -> list[Poses]:
        """The people of a batch that is ready for the network, in original pixels."""
        found = _in_original_pixels(self.model.select(self._candidates(batch)), batch)
        if self.model.spec.view == "person":  # the box is the crop, room beyond the image's edge included
            return found
        return [poses.cut_to(origin.size) for poses, origin in zip(found, batch.origins, strict=True)]

    @torch.inference_mode()
    def keypoint_objects_of(self, batch: Batch) -> list[Poses]:
        """The keypoint objects of a batch, in original pixels, from a family that has them."""
        return _in_original_pixels(self.model.keypoint_objects(self._candidates(batch)), batch)

    def keypoint_objects(self, image: Image) -> Poses:
        """The keypoint objects of one image: their boxes, and as classes which keypoints they are."""
        return self.keypoint_objects_of(self._batch(list(_opened([image], 0))))[0]

    def _candidates(self, batch: Batch) -> Candidates:
        inputs = pixels.to_unit(batch.images.to(self.device, non_blocking=True), self.dtype)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        views = [view.of(inputs) for view in self.views]
        raws = [self.model(view.apply(inputs, self.model.stride)) for view in views]
        return replace(self.model.decode(raws, views), origins=batch.origins)

    def _batch(self, opened: Sequence[tuple[str, np.ndarray]]) -> Batch:
        fitted = [pixels.fit(image, self.size, self.model.letterbox) for _, image in opened]
        origins = tuple(
            Origin(Path(name).stem, name, image.shape[:2], matrix)
            for (name, image), (_, matrix) in zip(opened, fitted, strict=True)
        )
        nobody = Targets.nobody(self.model.spec.schema.count)
        return Batch(pixels.stack([image for image, _ in fitted]), nobody, origins)


def _in_original_pixels(selected: Sequence[Poses], batch: Batch) -> list[Poses]:
    return [
        poses.moved(inverse(origin.to_input)).numpy() for poses, origin in zip(selected, batch.origins, strict=True)
    ]


class Predictor(OneStage):
    """The way in from Python: `Predictor("best.safetensors")(["a.jpg", array])` -> list[Poses].

    Further keywords are thresholds of the family: `Predictor(file, conf=0.5)`.
    """

    def __init__(
        self,
        weights: str | Path | PoseModel,
        *,
        device: torch.device | str = "",
        half: bool = False,
        views: Sequence[View] = (View(),),
        size: tuple[int, int] | None = None,
        **select: Any,
    ) -> None:
        # Like the four commands this class is a door: it introduces a model to the inference pillar.
        from models.build import load
        from models.layers import fused

        if isinstance(weights, PoseModel):
            if select:
                raise ValueError(
                    f"{', '.join(select)}: thresholds of a built model are in its spec; give them to load()"
                )
            model = weights
        else:
            model = load(weights, select=select)
            if str(weights).endswith((".yaml", ".yml")):
                log.warning("%s: a model that has learned nothing yet; its people are guesses", weights)
        device = choose_device(device) if isinstance(device, str) else device
        super().__init__(fused(model), device=device, half=half, views=views, size=size)


def chunks(images: Image | Sequence[Image], size: int) -> Iterator[list[tuple[str, np.ndarray]]]:
    """One image or many, opened so many at a time."""
    single = isinstance(images, (str, Path)) or (isinstance(images, np.ndarray) and images.ndim <= 3)
    listed = [images] if single else list(images)
    for start in range(0, len(listed), size):
        yield list(_opened(listed[start : start + size], start))


def _opened(images: Sequence[Image], first: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each image with the name that messages give it."""
    for index, image in enumerate(images, first):
        if isinstance(image, (str, Path)):
            yield str(image), pixels.read(image)
        else:
            yield f"image {index}", pixels.as_rgb(image, f"image {index}")
