"""TrainSettings: how a model is trained, under the keys that a hyp YAML gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from utils.core.config import did_you_mean, find, into, read_yaml

UNUSED = ("iou_t", "copy_paste")  # stand in published recipes; the first is read by nothing, the second is 0 there


@dataclass(frozen=True)
class TrainSettings:
    """A recipe without its loss weights and its augmentation; the defaults are YOLO-Pose's hyp.scratch."""

    epochs: int = 300
    batch_size: int = 16  # of all ranks together
    nominal_batch: int = 64  # gradients of smaller batches are gathered until they stand for about so many images
    gradients: Literal["sum", "mean"] = "sum"  # over batches and ranks; YOLO's losses grow with the batch: sum
    seed: int = 0

    optimizer: Literal["SGD", "Adam", "AdamW"] = "SGD"
    lr0: float = 0.01
    lrf: float = 0.2  # the last learning rate as a share of the first; for steps: the factor at each milestone
    momentum: float = 0.937  # Adam's first beta
    weight_decay: float = 0.0005  # for the nominal batch
    clip: float = 0.0  # longer gradients are shortened to this; 0 leaves them alone

    schedule: Literal["cosine", "linear", "steps"] = "cosine"
    # published: the originals' counter lags one epoch behind once the warm-up is over. epoch: it does not.
    # step: the rate changes with every step.
    timing: Literal["published", "epoch", "step"] = "published"
    milestones: tuple[int, ...] = ()  # epochs, for steps
    decay_from: float = 0.0  # epoch in which the decay begins
    decay_over: float = 0.0  # epochs that it would take; 0: until the flat ones
    flat_epochs: int = 0  # at the end, with the rate that was reached

    warmup_epochs: float = 3.0  # 0 for none
    warmup_least: int = 1000  # steps, should the epochs be short
    # quadratic1: as quadratic, but counted from 1, so that the last step of the warm-up has the whole rate.
    warmup_shape: Literal["linear", "quadratic", "quadratic1"] = "linear"
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1  # biases come down from here, all others up from 0

    ema_decay: float = 0.9999
    ema_ramp: float = 2000.0  # updates until the average is slow
    ema_start: Literal["average", "copy"] = "average"  # copy: the first update leaves nothing of the new network
    plain_epochs: int = 0  # at the end, without mosaic, mixup and movement
    rest_epochs: int = 0  # at the end, with the statistics of normalisations at rest: for batches of few images

    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"  # of the network; losses are always float32
    channels_last: bool = True
    compile: bool = False
    sync_bn: bool = False
    multi_scale: tuple[float, float] | None = None  # each batch at a size between these shares of its own
    freeze: int | tuple[str, ...] = 0  # that many first layers, or parameter names that begin like these

    evaluate_every: int = 1  # epochs; 0: only after the last
    fitness: str = "AP"  # the metric that decides which weights are best
    patience: int = 100  # epochs without a better one until training ends; 0: never
    nonfinite: Literal["stop", "skip"] = "stop"  # when a loss is not a number
    look_every: int = 50  # steps between looks at the losses; each look waits for the device
    checkpoint_every: int = 0  # steps between checkpoints within an epoch; 0: none
    checkpoints: Literal["each", "end"] = "each"  # after each epoch, or only when the run ends
    save_period: int = 0  # epochs between weights that are kept as epochN; 0: none

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "nominal_batch", "look_every"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("lr0", "ema_ramp"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "a number above 0")
        for name in ("seed", "weight_decay", "clip", "warmup_epochs", "warmup_least", "evaluate_every", "patience",
                     "checkpoint_every", "save_period", "flat_epochs", "plain_epochs", "rest_epochs", "decay_from",
                     "decay_over", "warmup_bias_lr"):  # fmt: skip
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name in ("momentum", "warmup_momentum", "ema_decay"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "a share from 0 to below 1")
        _check("lrf", self.lrf, 0 < self.lrf <= 1, "a share above 0, at most 1")
        if self.multi_scale is not None:
            low, high = self.multi_scale
            _check("multi_scale", list(self.multi_scale), 0 < low <= high, "two shares, the smaller first")

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> "TrainSettings":
        """From the keys of a recipe that are meant for it."""
        try:
            return into(cls, values, where)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None

    def share_of(self, processes: int) -> int:
        """Images in a batch of each of several processes."""
        if self.batch_size % processes:
            raise ValueError(f"batch_size: {self.batch_size} found; expected a multiple of the {processes} processes")
        return self.batch_size // processes

    @property
    def effective_decay(self) -> float:
        """Weight decay for the images that really go into one step."""
        return self.weight_decay * self.batch_size * self.accumulate / self.nominal_batch

    @property
    def accumulate(self) -> int:
        """Batches in one step, once the warm-up is over."""
        return max(round(self.nominal_batch / self.batch_size), 1)


def _check(name: str, found: Any, right: bool, expected: str) -> None:
    if not right:
        raise ValueError(f"{name}: found {found}; expected {expected}")


def read_recipe(path: str | Path, *readers: type) -> list[dict[str, Any]]:
    """The keys of a hyp YAML, shared out among the dataclasses that read them; a key that none knows is an error."""
    return share_out(read_yaml(find(path)), str(path), readers)


def share_out(values: Mapping[str, Any], where: str, readers: Sequence[type]) -> list[dict[str, Any]]:
    """For each dataclass the values of its own fields; a name may belong to several."""
    known = [{field.name for field in fields(reader)} for reader in readers]
    if values.get("copy_paste"):
        raise ValueError(f"{where}: copy_paste: found {values['copy_paste']}; people are not copied here, leave it out")
    for key in values:
        if key not in UNUSED and not any(key in names for names in known):
            names = sorted(set().union(*known))
            hint = did_you_mean(key, names) or f"; there are {', '.join(names)}"
            raise ValueError(f"{where}: no key '{key}'{hint}")
    return [{key: value for key, value in values.items() if key in names} for names in known]
