"""Schedule: learning rates, momentum and accumulation of any step, as a function of nothing but the step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from utils.training.settings import TrainSettings


@dataclass(frozen=True)
class Moment:
    """What holds at one step."""

    rates: tuple[float, float, float]  # of normalisation weights, of other weights, of biases
    momentum: float
    accumulate: int  # batches whose gradients make one step
    completes: bool  # this batch is the last of them


class Schedule:
    """A step is one batch. The pure function makes resuming exact: nothing counts along."""

    def __init__(self, settings: TrainSettings, steps_per_epoch: int) -> None:
        self.settings, self.steps_per_epoch = settings, steps_per_epoch
        self.factor = FACTORS[settings.schedule]
        warm = settings.warmup_epochs
        self.warmup_steps = max(round(warm * steps_per_epoch), settings.warmup_least) if warm else -1

    def at(self, step: int) -> Moment:
        settings = self.settings
        warmed = self._warmed(step)
        rate = settings.lr0 * self.factor(settings, self._time(step))
        if warmed is None:
            rates, momentum = (rate, rate, rate), settings.momentum
        else:
            rising, falling = rate * warmed, settings.warmup_bias_lr + (rate - settings.warmup_bias_lr) * warmed
            rates = (rising, rising, falling)
            momentum = settings.warmup_momentum + (settings.momentum - settings.warmup_momentum) * warmed
        accumulate = self._accumulate(step)
        return Moment(rates, momentum, accumulate, self._completes(step, accumulate))

    def progress(self, step: int) -> float:
        """The share of the training that is done, 0 to 1."""
        return min(step / (self.settings.epochs * self.steps_per_epoch), 1.0)

    def _warmed(self, step: int) -> float | None:
        """How far the warm-up has come, 0 to 1, or None when it is over."""
        if step > self.warmup_steps:
            return None
        if self.settings.warmup_shape == "quadratic1":
            return min((step + 1) / self.warmup_steps, 1.0) ** 2
        share = step / self.warmup_steps
        return share if self.settings.warmup_shape == "linear" else share**2

    def _time(self, step: int) -> float:
        """The epoch that the decay believes to be in."""
        epoch = step // self.steps_per_epoch
        if self.settings.timing == "step":
            if self.settings.flat_epochs:  # they keep the rate of the last step before them
                last = (self.settings.epochs - self.settings.flat_epochs) * self.steps_per_epoch - 1
                step = min(step, last)
            return step / self.steps_per_epoch
        if self.settings.timing == "epoch" or epoch * self.steps_per_epoch <= self.warmup_steps:
            return epoch
        # The originals set their counter to -1 before the first epoch and advance it after each; only the warm-up,
        # and what is left of the epoch in which it ends, knows the true epoch.
        return max(epoch - 1, 0)

    def _accumulate(self, step: int) -> int:
        settings = self.settings
        if settings.timing != "published" or step > self.warmup_steps:
            return settings.accumulate
        share = step / self.warmup_steps
        return max(1, round(1 + (settings.nominal_batch / settings.batch_size - 1) * share))

    def _completes(self, step: int, accumulate: int) -> bool:
        """Whether the optimizer steps after this batch. The last of an epoch always does: no half step is carried
        over, so that a checkpoint needs no gradients.
        """
        index = step % self.steps_per_epoch
        if index == self.steps_per_epoch - 1:
            return True
        if self.settings.timing == "published":  # as there, the very first batch is a step of its own
            return step % accumulate == 0
        return (index + 1) % accumulate == 0


def _decayed(settings: TrainSettings, time: float, least: float = 0.0) -> float:
    """The share of the decay that is done; `least` is what linear decay takes off its length."""
    last = settings.epochs - settings.flat_epochs
    over = settings.decay_over or max(last - settings.decay_from, 1)
    return min(max(min(time, last) - settings.decay_from, 0) / max(over - least, 1), 1.0)


def cosine(settings: TrainSettings, time: float) -> float:
    """Half a cosine from 1 to lrf."""
    return (1 - math.cos(_decayed(settings, time) * math.pi)) / 2 * (settings.lrf - 1) + 1


def linear(settings: TrainSettings, time: float) -> float:
    """A straight line from 1 to lrf, which the last epoch reaches."""
    return (1 - _decayed(settings, time, 1.0)) * (1 - settings.lrf) + settings.lrf


def steps(settings: TrainSettings, time: float) -> float:
    """1, times lrf after each milestone."""
    return settings.lrf ** sum(time >= milestone for milestone in settings.milestones)


FACTORS: dict[str, Callable[[TrainSettings, float], float]] = {"cosine": cosine, "linear": linear, "steps": steps}
