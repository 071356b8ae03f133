"""Learner: a model, its optimizer and its average; a batch goes in, and when a step is due the weights move."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils import _pytree as pytree

from utils.core import images as pixels
from utils.core.contract import PoseModel
from utils.core.poses import Batch, Targets
from utils.training.ema import Ema
from utils.training.guard import Guard
from utils.training.multiscale import draw_side, rescaled
from utils.training.optimizer import apply, build_optimizer, freeze, normalisations
from utils.training.ranks import Ranks
from utils.training.schedule import Moment, Schedule
from utils.training.settings import TrainSettings

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ALWAYS = 2**31 - 1  # a growth interval that is never reached


class Learner:
    """Everything that changes when a model learns, but for where in the data it is."""

    def __init__(
        self, model: PoseModel, settings: TrainSettings, *, device: torch.device, steps_per_epoch: int, ranks: Ranks
    ) -> None:
        self.settings, self.device, self.ranks = settings, device, ranks
        self.model = _placed(model, settings, device, ranks)
        self.resting = freeze(self.model, settings.freeze)
        self.optimizer = build_optimizer(self.model, settings)
        self.schedule = Schedule(settings, steps_per_epoch)
        copies = settings.ema_start == "copy"
        self.ema = Ema(self.model, decay=settings.ema_decay, ramp=settings.ema_ramp, copies_first=copies)
        self.guard = Guard(self.model, device)
        self.dtype = choose_dtype(settings.precision, device)
        scaled = self.dtype == torch.float16
        # With a scale of 1 the scaler still tells the optimizer, on the device, to leave out steps that are not finite.
        self.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**16 if scaled else 1.0,
                                           growth_interval=2000 if scaled else ALWAYS)  # fmt: skip
        self.network = self._wrapped()
        self.sums: torch.Tensor | None = None  # of each loss term over the epoch, and the number of images
        self.terms: tuple[str, ...] = ()

    def _wrapped(self) -> nn.Module:
        """What is called to run the network: the model itself, compiled or among several processes."""
        network: nn.Module = torch.compile(self.model) if self.settings.compile else self.model
        if self.ranks.together:
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = DistributedDataParallel(network, device_ids=ids)
        return network

    def start_epoch(self, number: int = 0) -> None:
        """Into training mode; the statistics of frozen layers rest, and in the last epochs all, if that is wanted."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        at_rest = number >= self.settings.epochs - self.settings.rest_epochs
        for norm in normalisations(self.model) if at_rest else self.resting:
            norm.eval()

    def learn(self, batch: Batch, step: int) -> Moment:
        """One batch: gradients are added up, and the weights move when the schedule says so."""
        moment = self.schedule.at(step)
        images, targets = self.inputs(batch, step)
        with self.exchange(moment):
            terms = self.losses(self.forward(images), targets, step)
            total = self.backward(terms, moment)
        self.guard.watch_loss(total, step, [origin.path for origin in batch.origins])
        if moment.completes:
            self.update(moment)
        self._add_up(terms, len(batch.images))
        return moment

    # ------------------------------------------------------------------------------------------ the parts of a step

    def inputs(self, batch: Batch, step: int) -> tuple[torch.Tensor, Targets]:
        """The batch where the network runs, in 0..1, and at another size when the recipe wants many."""
        batch = batch.to(self.device)
        images, targets = pixels.to_unit(batch.images), batch.targets
        if self.settings.multi_scale is not None:
            rng = np.random.default_rng((self.settings.seed, step))  # alike on all ranks, and after resuming
            side = draw_side(max(images.shape[-2:]), self.settings.multi_scale, self.model.stride, rng)
            images, targets = rescaled(images, targets, side, self.model.stride)
        return images.contiguous(memory_format=self._format), targets

    def forward(self, images: torch.Tensor) -> Any:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            raw = self.network(images)
        return pytree.tree_map(_as_float32, raw)

    def losses(self, raw: Any, targets: Targets, step: int) -> dict[str, torch.Tensor]:
        """In float32: sums of many small numbers are not for sixteen bits."""
        return self.model.loss(raw, targets, self.schedule.progress(step))

    def backward(self, terms: Mapping[str, torch.Tensor], moment: Moment) -> torch.Tensor:
        """Add this batch's gradients; returns the total loss."""
        total = torch.stack(list(terms.values())).sum()
        # Processes average their gradients. Where a loss grows with its batch, their sum is what one process with
        # the whole batch would have had; where it is a mean, so must the accumulated ones be.
        factor = self.ranks.count if self.settings.gradients == "sum" else 1 / moment.accumulate
        self.scaler.scale(total * factor).backward()
        return total

    def update(self, moment: Moment) -> None:
        """One step of the optimizer and of the average."""
        apply(moment, self.optimizer)
        self.scaler.unscale_(self.optimizer)
        learning = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = get_total_norm([p.grad for p in learning])
        if self.settings.clip:
            clip_grads_with_norm_(learning, self.settings.clip, norm)
        if self.dtype != torch.float16:  # there, an overflow now and then is how the scale is found
            self.guard.watch_gradient(norm)
        self.scaler.step(self.optimizer)
        self.scaler.update(None if self.dtype == torch.float16 else 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.guard.settle()
        self.ema.update()

    # ------------------------------------------------------------------------------------------

    def exchange(self, moment: Moment) -> AbstractContextManager[Any]:
        """Processes exchange gradients only with the last batch of a step."""
        if isinstance(self.network, DistributedDataParallel) and not moment.completes:
            return self.network.no_sync()
        return nullcontext()

    @torch.no_grad()
    def _add_up(self, terms: Mapping[str, torch.Tensor], images: int) -> None:
        """Sum the terms on the device; of bad batches nothing, or the epoch would have no loss."""
        self.terms = tuple(terms)
        weight = 1.0 if self.settings.gradients == "sum" else float(images)
        values = torch.stack([term.detach() for term in terms.values()]).double() * weight
        values = torch.cat((values, values.new_full((1,), images)))
        values = torch.where(values.isfinite().all(), values, torch.zeros_like(values))
        self.sums = values if self.sums is None else self.sums + values

    def mean_losses(self) -> dict[str, float]:
        """Each term per image, over the epoch so far and over all ranks; and their total. Waits for the device."""
        if self.sums is None:
            return {}
        *sums, images = self.ranks.summed(self.sums.clone()).tolist()
        means = {name: value / max(images, 1) for name, value in zip(self.terms, sums, strict=True)}
        return {**means, "total": sum(means.values())}

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format


def _placed(model: PoseModel, settings: TrainSettings, device: torch.device, ranks: Ranks) -> PoseModel:
    if settings.sync_bn and not (ranks.together and device.type == "cuda"):
        raise ValueError("sync_bn: shared batch statistics need several GPUs; start with torchrun, or leave it out")
    if settings.sync_bn:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(device, memory_format=torch.channels_last if settings.channels_last else torch.contiguous_format)


def _as_float32(leaf: Any) -> Any:
    is_half = isinstance(leaf, torch.Tensor) and leaf.dtype in (torch.float16, torch.bfloat16)
    return leaf.float() if is_half else leaf


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """For 'auto': bfloat16 on GPUs that are built for it, float16 on older ones, float32 elsewhere."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision: fp16 needs a GPU; on the CPU use bf16 or fp32")
    if precision != "auto":
        return DTYPES[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
