"""Number for number against the originals of YOLOX-Pose: mmpose's project and core, and TI's edgeai-yolox."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from models.build import load, read_model_yaml, rebuilt, renamed
from models.families.yolox_pose import Gains, Model
from models.yolox_head import LETTERBOXES
from tests.models.original_yolox import Originals, targets_of
from tests.rounding import stray
from utils.core import images as pixels
from utils.core.geometry import inverse, scaling
from utils.core.poses import Candidates, Poses
from utils.core.tta import View
from utils.data.recipe import Augment
from utils.inference.predictor import OneStage
from utils.training.ema import Ema
from utils.training.schedule import Schedule
from utils.training.settings import TrainSettings, read_recipe

CASES = {"A": (11, 1, 128, 128), "B": (12, 2, 192, 256)}
TI_CASES = {"A": (11, 1, 128, 128), "B": (14, 2, 128, 192)}
TERMS = {
    "loss_cls": "class", "loss_bbox": "box", "loss_obj": "object", "loss_kpt": "keypoint", "loss_vis": "visibility",
    "loss_bbox_aux": "l1", "cls": "class", "iou_x5": "box", "obj": "object", "kpts_x5": "keypoint",
    "kpts_vis": "visibility",
}  # fmt: skip
BOTH = ("project", "core")


@pytest.fixture(scope="module")
def originals(shared) -> Originals:
    return Originals(shared)


def assert_close(found: torch.Tensor, expected: np.ndarray, relative: float) -> None:
    """The largest difference, measured against the largest value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float32)
    assert found.shape == expected.shape
    difference = (found.detach() - expected).abs().max() / expected.abs().max()
    assert difference <= relative, f"{difference:.2e} of the largest value; allowed {relative:.0e}"


def raw_parts(model: Model, raw: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    slots, _ = model._read(raw)
    keypoints = slots.keypoints.flatten(2)
    return {"cls": slots.classes, "bbox": slots.box, "obj": slots.object[..., None], "kpt": keypoints,
            "vis": slots.visibility}  # fmt: skip


def decoded_parts(candidates: Candidates) -> dict[str, torch.Tensor]:
    return {"dec_bboxes": candidates.boxes, "dec_kpts": candidates.keypoints, "dec_scores": candidates.scores[..., 0],
            "dec_vis": candidates.keypoint_scores}  # fmt: skip


def assert_same_people(found: Poses, arrays: dict[str, np.ndarray], prefix: str) -> None:
    assert len(found) == int(arrays[f"{prefix}_count"])
    rows = len(arrays[f"{prefix}_scores"])
    assert_close(found.scores[:rows], arrays[f"{prefix}_scores"], 1e-4)
    assert_close(found.keypoint_scores[:rows], arrays[f"{prefix}_keypoint_scores"], 1e-4)
    assert_close(found.boxes[:rows], arrays[f"{prefix}_bboxes"], 5e-4)
    assert_close(found.keypoints[:rows], arrays[f"{prefix}_keypoints"], 5e-4)


@pytest.mark.parametrize(("layout", "size"), [("project", "nano"), ("project", "tiny"), ("project", "s"),
                                              ("core", "nano")])  # fmt: skip
def test_raw_and_decoded_outputs_and_the_people_selected_equal_the_original(
    originals: Originals, layout: str, size: str
) -> None:
    arrays = originals.arrays(f"{layout}_{size}_forward")
    model = originals.model(layout, size, max_poses=100_000)
    for case, (seed, count, height, width) in CASES.items():
        if size != "nano":
            if case == "B":
                continue
            seed, count, height, width = 12, 1, 192, 256
        with torch.no_grad():
            raw = model(originals.images(seed, count, height, width))
            candidates = model.decode([raw], [View()])
        for key, values in {**raw_parts(model, raw), **decoded_parts(candidates)}.items():
            if f"{case}/{key}" in arrays:
                assert_close(values, arrays[f"{case}/{key}"], 5e-4 if key.startswith("dec") else 2e-4)
        for threshold in (0.01, 0.3):
            selecting = rebuilt(model, model.spec.with_settings(select={"conf": threshold}))
            for image, poses in enumerate(selecting.select(candidates)):
                key = f"{case}/det{image}_thr{threshold}"
                if layout == "project":
                    original_size = (int(1.5 * height), int(1.25 * width))
                    back = inverse(scaling(0.8, 2 / 3))
                    assert_same_people(poses.moved(back).cut_to(original_size), arrays, key)
                else:
                    renamed_arrays = {name.removesuffix("_input"): values for name, values in arrays.items()
                                      if name.endswith("_input")}  # fmt: skip
                    assert_same_people(poses.cut_to((height, width)), arrays | renamed_arrays, key)


@pytest.mark.parametrize("size", ["tiny", pytest.param("s", marks=pytest.mark.slow)])
def test_outputs_at_the_published_size_equal_the_original(originals: Originals, size: str) -> None:
    arrays, side = originals.arrays(f"project_{size}_forward"), {"tiny": 416, "s": 640}[size]
    model = originals.model("project", size, max_poses=100_000)
    with torch.no_grad():
        raw = model(originals.images(22, 1, side, side))
        candidates = model.decode([raw], [View()])
    chosen = torch.from_numpy(arrays["full/sample_priors"]).long()
    for key, values in {**raw_parts(model, raw), **decoded_parts(candidates)}.items():
        assert_close(values[:, chosen], arrays[f"full/{key}_sample"], 5e-4)
        assert math.isclose(values.double().abs().mean().item(), arrays[f"full/{key}_absmean"], rel_tol=1e-4)


@pytest.mark.parametrize("size", ["nano", "nano_lite"])
def test_outputs_and_people_of_ti_equal_the_original(originals: Originals, size: str) -> None:
    """There objectness and class come out as probabilities, and the visibility as its logarithm of odds."""
    arrays = originals.arrays(f"edgeai_{size}_forward")
    model = originals.model("edgeai", size, max_poses=100_000)
    for case, numbers in TI_CASES.items():
        with torch.no_grad():
            raw = model(originals.images(*numbers))
            candidates = model.decode([raw], [View()])
        flat = torch.cat([level.flatten(2).transpose(1, 2) for level in raw], 1)
        assert_close(
            torch.cat((flat[..., :4], flat[..., 4:6].sigmoid(), flat[..., 6:]), -1), arrays[f"{case}/raw"], 2e-4
        )
        points = torch.from_numpy(arrays[f"{case}/decoded"])[..., 6:].unflatten(-1, (17, 3))
        assert_close(candidates.keypoints, points[..., :2].numpy(), 5e-4)
        strays = stray(candidates.keypoint_scores, keypoint_scores_in_double(model, originals.images(*numbers)))
        assert_close(candidates.keypoint_scores, points[..., 2].sigmoid().numpy(), max(5e-4, strays))
        for threshold in (0.01, 0.3):
            selecting = rebuilt(model, model.spec.with_settings(select={"conf": threshold}))
            for image, poses in enumerate(selecting.select(candidates)):
                expected = arrays[f"{case}/post{image}_thr{threshold}"]
                assert len(poses) == int(arrays[f"{case}/post{image}_thr{threshold}_count"])
                assert_close(poses.boxes[: len(expected)], expected[:, :4], 5e-4)
                assert_close(poses.scores[: len(expected)], expected[:, 4] * expected[:, 5], 1e-4)
                found = poses.keypoints[: len(expected)]
                assert_close(found, expected[:, 7:].reshape(-1, 17, 3)[..., :2], 5e-4)


def keypoint_scores_in_double(model: Model, images: torch.Tensor) -> torch.Tensor:
    """Logarithms of odds of some hundreds are scores near 0 or 1, or nothing but rounding."""
    twin = copy.deepcopy(model).double()
    with torch.no_grad():
        return twin.decode([twin(images.double())], [View()]).keypoint_scores


# ---------------------------------------------------------------------------------------------- learning


def owners(model: Model, raw: tuple[torch.Tensor, ...], targets) -> torch.Tensor:
    """As recorded: for each cell the number of its person within its image, from 1; 0 for nobody."""
    slots, grid = model._read(raw)
    pairs = model.assigned(slots, grid, model._people(targets))
    found = torch.zeros_like(slots.object, dtype=torch.int64)
    first = torch.searchsorted(targets.image_index, torch.arange(len(found)))
    found[pairs.image, pairs.cell] = pairs.person - first[pairs.image] + 1
    return found


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
        found = owners(model, raw, targets_of(people))
        assert found[0].tolist() == arrays[f"{case}/assigned_gt_inds"].tolist()
        assert (found > 0).sum() == facts["num_pos"]


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
        assert owners(model, raw, targets).tolist() == assigned.tolist()
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
        sum(terms.values()).backward()
        norms = {
            name: values.grad.norm().item() for name, values in model.named_parameters() if values.grad is not None
        }
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert math.isclose(total, facts["grad_total"], rel_tol=1e-3)
        recorded = {name: torch.tensor(value) for name, value in facts["grad_norms"].items() if value is not None}
        for name, norm in renamed(recorded, Model).items():
            assert math.isclose(norms[name], norm.item(), rel_tol=1e-2, abs_tol=1e-3 * total), (case, name)


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


# ---------------------------------------------------------------------------------------------- recipe and checkpoints


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


def test_the_last_twenty_one_epochs_are_plain_and_have_the_l1_term() -> None:
    recipe, gains, _ = read_recipe("hyp.yolox_pose.yaml", TrainSettings, Gains, Augment)
    settings = TrainSettings.from_values(recipe, "recipe")
    schedule = Schedule(settings, 10)
    assert settings.epochs - settings.plain_epochs == 279
    assert schedule.progress(2789) < Gains(**gains).l1_from <= schedule.progress(2790)


CORE = pytest.mark.xfail(strict=True, reason="the core's warp is not met pixel by pixel yet")


@pytest.mark.parametrize(
    ("original", "letterbox"),
    [("project", "corner"), pytest.param("core", "centre", marks=CORE), ("edgeai", "corner_down")],
)
def test_images_are_put_into_the_input_as_in_the_originals(originals: Originals, original: str, letterbox: str) -> None:
    arrays = originals.arrays("test_pipeline")
    for case, facts in originals.facts("test_pipeline").items():
        image = originals.recipe.make_image(facts["seed"], facts["h"], facts["w"])
        found, _ = pixels.fit(image, (128, 128), LETTERBOXES[letterbox])
        difference = np.abs(found.astype(int) - arrays[f"{case}/{original}_img"].astype(int))
        assert np.mean(difference) < 0.3, (case, difference.max(), difference.mean())


def test_the_published_checkpoint_gives_the_people_of_the_original_inferencer(originals: Originals) -> None:
    """The whole way: file, letterbox, network, selection and the way back."""
    facts = json.loads((originals.folder / "inferencer_nano_192.json").read_text())
    settings = {"conf": facts["score_thr"], "iou": facts["nms_iou"], "max_poses": 100_000}
    model = load(originals.folder / facts["checkpoint"], select=settings)
    image = originals.recipe.make_image(facts["image_seed"], facts["image_h"], facts["image_w"])
    predict = OneStage(model, device=torch.device("cpu"), size=(192, 192))
    [poses] = predict([np.ascontiguousarray(image[..., ::-1])])
    assert abs(len(poses) - facts["count"]) <= 2  # of which some score within the last digit of the threshold
    for row, expected in zip(range(40), facts["instances"], strict=False):
        assert math.isclose(poses.scores[row], expected["bbox_score"], rel_tol=1e-3)
        np.testing.assert_allclose(poses.boxes[row], expected["bbox"][0], atol=0.1)
        np.testing.assert_allclose(poses.keypoints[row], expected["keypoints"], atol=0.1)


@pytest.mark.parametrize(("layout", "size", "name"), [
    ("project", "tiny", "yolox_pose_tiny"), ("project", "s", "yolox_pose_s"), ("core", "s", "yolox_pose_s"),
    ("core", "tiny", "yolox_pose_tiny"), ("edgeai", "s_lite", "yolox_pose_s_ti_lite"),
])  # fmt: skip
def test_published_names_and_shapes_map_one_to_one_onto_our_yaml(
    originals: Originals, layout: str, size: str, name: str
) -> None:
    shapes = {key: torch.empty(value) for key, value in originals.shapes(layout, size).items()}
    with torch.device("meta"):
        own = Model(read_model_yaml(f"{name}.yaml")).state_dict()
    mapped = renamed(shapes, Model)
    assert {key: value.shape for key, value in mapped.items()} == {key: value.shape for key, value in own.items()}
    assert len(mapped) == sum(not key.endswith("sigmas") for key in shapes)
