"""Trainer: the one loop. Batches come from a loader, metrics from an evaluator, both handed in by the door."""

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from utils.core import checkpoint, console
from utils.core.console import log
from utils.core.contract import PoseModel
from utils.core.poses import Batch
from utils.training.guard import blame
from utils.training.learner import Learner
from utils.training.log import RunLog, describe_epoch
from utils.training.ranks import Ranks
from utils.training.settings import TrainSettings
from utils.training.signals import StopSignal
from utils.training.state import Progress, capture, restore

PICTURED = 3  # batches of the first epoch that are drawn
Evaluate = Callable[[PoseModel], Mapping[str, float]]  # called on every rank, with a copy of the averaged model
Save = Callable[[Path, PoseModel, Mapping[str, float]], None]
Show = Callable[[Path, Batch], None]


class Loader(Protocol):
    """What a trainer asks of its data."""

    def __len__(self) -> int:
        """Batches in an epoch, the same number on every rank."""

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the n-th on."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: str  # finished, patience, or the name of the signal that stopped it
    epochs: int
    best: float
    best_epoch: int


class Trainer:
    """One run: `Trainer(...).fit()`; with `resume(path)` before it, the rest of one."""

    def __init__(
        self,
        model: PoseModel,
        loader: Loader,
        settings: TrainSettings,
        run: RunLog,
        *,
        device: torch.device,
        evaluate: Evaluate,
        save: Save,
        show: Show | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> None:
        if not len(loader):
            raise ValueError("the training data has no batch: 0 images found; expected at least one")
        self.loader, self.settings, self.run = loader, settings, run
        self.evaluate, self.save, self.show = evaluate, save, show
        self.made = dict(made or {})  # plain values that are kept with the state: command, versions, data
        self.ranks = Ranks()
        self.learner = Learner(model, settings, device=device, steps_per_epoch=len(loader), ranks=self.ranks)
        self.progress = Progress()
        self.stop = StopSignal()
        self._looked = self._saved = 0  # batches of this epoch at the last look, and at the last checkpoint

    def resume(self, path: str | Path) -> None:
        """Go on where the run that wrote this state has stopped."""
        self.progress = restore(checkpoint.load_state(path), self.learner, str(path))
        self._looked = self._saved = self.progress.index
        self.run.forget_from(self.progress.epoch)
        log.info("%s: going on with epoch %d, step %d", path, self.progress.epoch, self.progress.index)

    def fit(self) -> Outcome:
        self._try_to_write()
        with self.stop:
            reason = self._train()
        stopped = reason not in ("finished", "patience")
        if stopped:
            self._check_losses()
        if stopped or self.settings.checkpoints == "end":
            self._save_state("last.pt")
        if self.settings.checkpoints == "end" and self.ranks.index == 0:
            self._save_weights(["last"], {})
        self.run.finish()
        progress = self.progress
        epochs = f"{progress.epoch} epoch{'s' * (progress.epoch != 1)}"
        log.info("%s after %s; best %s %.3f in epoch %d; results in %s", reason, epochs, self.settings.fitness,
                 progress.best, progress.best_epoch, self.run.folder)  # fmt: skip
        return Outcome(reason, progress.epoch, progress.best, progress.best_epoch)

    def _train(self) -> str:
        while self.progress.epoch < self.settings.epochs:
            if self._patience_is_over():
                return "patience"
            if not self._train_epoch():
                return self.ranks.of_first(self.stop.received) or "stopped"
            self._end_epoch()
            if self.ranks.any(self.stop.received is not None):
                return self.ranks.of_first(self.stop.received) or "stopped"
        return "finished"

    # ------------------------------------------------------------------------------------------ one epoch

    def _train_epoch(self) -> bool:
        """Whether the epoch is complete; a signal ends it after a step."""
        progress, learner, total = self.progress, self.learner, len(self.loader)
        learner.start_epoch(progress.epoch)
        batches = self._timed(self.loader.epoch(progress.epoch, start=progress.index))
        title = f"epoch {progress.epoch}/{self.settings.epochs - 1}"
        for batch in console.progress(batches, title, total, done=progress.index, note=self._speed):
            self._picture(batch)
            moment = learner.learn(batch, progress.epoch * total + progress.index)
            progress.index += 1
            progress.images += len(batch.images)
            if moment.completes and not self._carry_on():
                return False
        started = time.perf_counter()
        self._check_losses()
        progress.seconds += time.perf_counter() - started
        return True

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, while it is noted how long each took to arrive and to be learned from."""
        before = time.perf_counter()
        for batch in batches:
            self.progress.waited += time.perf_counter() - before
            yield batch
            now = time.perf_counter()
            self.progress.seconds += now - before
            before = now

    def _speed(self) -> str:
        progress = self.progress
        per_second = progress.images * self.ranks.count / max(progress.seconds, 1e-9)
        return f"{per_second:.0f} images/s, {progress.waited / max(progress.seconds, 1e-9):.0%} waiting for data"

    def _carry_on(self) -> bool:
        """What may happen between two steps: a look at the losses, a checkpoint, an end."""
        index, every = self.progress.index, self.settings.checkpoint_every
        if index - self._looked >= self.settings.look_every:
            self._check_losses()
        if every and index - self._saved >= every:
            self._check_losses()
            self._save_state("last.pt")
        return not self.ranks.any(self.stop.received is not None)

    def _check_losses(self) -> None:
        """Look at what the guard has noted; a loss that is not a number ends the run, or is counted."""
        self._looked = self.progress.index
        count, own = self.learner.guard.look()
        bad = [entry for found in self.ranks.all(own) for entry in found]
        if not bad:
            return
        bad = [entry for entry in bad if entry.what == "loss"] or bad
        steps = len({entry.step for entry in bad})
        self.progress.skipped += steps
        if self.settings.nonfinite == "skip" and (steps < count or count < 10):
            log.warning("%s; left out", blame(bad, self.progress.epoch, len(self.loader)))
            return
        self._save_state("stopped.pt")
        raise ValueError(
            f"{blame(bad, self.progress.epoch, len(self.loader))}; the weights before it are in "
            f"{self.run.weights / 'stopped.pt'}; look at these labels, lower lr0, or set nonfinite: skip"
        )

    def _picture(self, batch: Batch) -> None:
        progress = self.progress
        if self.show is not None and progress.epoch == 0 and progress.index < PICTURED and self.ranks.index == 0:
            self._write(f"train_batch{progress.index}.jpg", lambda path: self.show(path, batch))

    # ------------------------------------------------------------------------------------------ between epochs

    def _end_epoch(self) -> None:
        progress, learner = self.progress, self.learner
        losses = learner.mean_losses()
        metrics = self._evaluate() if self._evaluation_is_due() else {}
        is_best = bool(metrics) and metrics[self.settings.fitness] >= progress.best
        if is_best:
            progress.best, progress.best_epoch = metrics[self.settings.fitness], progress.epoch
        row = self._row(losses, metrics)
        if self.ranks.index == 0:
            self.run.add(row)
            log.info("%s", describe_epoch(row, progress.best, self.settings.epochs, self.settings.fitness))
            self._save_weights(self._names_of_weights(is_best), metrics)
        progress.start_epoch()
        learner.sums = None
        self._looked = 0
        if self.settings.checkpoints == "each":
            self._save_state("last.pt")
        self._saved = 0

    def _names_of_weights(self, is_best: bool) -> list[str]:
        """Under which names this epoch's weights are kept."""
        epoch, settings = self.progress.epoch + 1, self.settings
        period = [f"epoch{epoch - 1}"] if settings.save_period and epoch % settings.save_period == 0 else []
        if settings.checkpoints == "end":
            return period
        return ["best", "last", *period] if is_best else ["last", *period]

    def _evaluation_is_due(self) -> bool:
        epoch, every = self.progress.epoch + 1, self.settings.evaluate_every
        return epoch == self.settings.epochs or bool(every and epoch % every == 0)

    def _evaluate(self) -> dict[str, float]:
        """The metrics of the averaged weights. The evaluator gets a copy: what it does to it stays there."""
        self.learner.ema.agree()
        try:
            metrics = self.ranks.of_first(dict(self.evaluate(copy.deepcopy(self.learner.ema.model))))
        except Exception:
            if not self.ranks.together:  # the epoch is trained: do not lose it to what an evaluator stumbles over
                self._save_state("last.pt")
            raise
        fitness = self.settings.fitness
        if fitness not in metrics or not math.isfinite(metrics[fitness]):
            found = ", ".join(f"{name} {value:g}" for name, value in metrics.items())
            raise ValueError(f"fitness: no number '{fitness}' among the metrics ({found}); set fitness to one of them")
        return metrics

    def _row(self, losses: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
        """One line of results.csv."""
        progress, settings = self.progress, self.settings
        moment = self.learner.schedule.at(progress.epoch * len(self.loader) + max(progress.index - 1, 0))
        return {
            "epoch": progress.epoch,
            "time": progress.before + progress.seconds,
            "images_per_second": progress.images * self.ranks.count / max(progress.seconds, 1e-9),
            "waiting_for_data": progress.waited / max(progress.seconds, 1e-9),
            "skipped": progress.skipped,
            **{f"train/{name}": value for name, value in losses.items()},
            **{f"metrics/{name}": value for name, value in metrics.items()},
            **{f"lr/{name}": moment.rates[group] for name, group in (("weights", 1), ("norms", 0), ("biases", 2))},
            "momentum": moment.momentum,
            "batches_per_step": moment.accumulate,
            "ema_updates": self.learner.ema.updates,
            **({"loss_scale": self.learner.scaler.get_scale()} if settings.precision == "fp16" else {}),
        }

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return bool(patience) and self.progress.best_epoch >= 0 and (
            self.progress.epoch - 1 - self.progress.best_epoch >= patience
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ files

    def _save_state(self, name: str) -> None:
        """On all ranks together; the first one writes."""
        self._saved = self.progress.index
        state = capture(self.learner, self.progress, self.made)
        if self.ranks.index == 0:
            self._write(Path("weights") / name, lambda path: checkpoint.save_state(path, state))

    def _save_weights(self, names: Sequence[str], metrics: Mapping[str, float]) -> None:
        for name in names:
            path = Path("weights") / f"{name}.safetensors"
            self._write(path, lambda path: self.save(path, self.learner.ema.model, metrics))

    def _write(self, name: str | Path, write: Callable[[Path], None]) -> None:
        """A file that cannot be written is a pity, but no reason to lose the training."""
        path = self.run.folder / name
        try:
            write(path)
        except OSError as error:
            reason = f"{path}: {error.strerror}" if error.strerror else str(error)
            log.warning("not written: %s; training goes on", reason)

    def _try_to_write(self) -> None:
        """Write a first state, so that a folder without room or permission is known before hours of training."""
        state = capture(self.learner, self.progress, self.made)
        problem = None
        if self.ranks.index == 0:
            path = self.run.weights / "last.pt"
            for leftover in path.parent.glob(".*.part"):  # of a process that was killed while it wrote
                leftover.unlink(missing_ok=True)
            try:
                checkpoint.save_state(path, state)
                size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
                if free < 3 * size:
                    problem = f"{free / 1e6:.0f} MB are free, a run needs {3 * size / 1e6:.0f} MB more"
            except OSError as error:
                problem = f"cannot be written to: {error.strerror or error}"
        problem = self.ranks.of_first(problem)
        if problem:
            raise ValueError(f"{self.run.folder}: {problem}; make room, or choose another folder with --project")
