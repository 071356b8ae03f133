"""What a run needs to go on as if it had never stopped: the learner, the random generators, and where in the data."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

from utils.core.console import log
from utils.training.learner import Learner
from utils.training.settings import TrainSettings

FORMAT = 1


@dataclass
class Progress:
    """Where a run is. `index` is the next batch of the epoch: with the epoch it is the position of the sampler."""

    epoch: int = 0
    index: int = 0
    best: float = -1.0  # of the metric that decides
    best_epoch: int = -1
    skipped: int = 0  # batches of this epoch that were not finite
    images: int = 0  # of this epoch, on this rank
    seconds: float = 0.0  # of this epoch
    waited: float = 0.0  # of those, for data
    before: float = 0.0  # seconds of all epochs before

    def start_epoch(self) -> None:
        self.before += self.seconds
        self.epoch, self.index, self.skipped, self.images = self.epoch + 1, 0, 0, 0
        self.seconds = self.waited = 0.0


def capture(learner: Learner, progress: Progress, made: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, in tensors and plain values. Called on all ranks together: each adds its own generators and sums."""
    rank = learner.ranks.all({"random": generators(), "sums": None if learner.sums is None else learner.sums.tolist()})
    return {
        "format": FORMAT,
        "made": dict(made),
        "settings": asdict(learner.settings),
        "steps_per_epoch": learner.schedule.steps_per_epoch,
        "progress": asdict(progress),
        "model": learner.model.state_dict(),
        "ema": learner.ema.model.state_dict(),
        "ema_updates": learner.ema.updates,
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "terms": list(learner.terms),
        "ranks": rank,
    }


def restore(state: Mapping[str, Any], learner: Learner, where: str) -> Progress:
    """Put everything back, and say what the run does differently from before."""
    if state.get("format") != FORMAT:
        raise ValueError(f"{where}: not a state of a training run; give the weights/last.pt of a run folder")
    progress = Progress(**state["progress"])
    _compare(state, learner, progress, where)
    for name, module in (("model", learner.model), ("ema", learner.ema.model)):
        try:
            module.load_state_dict(state[name])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{where}: these weights belong to another network ({reason})") from None
    try:
        learner.optimizer.load_state_dict(state["optimizer"])
    except ValueError as error:
        raise ValueError(f"{where}: the optimizer had other parameters ({error}); was something frozen?") from None
    for group in learner.optimizer.param_groups:
        group["weight_decay"] = learner.settings.effective_decay if group["group"] == 1 else 0.0
    learner.scaler.load_state_dict(state["scaler"])
    learner.ema.updates = state["ema_updates"]
    learner.terms = tuple(state["terms"])
    ranks = state["ranks"]
    if learner.ranks.index < len(ranks):
        own = ranks[learner.ranks.index]
        set_generators(own["random"])
        learner.sums = None if own["sums"] is None else torch.tensor(own["sums"], dtype=torch.float64)
        learner.sums = learner.sums if learner.sums is None else learner.sums.to(learner.device)
    return progress


def _compare(state: Mapping[str, Any], learner: Learner, progress: Progress, where: str) -> None:
    then, now = state["steps_per_epoch"], learner.schedule.steps_per_epoch
    if then != now and progress.index:
        raise ValueError(
            f"{where}: stopped within an epoch of {then} steps, which now has {now}; "
            "resume with the same data, batch size and number of processes"
        )
    if then != now:
        log.warning("%s: an epoch had %d steps and now has %d", where, then, now)
    current = asdict(learner.settings)
    for field in fields(TrainSettings):
        before = state["settings"].get(field.name)
        if before != current[field.name]:
            log.warning("resuming with another %s: %s, was %s", field.name, current[field.name], before)


# ---------------------------------------------------------------------------------------------- random generators


def generators() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators in plain values."""
    name, key, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (others may use the global one)
    version, internal, gauss_next = random.getstate()
    return {
        "python": [version, list(internal), gauss_next],
        "numpy": [name, key.tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_generators(states: Mapping[str, Any]) -> None:
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, key, *rest = states["numpy"]
    np.random.set_state((name, np.array(key, np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def seed_generators(seed: int) -> None:
    """Start the global generators, for code of others that draws from them; ours are handed theirs."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
