"""A run that was stopped and goes on ends with the very bits of one that was never stopped."""

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.small import QUICK, Drawn, assert_same, everything, spots, tiny_model, trainer
from utils.core import checkpoint
from utils.core.poses import Batch
from utils.training.settings import TrainSettings
from utils.training.trainer import Trainer

RECIPES = {
    "published": QUICK,
    "another_size_each_step": replace(QUICK, multi_scale=(0.5, 1.5)),
    "adam": replace(QUICK, optimizer="AdamW", clip=0.1, timing="step", gradients="mean"),
    "bfloat16": replace(QUICK, precision="bf16"),
}


class Interrupted(Drawn):
    """The same batches; with one of them comes a signal, as from a cluster that wants its machine back."""

    def __init__(self, epoch: int, index: int) -> None:
        super().__init__(batches=5)
        self.when = (epoch, index)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        for index in range(start, self.batches):
            if (number, index) == self.when:
                os.kill(os.getpid(), signal.SIGTERM)
            yield self.batch(number, index)


def stopped_and_resumed(folder: Path, settings: TrainSettings, where: tuple[int, int], **given: Any) -> Trainer:
    first = trainer(folder, settings, loader=Interrupted(*where), model=given["model"]())
    outcome = first.fit()
    assert outcome.reason == "SIGTERM"
    second = trainer(folder, settings, loader=Drawn(batches=5), model=given["model"](7))  # other weights to begin with
    second.resume(folder / "weights" / "last.pt")
    second.fit()
    return second


@pytest.mark.parametrize("where", [(0, 4), (0, 1), (1, 0), (1, 2)], ids=lambda place: f"epoch{place[0]}_step{place[1]}")
@pytest.mark.parametrize("recipe", RECIPES)
def test_stopping_and_going_on_changes_no_bit(tmp_path: Path, recipe: str, where: tuple[int, int]) -> None:
    settings = RECIPES[recipe]
    whole = trainer(tmp_path / "whole", settings, loader=Drawn(batches=5))
    whole.fit()
    parts = stopped_and_resumed(tmp_path / "parts", settings, where, model=spots)
    assert_same(everything(whole), everything(parts))
    assert whole.learner.ema.updates == parts.learner.ema.updates
    for ours, theirs in zip(whole.run.rows, parts.run.rows, strict=True):
        same = [name for name in ours if name not in ("time", "images_per_second", "waiting_for_data")]
        assert {name: theirs[name] for name in same} == pytest.approx({name: ours[name] for name in same}, rel=1e-6)


def test_yolo_pose_goes_on_from_the_middle_of_an_epoch_without_losing_a_bit(tmp_path: Path) -> None:
    settings = replace(QUICK, multi_scale=(0.5, 1.0))
    whole = trainer(tmp_path / "whole", settings, loader=Drawn(batches=5), model=tiny_model())
    whole.fit()
    parts = stopped_and_resumed(tmp_path / "parts", settings, (1, 1), model=tiny_model)
    assert_same(everything(whole), everything(parts))


def test_the_global_generators_go_on_where_they_were(tmp_path: Path) -> None:
    first = trainer(tmp_path, replace(QUICK, epochs=1))
    first.fit()
    expected = (random.random(), np.random.random(), torch.rand(1).item())  # noqa: NPY002
    second = trainer(tmp_path, replace(QUICK, epochs=1))
    second.resume(tmp_path / "weights" / "last.pt")
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    trainer(tmp_path, QUICK).fit()
    longer = trainer(tmp_path, replace(QUICK, epochs=4))
    longer.resume(tmp_path / "weights" / "last.pt")
    assert longer.fit().epochs == 4
    assert [row["epoch"] for row in longer.run.rows] == [0, 1, 2, 3]


def test_a_finished_run_that_is_resumed_has_nothing_left_to_do(tmp_path: Path) -> None:
    trainer(tmp_path, QUICK).fit()
    again = trainer(tmp_path, QUICK)
    again.resume(tmp_path / "weights" / "last.pt")
    assert again.fit().reason == "finished"
    assert len(again.run.rows) == 2


def test_a_state_of_another_network_is_refused_in_one_sentence(tmp_path: Path) -> None:
    trainer(tmp_path, replace(QUICK, epochs=1)).fit()
    other = trainer(tmp_path / "other", QUICK, model=tiny_model())
    with pytest.raises(ValueError, match=r"last\.pt: these weights belong to another network"):
        other.resume(tmp_path / "weights" / "last.pt")


def test_a_file_that_is_no_state_of_a_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    checkpoint.save_state(path, {"model": {}})
    with pytest.raises(ValueError, match=r"not a state of a training run; give the weights/last\.pt"):
        trainer(tmp_path, QUICK).resume(path)


def test_a_run_that_stopped_within_an_epoch_needs_the_same_batches(tmp_path: Path) -> None:
    trainer(tmp_path, QUICK, loader=Interrupted(0, 2)).fit()
    with pytest.raises(ValueError, match="stopped within an epoch of 5 steps, which now has 4; resume with the same"):
        trainer(tmp_path, QUICK, loader=Drawn(batches=4)).resume(tmp_path / "weights" / "last.pt")


def test_other_settings_are_named_when_a_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tmp_path, replace(QUICK, epochs=1)).fit()
    trainer(tmp_path, replace(QUICK, epochs=1, lr0=0.1)).resume(tmp_path / "weights" / "last.pt")
    assert "resuming with another lr0: 0.1, was 0.002" in caplog.text


def test_a_second_interrupt_ends_the_program_at_once(tmp_path: Path) -> None:
    class Impatient(Drawn):
        def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            yield from super().epoch(number, start=start)

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, QUICK, loader=Impatient()).fit()
