"""Who decays, who is frozen, and the original's training followed step by step."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.original import Original
from tests.training.small import tiny_model
from utils.core.contract import PoseModel
from utils.training.ema import Ema, decay_at
from utils.training.optimizer import NORMS, apply, build_optimizer, freeze, parameter_groups
from utils.training.schedule import Schedule
from utils.training.settings import TrainSettings

STEPS = 20


@pytest.fixture(scope="module")
def original(shared: Path) -> Original:
    return Original(shared, "tiny_s6")


@pytest.fixture(scope="module")
def recorded(original: Original) -> dict[str, dict[str, Any]]:
    runs = json.loads((original.folder / "public" / "sgd20_tiny_s6.json").read_text())
    return {run["mode"]: run for run in runs}


def run_of(recorded: dict[str, dict[str, Any]], mode: str) -> dict[str, Any]:
    if mode not in recorded:
        pytest.skip(f"the original's run '{mode}' is not among the fixtures here")
    return recorded[mode]


def followed(original: Original, run: dict[str, Any]) -> tuple[PoseModel, list[list[float]]]:
    """Our twenty steps with the recipe of a recorded run, and its rows: loss times batch, each term, their sum."""
    settings = TrainSettings(
        epochs=10**9, batch_size=2, nominal_batch=2, lr0=run["lr0"], lrf=1.0, timing="epoch",
        warmup_epochs=1.0 if run["nw"] else 0.0, warmup_least=0, warmup_bias_lr=10 * run["lr0"],
    )  # fmt: skip
    schedule = Schedule(settings, run["nw"] or STEPS)
    model = original.model(input_size=128)
    model.train(not run["bn_frozen"])
    optimizer = build_optimizer(model, settings)
    images, targets = original.images(128, 128, 2), original.targets("A", 128, 128)
    rows = []
    for step in range(STEPS):
        apply(schedule.at(step), optimizer)
        terms = model.loss(model(images), targets, progress=0.0)
        total = sum(terms.values())
        rows.append([total.item(), *(term.item() / 2 for term in terms.values()), total.item() / 2])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return model, rows


@pytest.mark.parametrize("mode", ["bn_frozen", "bn_frozen_warmup"])
def test_twenty_steps_follow_the_original_to_the_sixth_digit(
    original: Original, recorded: dict[str, dict[str, Any]], mode: str
) -> None:
    run = run_of(recorded, mode)
    model, rows = followed(original, run)
    for ours, theirs in zip(rows, run["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6, abs=1e-8)
    norm = torch.cat([p.flatten() for p in model.parameters()]).double().norm().item()
    assert norm == pytest.approx(run["param_norm"], rel=1e-9)


def test_with_batch_statistics_the_first_step_is_equal_and_the_loss_falls_as_far(
    original: Original, recorded: dict[str, dict[str, Any]]
) -> None:
    """After it the original's own float32 and float64 runs differ by one hundredth."""
    run = run_of(recorded, "plain")
    _, rows = followed(original, run)
    assert rows[0] == pytest.approx(run["rows"][0], rel=2e-4, abs=1e-6)
    assert rows[-1][0] == pytest.approx(run["rows"][-1][0], rel=0.08)


def test_the_warm_up_of_the_recorded_run_is_ours(recorded: dict[str, dict[str, Any]]) -> None:
    run = run_of(recorded, "bn_frozen_warmup")
    settings = TrainSettings(lr0=run["lr0"], lrf=1.0, warmup_least=0, warmup_epochs=1, warmup_bias_lr=10 * run["lr0"])
    schedule = Schedule(settings, run["nw"])
    for step, groups in enumerate(run["lr_momentum_per_step_per_group"]):
        moment = schedule.at(step)
        for index, (rate, momentum) in enumerate(groups):
            assert (moment.rates[index], moment.momentum) == pytest.approx((rate, momentum), rel=1e-12)


def test_the_groups_have_the_published_sizes(original: Original, recorded: dict[str, dict[str, Any]]) -> None:
    groups = parameter_groups(original.model())
    assert [len(group) for group in groups] == recorded["bn_frozen"]["groups"]


def test_only_weights_that_are_no_normalisation_decay() -> None:
    model = tiny_model()
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, TrainSettings())
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decays) == len(names)
    assert {decays[name] for name in decays if name.endswith("bias")} == {0.0}
    assert {decays[name] for name in decays if name.endswith("bn.weight")} == {0.0}
    assert {decays[name] for name in decays if name.endswith("conv.weight")} == {0.0005}


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_each_optimizer_takes_the_rates_of_the_moment(kind: str) -> None:
    settings = TrainSettings(optimizer=kind)
    optimizer = build_optimizer(tiny_model(), settings)
    moment = Schedule(settings, 100).at(500)
    apply(moment, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == list(moment.rates)
    if kind != "SGD":
        assert optimizer.param_groups[0]["betas"] == (0.937, 0.999)


def test_the_first_layers_are_frozen_by_number_and_no_others() -> None:
    model = tiny_model()
    resting = freeze(model, 2)
    frozen = {name.split(".")[2] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "1"}
    assert all(isinstance(module, NORMS) for module in resting) and len(resting) == 2


def test_layers_are_frozen_by_name_and_a_misspelt_one_is_named() -> None:
    model = tiny_model()
    freeze(model, ("body",))
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"head"}
    with pytest.raises(ValueError, match=r"freeze: no parameter begins with 'haed'; did you mean 'head'\?"):
        freeze(model, ("haed",))
    with pytest.raises(ValueError, match="freeze: 40 found; this network has 33 layers"):
        freeze(model, 40)


def test_freezing_everything_is_refused() -> None:
    model = tiny_model()
    freeze(model, ("body", "head"))
    with pytest.raises(ValueError, match="nothing is left to learn"):
        build_optimizer(model, TrainSettings(freeze=("body", "head")))


# ---------------------------------------------------------------------------------------------- the average


def test_the_average_slows_down_as_published(shared: Path) -> None:
    tables = json.loads((shared / "fixtures" / "yolo_pose" / "public" / "schedules.json").read_text())
    for update, expected in tables["ema_decay"].items():
        assert decay_at(int(update)) == pytest.approx(expected, rel=1e-12)


def test_the_average_follows_weights_and_statistics_by_the_formula() -> None:
    model = tiny_model()
    ema = Ema(model)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for update in range(1, 4):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(1)
        ema.update()
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay_at(update) * expected[name] + (1 - decay_at(update)) * tensor
    for name, tensor in ema.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-6)


def test_single_layers_are_frozen_by_their_numbers_and_by_name() -> None:
    model = tiny_model()
    freeze(model, ("0", "2", "head.box"))
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    starts = {".".join(name.split(".")[:3]) if name.startswith("body") else name[:8] for name in still}
    assert starts == {"body.layers.0", "body.layers.2", "head.box"}
    with pytest.raises(ValueError, match="freeze: 41 found; this network has 33 layers"):
        freeze(model, ("1", "40"))
