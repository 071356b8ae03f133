"""Number for number against the originals of YOLOX-Pose: mmpose's project and core, TI's edgeai-yolox. Learning."""

import math

import numpy as np
import pytest
import torch

from models.build import renamed
from models.families.yolox_pose import Gains, Model
from models.yolox_head import keypoints_of
from tests.models.original_yolox import Originals, assert_close, targets_of
from utils.core.oks import oks
from utils.core.poses import Targets
from utils.data.recipe import Augment
from utils.training.ema import Ema, decay_at
from utils.training.schedule import Schedule
from utils.training.settings import TrainSettings, read_recipe

TERMS = {
    "loss_cls": "class", "loss_bbox": "box", "loss_obj": "object", "loss_kpt": "keypoint", "loss_vis": "visibility",
    "loss_bbox_aux": "l1", "cls": "class", "iou_x5": "box", "obj": "object", "kpts_x5": "keypoint",
    "kpts_vis": "visibility",
}  # fmt: skip
BOTH = ("project", "core")


@pytest.fixture(scope="module")
def originals(shared) -> Originals:
    return Originals(shared)


def owners(model: Model, raw: tuple[torch.Tensor, ...], targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """As recorded: for each cell the number of its person within its image, from 1, 0 for nobody; and their OKS."""
    slots, grid = model._read(raw)
    people = model._people(targets)
    pairs = model.assigned(slots, grid, people)
    found = torch.zeros_like(slots.object, dtype=torch.int64)
    first = torch.searchsorted(targets.image_index, torch.arange(len(found)))
    found[pairs.image, pairs.cell] = pairs.person - first[pairs.image] + 1
    keypoints = keypoints_of(slots.keypoints, *grid)[pairs.image, pairs.cell]
    overlap = torch.zeros_like(slots.object)
    visible, scale = people.visible[pairs.person], people.scales[pairs.person]
    overlap[pairs.image, pairs.cell] = oks(keypoints, people.keypoints[pairs.person], visible, scale, model.sigmas)
    return found, overlap


def recorded_overlaps(layout: str, overlaps: torch.Tensor) -> torch.Tensor:
    """mmpose's project and MMYOLO note the square root."""
    return overlaps if layout == "core" else overlaps.sqrt()


@pytest.mark.parametrize("layout", BOTH)
def test_the_same_cells_learn_from_the_same_people(originals: Originals, layout: str) -> None:
    """The assigner alone, with up to twelve people in an image."""
    recipe, arrays = originals.recipe, originals.arrays(f"{layout}_simota_synth")
    model = originals.model(layout, "nano")
    for case, facts in originals.facts(f"{layout}_simota_synth").items():
        height, width = facts["h"], facts["w"]
        people = recipe.make_targets(facts["target_seed"], height, width, [facts["count"]])
        priors = recipe.make_priors(height, width)
        guesses = recipe.make_synth_preds(facts["pred_seed"], priors, people[0])
        raw = maps_of(recipe, [recipe.encode_raw(priors, guesses)], height, width)
        found, overlaps = owners(model, raw, targets_of(people))
        assert found[0].tolist() == arrays[f"{case}/assigned_gt_inds"].tolist()
        assert (found > 0).sum() == facts["num_pos"]
        positive = found[0] > 0
        theirs = arrays[f"{case}/max_overlaps"][positive.numpy()]
        assert_close(recorded_overlaps(layout, overlaps)[0, positive], theirs, 1e-4)


def maps_of(recipe, encoded: list[dict[str, np.ndarray]], height: int, width: int) -> tuple[torch.Tensor, ...]:
    maps = recipe.to_maps(encoded, height, width)
    order = ("bbox", "obj", "cls", "kpt", "vis")
    return tuple(torch.cat([torch.from_numpy(maps[key][level]) for key in order], 1) for level in range(3))


def given_maps(originals: Originals, facts: dict) -> tuple[tuple[torch.Tensor, ...], list[dict]]:
    """The raw outputs and people of a case without a network."""
    recipe, height, width = originals.recipe, facts["h"], facts["w"]
    priors, people, encoded = recipe.make_priors(height, width), [], []
    for pred_seed, target_seed, count in facts["items"]:
        around = recipe.make_targets(target_seed, height, width, [max(count, 1)])[0]
        encoded.append(recipe.encode_raw(priors, recipe.make_synth_preds(pred_seed, priors, around)))
        people.append(recipe.make_targets(target_seed, height, width, [count])[0])
    return maps_of(recipe, encoded, height, width), people


@pytest.mark.parametrize("layout", BOTH)
def test_terms_and_gradients_of_given_maps_equal_the_original(originals: Originals, layout: str) -> None:
    arrays, model = originals.arrays(f"{layout}_rawloss"), originals.model(layout, "nano")
    for case, facts in originals.facts(f"{layout}_rawloss").items():
        assigned = arrays[f"{case.removesuffix('_aux')}/assigned_gt_inds"]
        raw, people = given_maps(originals, facts)
        raw = tuple(level.requires_grad_() for level in raw)
        targets = targets_of(people)
        found, overlaps = owners(model, raw, targets)
        assert found.tolist() == assigned.tolist()
        if f"{case}/max_overlaps" in arrays:
            assert_close(recorded_overlaps(layout, overlaps), arrays[f"{case}/max_overlaps"].clip(min=0), 1e-4)
        if f"{case}/loss_kpt_per_positive" in arrays:
            each = 30 * (1 - overlaps[found > 0])
            assert_close(each, arrays[f"{case}/loss_kpt_per_positive"], 1e-4)
        terms = model.loss(raw, targets, progress=1.0 if case.endswith("aux") else 0.0)
        for theirs, expected in facts["losses"].items():
            assert math.isclose(terms[TERMS[theirs]].item(), expected, rel_tol=1e-5), (case, theirs)
        assert math.isclose(sum(terms.values()).item(), facts["total"], rel_tol=1e-5)
        sum(terms.values()).backward()
        gradient = torch.cat([level.grad.flatten(2).transpose(1, 2) for level in raw], 1)
        parts = dict(zip(("bbox", "obj", "cls", "kpt", "vis"), gradient.split((4, 1, 1, 34, 17), -1), strict=True))
        positive = torch.from_numpy(assigned > 0)
        for name, values in parts.items():
            assert math.isclose(values.norm().item(), facts["grad_norm"][name], rel_tol=1e-4), (case, name)
            assert_close(values[positive], arrays[f"{case}/grad_pos_{name}"], 1e-4)


@pytest.mark.parametrize("layout", ["project", "core", "edgeai", "edgeai_lite"])
def test_terms_and_gradient_norms_through_the_network_equal_the_original(originals: Originals, layout: str) -> None:
    layout, _, lite = layout.partition("_")
    size = "nano_lite" if lite else "nano"
    for case, facts in originals.facts(f"{layout}_{size}_loss").items():
        if case.startswith("raw"):
            continue
        model = originals.model(layout, size).train(facts.get("train_bn", True))
        images = originals.images(facts["input_seed"], len(facts["counts"]), facts["h"], facts["w"])
        targets = originals.targets(facts["target_seed"], facts["h"], facts["w"], facts["counts"])
        terms = model.loss(model(images), targets, progress=1.0 if "aux" in case else 0.0)
        for theirs, expected in facts["losses"].items():
            if theirs in TERMS:
                # Through a hundred layers the last digits differ more than those of the loss alone.
                assert math.isclose(terms[TERMS[theirs]].item(), expected, rel_tol=1e-4, abs_tol=1e-6), (case, theirs)
        if "total" in facts:
            assert math.isclose(sum(terms.values()).item(), facts["total"], rel_tol=1e-4)
        sum(terms.values()).backward()
        norms = {
            name: values.grad.norm().item() for name, values in model.named_parameters() if values.grad is not None
        }
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert math.isclose(total, facts["grad_total"], rel_tol=1e-3)
        recorded = {name: torch.tensor(value) for name, value in facts["grad_norms"].items() if value is not None}
        for name, norm in renamed(recorded, Model).items():
            assert math.isclose(norms[name], norm.item(), rel_tol=1e-2, abs_tol=1e-3 * total), (case, name)


@pytest.mark.parametrize("layout", BOTH)
def test_the_same_cells_learn_through_the_network(originals: Originals, layout: str) -> None:
    """And the statistics of a training step are the original's."""
    arrays = originals.arrays(f"{layout}_nano_loss")
    for case, facts in originals.facts(f"{layout}_nano_loss").items():
        model = originals.model(layout, "nano").train(facts["train_bn"])
        images = originals.images(facts["input_seed"], len(facts["counts"]), facts["h"], facts["w"])
        targets = originals.targets(facts["target_seed"], facts["h"], facts["w"], facts["counts"])
        with torch.no_grad():
            raw = model(images)
        found, overlaps = owners(model, raw, targets)
        expected = arrays[f"{case}/assigned_gt_inds"]
        with_people = [index for index, count in enumerate(facts["counts"]) if count or len(expected) == len(found)]
        assert found[with_people].tolist() == expected.tolist(), case
        if f"{case}/max_overlaps" in arrays:
            theirs = arrays[f"{case}/max_overlaps"].clip(min=0)
            np.testing.assert_allclose(recorded_overlaps(layout, overlaps), theirs, atol=1e-5)
            each = 30 * (1 - overlaps[found > 0]) if (found > 0).any() else torch.zeros(1)
            np.testing.assert_allclose(each, arrays[f"{case}/loss_kpt_per_positive"], rtol=1e-4)
        buffers = dict(model.named_buffers())
        for name, (mean, size) in facts.get("running_stats_after", {}).items():
            [(own, _)] = renamed({name: torch.empty(0)}, Model).items()
            assert math.isclose(buffers[own].double().mean().item(), mean, rel_tol=1e-4), name
            assert math.isclose(buffers[own].double().abs().sum().item(), size, rel_tol=1e-4), name


@pytest.mark.parametrize("case", ["raw_R1", "raw_R2"])
def test_terms_of_given_maps_equal_those_of_ti(originals: Originals, case: str) -> None:
    """The same decoded numbers, in TI's encoding of them."""
    facts = originals.facts("edgeai_nano_loss")[case]
    raw, people = given_maps(originals, facts)
    doubled = []
    for level, stride in zip(raw, (8, 16, 32), strict=True):
        offsets, visible = level[:, 6:40].unflatten(1, (17, 2)), level[:, 40:, None] / stride
        points = (torch.cat((offsets, visible), 2) + 0.5) / 2
        doubled.append(torch.cat((level[:, :6], points.flatten(1, 2)), 1))
    terms = originals.model("edgeai", "nano").loss(tuple(doubled), targets_of(people), progress=0.0)
    for theirs in ("iou_x5", "obj", "cls", "kpts_x5"):
        assert math.isclose(terms[TERMS[theirs]].item(), facts["losses"][theirs], rel_tol=1e-4), (theirs, facts["note"])


@pytest.mark.parametrize("steps", [7, 10])
def test_every_learning_rate_of_three_hundred_epochs_equals_the_original(originals: Originals, steps: int) -> None:
    recipe, _, _ = read_recipe("hyp.yolox_pose.yaml", TrainSettings, Gains, Augment)
    schedule = Schedule(TrainSettings.from_values(recipe, "recipe"), steps)
    rates = np.array([schedule.at(step).rates for step in range(300 * steps)])  # (steps, 3)
    expected = originals.arrays("schedule_ema")[f"lr_L{steps}"]
    np.testing.assert_allclose(rates, np.repeat(expected[:, None], 3, 1), rtol=1e-9)


def test_the_average_of_the_weights_follows_as_the_original(originals: Originals) -> None:
    recipe, _, _ = read_recipe("hyp.yolox_pose.yaml", TrainSettings, Gains, Augment)
    settings = TrainSettings.from_values(recipe, "recipe")
    arrays = originals.arrays("schedule_ema")
    source = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    source.weight.fill_(-100.0)  # what it was before the first update leaves no trace
    copies = settings.ema_start == "copy"
    ema = Ema(source, decay=settings.ema_decay, ramp=settings.ema_ramp, copies_first=copies)
    for value, expected in zip(arrays["ema_source"], arrays["ema_value"], strict=True):
        source.weight.fill_(float(value))
        ema.update()
        assert math.isclose(ema.model.weight.item(), float(expected), rel_tol=1e-5)
    for before, expected in zip(arrays["ema_momentum_steps"], arrays["ema_momentum"], strict=True):
        share = 1 - decay_at(int(before) + 1, settings.ema_decay, settings.ema_ramp)
        assert math.isclose(share, expected, rel_tol=1e-9)


def test_the_last_twenty_one_epochs_are_plain_and_have_the_l1_term() -> None:
    recipe, gains, _ = read_recipe("hyp.yolox_pose.yaml", TrainSettings, Gains, Augment)
    settings = TrainSettings.from_values(recipe, "recipe")
    schedule = Schedule(settings, 10)
    assert settings.epochs - settings.plain_epochs == 279
    assert schedule.progress(2789) < Gains(**gains).l1_from <= schedule.progress(2790)
