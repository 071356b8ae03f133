"""Rates, momentum and accumulation, number for number against the original's tables."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from utils.training.schedule import Schedule, cosine, linear
from utils.training.settings import TrainSettings


@pytest.fixture(scope="module")
def tables(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "fixtures" / "yolo_pose" / "public" / "schedules.json").read_text())


@pytest.mark.parametrize("shape", [cosine, linear])
def test_the_decay_equals_the_original_in_every_epoch(tables: dict[str, Any], shape: Any) -> None:
    settings = TrainSettings(epochs=tables["epochs"], lrf=tables["lrf"])
    for epoch, expected in tables[shape.__name__].items():
        assert shape(settings, int(epoch)) == pytest.approx(expected, rel=1e-15)


def test_epoch_e_runs_with_the_rate_of_the_epoch_before_as_published(tables: dict[str, Any]) -> None:
    schedule = Schedule(TrainSettings(epochs=5, warmup_epochs=0), 10)
    rates = [schedule.at(10 * epoch).rates[1] for epoch in range(5)]
    expected = tables["actual_lr_used_per_epoch_5epochs_lr0.01_fresh_run_ignoring_warmup"]
    assert rates == pytest.approx(expected, rel=1e-15)


def test_epoch_e_runs_with_its_own_rate_in_the_clean_timing(tables: dict[str, Any]) -> None:
    schedule = Schedule(TrainSettings(epochs=5, warmup_epochs=0, timing="epoch"), 10)
    assert [schedule.at(10 * epoch + 9).rates[1] for epoch in range(5)] == pytest.approx(tables["cosine_5"], rel=1e-15)


def test_by_step_the_rate_falls_within_an_epoch() -> None:
    schedule = Schedule(TrainSettings(epochs=5, warmup_epochs=0, timing="step"), 10)
    assert schedule.at(0).rates[1] > schedule.at(5).rates[1] > schedule.at(9).rates[1]
    halfway = schedule.at(25).rates[1]
    assert halfway == pytest.approx(0.01 * 0.6)


def test_the_warm_up_equals_the_original(tables: dict[str, Any]) -> None:
    schedule = Schedule(TrainSettings(batch_size=16), 333)  # three epochs are fewer than 1,000 steps
    assert schedule.warmup_steps == 1000
    schedule = Schedule(TrainSettings(batch_size=16, lrf=1.0), 333)  # the tables hold the rate still
    for step, expected in tables["warmup_accumulate_bs16_nw1000"].items():
        assert schedule.at(int(step)).accumulate == expected
    for step, expected in tables["warmup_bias_lr_lr0.01_nw1000"].items():
        assert schedule.at(int(step)).rates[2] == pytest.approx(expected, rel=1e-12)
    for step, expected in tables["warmup_other_lr"].items():
        assert schedule.at(int(step)).rates[:2] == pytest.approx((expected, expected), rel=1e-12)
    for step, expected in tables["warmup_momentum"].items():
        assert schedule.at(int(step)).momentum == pytest.approx(expected, rel=1e-12)


def test_decay_and_accumulation_follow_the_batch_size_as_published(tables: dict[str, Any]) -> None:
    for batch, expected in tables["weight_decay_scaled"].items():
        assert TrainSettings(batch_size=int(batch)).effective_decay == pytest.approx(expected, rel=1e-15)
    for batch, expected in tables["accumulate_after_warmup"].items():
        schedule = Schedule(TrainSettings(batch_size=int(batch)), 100)
        assert schedule.at(5000).accumulate == expected


def test_the_epoch_in_which_the_warm_up_ends_keeps_its_own_rate() -> None:
    """Warm-up of 25 steps, epochs of 10: steps 26 to 29 belong to epoch 2 and know it, epoch 3 has the rate of 2."""
    settings = TrainSettings(epochs=5, warmup_epochs=1, warmup_least=25)
    schedule = Schedule(settings, 10)
    assert schedule.at(27).rates == pytest.approx((0.01 * cosine(settings, 2),) * 3)
    assert schedule.at(30).rates == pytest.approx((0.01 * cosine(settings, 2),) * 3)
    assert schedule.at(40).rates == pytest.approx((0.01 * cosine(settings, 3),) * 3)


@pytest.mark.parametrize("timing", ["published", "epoch"])
def test_an_epoch_ends_with_a_step(timing: str) -> None:
    schedule = Schedule(TrainSettings(batch_size=16, warmup_epochs=0, timing=timing), 10)
    completing = [step for step in range(20) if schedule.at(step).completes]
    expected = {"published": [0, 4, 8, 9, 12, 16, 19], "epoch": [3, 7, 9, 13, 17, 19]}
    assert completing == expected[timing]


def test_yolox_waits_five_epochs_decays_for_280_and_stays_flat_for_twenty() -> None:
    settings = TrainSettings(epochs=300, lr0=0.004, lrf=0.05, timing="step", decay_from=5, decay_over=280,
                             flat_epochs=20, warmup_epochs=5, warmup_least=0, warmup_shape="quadratic",
                             warmup_bias_lr=0.0)  # fmt: skip
    schedule = Schedule(settings, 10)
    assert schedule.at(25).rates[1] == pytest.approx(0.004 / 4)
    assert schedule.at(1000).rates[1] == pytest.approx(2e-4 + 0.0019 * (1 + math.cos(math.pi * 95 / 280)))
    assert schedule.at(2800).rates == schedule.at(2999).rates


def test_steps_lose_a_factor_at_each_milestone() -> None:
    settings = TrainSettings(
        epochs=210, lr0=1e-3, lrf=0.1, schedule="steps", milestones=(170, 200), timing="epoch", warmup_epochs=0
    )
    schedule = Schedule(settings, 2)
    assert [schedule.at(2 * epoch).rates[1] for epoch in (0, 169, 170, 199, 200)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-5]
    )


def test_no_warm_up_means_none() -> None:
    moment = Schedule(TrainSettings(warmup_epochs=0), 10).at(0)
    assert moment.rates == (0.01, 0.01, 0.01) and moment.momentum == 0.937
