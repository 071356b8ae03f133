"""One of two processes that learn from one batch, for test_06: `python -m tests.reliability.ddp_ranks FOLDER`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from tests.training.small import QUICK, batch_of, draw_scene, spots, tiny_model
from utils.core.contract import PoseModel
from utils.core.distributed import join_processes, leave_processes, rank, world_size
from utils.core.poses import Batch, Targets
from utils.training.learner import Learner
from utils.training.ranks import Ranks


@dataclass(frozen=True)
class Case:
    """A batch: which of its images show somebody. Images go to the ranks in turn."""

    people: tuple[bool, ...]
    family: str = "yolo_pose"
    alike: bool = True  # people of all images stand alike, so that everybody has equally many anchors


CASES = {
    "even": Case((True, True, True, True)),
    "some images without people": Case((True, True, False, False)),
    "uneven last batch": Case((True, True, True)),
    "a rank without people": Case((True, False, True, False), "spots", alike=False),
    "uneven, people anywhere": Case((True, False, True), "spots", alike=False),
    "mean over matches, unlike shares": Case((True, True, False)),
    "mean over matches, a rank without people": Case((True, False, True, False)),
}


def share(case: Case, number: int, index: int, world: int, *, backwards: bool) -> Batch:
    """The images of a rank, some of them with a person."""
    rng = np.random.default_rng(number)
    scenes = [draw_scene(rng) for _ in case.people]
    mine = list(range(len(scenes)))[index::world][:: -1 if backwards else 1]
    joints = [scenes[0][1] if case.alike else scenes[i][1] for i in mine]
    batch = batch_of([scenes[i][0] for i in mine], joints, [f"{number}_{i}.jpg" for i in mine])
    kept = torch.tensor([case.people[i] for i in mine])[batch.targets.image_index]
    fields = {name: value[kept] for name, value in vars(batch.targets).items()}
    return replace(batch, targets=Targets(**fields))


def learned(
    case: Case, dtype: torch.dtype, index: int, world: int, *, backwards: bool = False
) -> dict[str, torch.Tensor]:
    """Losses and gradients of one step of two batches: the first without exchange, the second with.

    Everything in one kind of number, also what the loss makes for itself.
    """
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return _learned(case, dtype, index, world, backwards=backwards)
    finally:
        torch.set_default_dtype(usual)


def _learned(case: Case, dtype: torch.dtype, index: int, world: int, *, backwards: bool) -> dict[str, torch.Tensor]:
    model: PoseModel = tiny_model() if case.family == "yolo_pose" else spots()
    size = len(case.people)
    settings = replace(QUICK, batch_size=size, nominal_batch=2 * size, timing="epoch", warmup_epochs=0)
    ranks = Ranks(alone=world == 1)
    learner = Learner(model.to(dtype), settings, device=torch.device("cpu"), steps_per_epoch=4, ranks=ranks)
    learner.network.eval()  # batch statistics are those of a rank's own images
    total = torch.zeros((), dtype=torch.float64)
    for step in range(2):
        moment = learner.schedule.at(step)
        images, targets = learner.inputs(share(case, step, index, world, backwards=backwards), step)
        floats = {name: value.to(dtype) for name, value in vars(targets).items() if value.is_floating_point()}
        targets = replace(targets, **floats)
        with learner.exchange(moment):
            raw = learner.network(images.to(dtype))  # past `forward`, which hands float32 to the loss
            terms = learner.losses(raw, targets, step)
            total += learner.backward(terms, moment).detach().double()
    total = ranks.summed(total)
    return {"loss": total, **{name: p.grad.double() for name, p in learner.model.named_parameters()}}


def difference(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    """Of the loss, and of the gradient of all parameters as one vector, relative to their lengths."""
    assert found.keys() == expected.keys()
    names = [name for name in expected if name != "loss"]
    ours, theirs = (torch.cat([values[name].flatten() for name in names]) for values in (found, expected))
    return abs(found["loss"].item() / expected["loss"].item() - 1), ((ours - theirs).norm() / theirs.norm()).item()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    join_processes(torch.device("cpu"), timedelta(seconds=600))
    for name, case in CASES.items():
        for dtype in (torch.float32, torch.float64):
            found = learned(case, dtype, rank(), world_size())
            torch.save(found, folder / f"{name} {dtype} {rank()}.pt".replace("torch.", ""))
    leave_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
