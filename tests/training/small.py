"""Small trainings: drawn people, a loader that knows every epoch by heart, and a network that learns in seconds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models import families
from models.build import read_model_yaml
from models.graph import scaled
from tests.test_contract import schema_of
from utils.core.config import find, read_yaml
from utils.core.contract import ModelSpec, PoseModel, read_rows
from utils.core.poses import Batch, Targets, untouched
from utils.training.log import RunLog
from utils.training.settings import TrainSettings
from utils.training.trainer import Trainer

SIDE = 128
KEYPOINTS = 5


class Drawn:
    """A loader of drawn people: the same batches for the same epoch, from any step on."""

    def __init__(self, *, batches: int = 4, batch_size: int = 2, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self.batches, self.batch_size, self.seed = batches, batch_size, seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.batches

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            yield self.batch(number, index)

    def batch(self, epoch: int, index: int) -> Batch:
        """The whole batch, or this rank's share of it."""
        rng = np.random.default_rng((self.seed, epoch, index))
        scenes = [draw_scene(rng) for _ in range(self.batch_size)][self.rank :: self.world]
        names = [f"{epoch}_{index}_{number}.jpg" for number in range(len(scenes))]
        return batch_of([image for image, _ in scenes], [points for _, points in scenes], names)


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image (SIDE, SIDE, 3) with one stick figure whose joints are spots, and its joints (K, 2)."""
    image = np.full((SIDE, SIDE, 3), 60, np.uint8) + rng.integers(0, 20, (SIDE, SIDE, 3), dtype=np.uint8)
    corner = rng.uniform(8, SIDE - 80, 2)
    extent = rng.uniform(45, 72, 2)
    points = corner + np.array([[0.1, 0.1], [0.9, 0.15], [0.2, 0.85], [0.85, 0.9], [0.5, 0.5]]) * extent
    rows, across = np.mgrid[:SIDE, :SIDE]
    inside = (
        (across > corner[0]) & (across < corner[0] + extent[0]) & (rows > corner[1]) & (rows < corner[1] + extent[1])
    )
    image[inside] += 60
    colours = ((255, 40, 40), (40, 255, 40), (40, 40, 255), (255, 255, 40), (255, 40, 255))
    for (x, y), colour in zip(points, colours, strict=True):
        image[(across - x) ** 2 + (rows - y) ** 2 < 16] = colour
    return image, points


def batch_of(images: list[np.ndarray], joints: list[np.ndarray], names: list[str]) -> Batch:
    keypoints = torch.from_numpy(np.stack(joints)).float()  # (B, K, 2)
    boxes = torch.cat((keypoints.amin(1) - 6, keypoints.amax(1) + 6), -1)
    targets = Targets(
        image_index=torch.arange(len(images)),
        boxes=boxes,
        keypoints=keypoints,
        visibility=torch.full(keypoints.shape[:2], 2.0),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(-1),
        classes=torch.zeros(len(images), dtype=torch.int64),
    )
    pixels = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]))
    return Batch(pixels, targets, tuple(untouched(name, name, (SIDE, SIDE)) for name in names))


def tiny_model(seed: int = 0, *, width: float = 0.125, sigma: float = 0.3, **gains: Any) -> PoseModel:
    """YOLO-Pose with few channels for five keypoints."""
    name = "yolov5s6_kpts.yaml"
    values = read_yaml(find(name))
    rows = scaled(read_rows(values["rows"], name), depth=0.33, width=width, activation="silu")
    schema = replace(schema_of(KEYPOINTS), sigmas=(sigma,) * KEYPOINTS)
    spec = replace(read_model_yaml(name, schema, ("person",)), rows=rows, input_size=(SIDE, SIDE))
    torch.manual_seed(seed)
    return families.find("yolo_pose")(replace(spec, gains=gains, head={**spec.head, "keypoint_depth": 1}))


class Spots(PoseModel):
    """The smallest network that learns something about keypoints: a step takes a millisecond."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.first = nn.Conv2d(3, 8, 3, stride=8, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 2 * spec.schema.count, 1)

    @property
    def stride(self) -> int:
        return 8

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(images)).relu()).mean((2, 3))  # (B, 2K)

    def loss(self, raw: torch.Tensor, targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        offset = raw[targets.image_index] - targets.keypoints.flatten(1) / SIDE  # (N, 2K)
        return {"near": offset.square().sum(), "small": 0.01 * raw.square().sum()}


def spots(seed: int = 0) -> Spots:
    torch.manual_seed(seed)
    return Spots(ModelSpec("spots", schema_of(KEYPOINTS), input_size=(SIDE, SIDE)))


QUICK = TrainSettings(
    epochs=2, batch_size=2, nominal_batch=4, warmup_epochs=1.0, warmup_least=3, lr0=0.002, patience=0, look_every=1
)


def trainer(folder: Path, settings: TrainSettings = QUICK, **given: Any) -> Trainer:
    """A trainer whose evaluation is a number that depends on the weights."""
    given = {
        "device": torch.device("cpu"),
        "evaluate": weight_metric,
        "save": remember,
        "model": spots(),
        "loader": Drawn(),
    } | given
    model, loader = given.pop("model"), given.pop("loader")
    return Trainer(model, loader, settings, RunLog(folder), **given)


def weight_metric(model: PoseModel) -> Mapping[str, float]:
    return {"AP": sum(p.double().abs().mean().item() for p in model.parameters())}


def remember(path: Path, model: PoseModel, metrics: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(dict(metrics)))


def everything(trained: Trainer) -> dict[str, torch.Tensor]:
    """All that a run has changed: weights, average, momenta."""
    learner = trained.learner
    found = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    found |= {f"ema.{name}": tensor for name, tensor in learner.ema.model.state_dict().items()}
    for index, state in learner.optimizer.state_dict()["state"].items():
        found |= {f"{index}.{name}": torch.as_tensor(value) for name, value in state.items() if value is not None}
    return {name: tensor.clone() for name, tensor in found.items()}


def assert_same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """To the last bit."""
    assert first.keys() == second.keys()
    unlike = [name for name in first if not torch.equal(first[name], second[name])]
    assert not unlike, f"{len(unlike)} of {len(first)} differ, the first is {unlike[0]}"
