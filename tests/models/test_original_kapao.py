"""Number for number against the original KAPAO: outputs, objects, selection, fusion, loss, gradients, checkpoints."""

import gzip
import json
import math

import numpy as np
import pytest
import torch

from models.anchors import match_anchors
from models.build import load, renamed
from models.families.kapao import Selection
from models.keypoint_objects import with_keypoint_objects
from models.layers import fused
from tests.models.original_kapao import (
    OriginalKapao,
    objects_from_rows,
    original_candidates,
    original_origin,
    original_poses,
    selection,
    with_first_two_on_the_image,
)
from utils.core.geometry import clip_boxes, cxcywh_to_xyxy, inverse, letterbox, move_points, xyxy_to_cxcywh
from utils.core.poses import Candidates, Poses, Targets
from utils.core.schema import KeypointSchema
from utils.core.tta import View, read_views
from utils.inference.predictor import OneStage

TERMS = ("box", "object", "class", "keypoint")
ORIGINAL_SIZES = {(128, 128): ((200, 160), (90, 131)), (192, 256): ((270, 400),)}
FORWARDS = ("tiny_coco_128x128", "tiny_coco_192x256", "tiny_crowdpose_128x128", "s_coco_128x128", "s_coco_192x256")


@pytest.fixture(params=FORWARDS)
def forward(request: pytest.FixtureRequest, shared) -> tuple[OriginalKapao, dict, tuple[int, int]]:
    """A network, what the original made of its images, and their size."""
    return recorded(shared, request.param)


def recorded(shared, name: str) -> tuple[OriginalKapao, dict, tuple[int, int]]:
    variant, data, size = name.split("_")
    original = OriginalKapao(shared, variant, data)
    height, width = map(int, size.split("x"))
    return original, original.arrays(f"forward_{name}.npz"), (height, width)


@pytest.fixture(params=["coco", "crowdpose"])
def tiny(request: pytest.FixtureRequest, shared) -> OriginalKapao:
    return OriginalKapao(shared, "tiny", request.param)


def as_rows(candidates: Candidates, keypoints: int) -> torch.Tensor:
    return torch.cat((xyxy_to_cxcywh(candidates.boxes), candidates.scores, candidates.keypoints.flatten(2)), -1)


def assert_decoded(candidates: Candidates, decoded: np.ndarray, kinds: int) -> None:
    """Coordinates to a quarter of a pixel, scores to 1e-4."""
    expected = original_candidates(decoded, kinds)
    for name, atol in (("boxes", 0.25), ("keypoints", 0.25), ("scores", 1e-4)):
        torch.testing.assert_close(getattr(candidates, name), getattr(expected, name), atol=atol, rtol=0)


# ------------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize("name", ["tiny_coco", "tiny_crowdpose", "s_coco"])
def test_names_shapes_and_number_of_parameters_map_one_to_one(shared, name: str) -> None:
    original = OriginalKapao(shared, *name.split("_"))
    model = original.model()
    published = {name: tuple(shape) for name, shape, _ in original.facts["state_dict"]}
    mapped = renamed({name: torch.empty(shape) for name, shape in published.items()}, type(model))
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in mapped.items()} == own
    assert len(mapped) + 2 == len(published)  # anchors and anchor_grid
    assert sum(p.numel() for p in model.parameters()) == original.facts["params"]
    assert model.anchors.flatten().tolist() == original.facts["anchor_grid"]
    assert list(model.body.strides) == original.facts["stride"]


def test_raw_maps_and_decoded_candidates_equal_the_original(forward) -> None:
    original, arrays, (height, width) = forward
    model, count = original.model(), len(arrays["eval/decoded"])
    with torch.no_grad():
        raw = model(original.images(height, width, count))
        candidates = model.decode([raw], [View()])
    for index, level in enumerate(raw):
        if f"eval/raw{index}" in arrays:
            found = model.slots(level).permute(0, 1, 3, 4, 2).numpy()
            np.testing.assert_allclose(found, arrays[f"eval/raw{index}"], atol=2e-4)
    assert_decoded(candidates, arrays["eval/decoded"], original.kinds)


# ------------------------------------------------------------------------------------------ selection


def cases(arrays: dict, prefix: str) -> list[tuple[str, int]]:
    keys = {key.split("/")[1:3] and tuple(key.split("/")[1:3]) for key in arrays if key.startswith(f"{prefix}/")}
    return sorted((name, int(image[3:])) for name, image in keys)


@pytest.mark.parametrize("name", FORWARDS)
@pytest.mark.parametrize("prefix", ["post", "tta_post"])
def test_both_passes_and_the_fusion_give_the_people_of_the_original(shared, name: str, prefix: str) -> None:
    """From the original's own decoded candidates, so that the selection alone is on trial."""
    original, arrays, size = recorded(shared, name)
    found = cases(arrays, prefix)
    if not found:
        assert prefix == "tta_post"
        return
    decoded = arrays["eval/decoded" if prefix == "post" else "tta/decoded"]
    origins = tuple(original_origin(entry, size) for entry in ORIGINAL_SIZES[size][: len(decoded)])
    candidates = with_first_two_on_the_image(original_candidates(decoded, original.kinds, origins))
    replaced, model = 0, load("kapao_n.yaml", schema=original.schema, classes=("person",))
    for chosen, image in found:
        model.selection = Selection(**selection(chosen))
        people = model.objects(candidates, image)[0]
        key = f"{prefix}/{chosen}/img{image}"
        assert_detections(people, arrays[f"{key}/person_dets"], 0)
        points = model.objects(original_candidates(decoded, original.kinds), image)[1]
        assert_detections(points, arrays[f"{key}/kp_dets"], 1)
        poses = model.select(candidates)[image].moved(inverse(origins[image].to_input))
        np.testing.assert_allclose(poses.scores, arrays[f"{key}/scores"], atol=1e-6)
        expected = arrays[f"{key}/poses"]
        np.testing.assert_allclose(original_poses(poses), expected, atol=0.02)
        assert poses.fused.sum(0).tolist() == arrays[f"{key}/n_fused"].tolist()
        replaced += int(poses.fused.sum())
    assert replaced > 0


def assert_detections(found: Poses, expected: np.ndarray, first_class: int) -> None:
    """Rows x1, y1, x2, y2, score, class and perhaps keypoints, in the pixels of the network."""
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-2)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-6)
    np.testing.assert_array_equal(found.classes + first_class, expected[:, 5])


# ------------------------------------------------------------------------------------------ views


def test_views_are_undone_and_pooled_as_in_the_original(shared) -> None:
    """The original divides by the scale that was asked for, we by the one that whole pixels allowed."""
    original, arrays, (height, width) = recorded(shared, "tiny_coco_128x128")
    images = original.images(height, width, 1)
    views = [view.of(images) for view in read_views((0.8, 1, 1.2), (-1, 3, -1))]
    model = original.model()
    with torch.no_grad():
        raws = [model(view.apply(images, model.stride)) for view in views]
        candidates = model.decode(raws, views)
    ends = np.cumsum([sum(level.shape[-2] * level.shape[-1] * 3 for level in raw) for raw in raws])
    exact = [int(width * view.scale) / (width * view.scale) for view in views]
    factor = torch.tensor(np.repeat(exact, np.diff([0, *ends]))).float()[:, None]
    as_published = Candidates(
        candidates.boxes * factor, candidates.scores, candidates.keypoints * factor[:, None], candidates.keypoint_scores
    )
    assert_decoded(as_published, arrays["tta/decoded"], original.kinds)


def test_a_mirrored_view_exchanges_left_and_right_in_classes_and_keypoints(shared) -> None:
    original, arrays, (height, width) = recorded(shared, "tiny_coco_128x128")
    images = original.images(height, width, 1)
    [view] = [view.of(images) for view in read_views((1,), (3,))]
    model = original.model()
    with torch.no_grad():
        candidates = model.decode([model(view.apply(images, model.stride))], [view])
    seventh = Candidates(*(values[:, ::7] for values in (candidates.boxes, candidates.scores, candidates.keypoints,
                                                         candidates.keypoint_scores)))  # fmt: skip
    assert_decoded(seventh, arrays["flip3/decoded_head"], original.kinds)


# ------------------------------------------------------------------------------------------ learning


SUBSETS = {
    "mixed": lambda rows: rows,
    "persons_only": lambda rows: rows[rows[:, 1] == 0],
    "kps_only": lambda rows: rows[rows[:, 1] > 0],
    "empty": lambda rows: rows[:0],
    "image1_only": lambda rows: rows[rows[:, 0] == 1],
}
RECIPES = {"p6": {}, "kp": {"obj": 1.0, "cls": 0.5, "kp": 0.05}}
TUNED = ("cls_pw", "obj_pw", "fl_gamma", "label_smoothing")


def assert_loss(model, terms: dict[str, torch.Tensor], expected: dict, names: list[str], batch: int) -> None:
    items = [terms[name].item() / batch for name in TERMS]
    np.testing.assert_allclose(items, expected["items"], rtol=1e-4, atol=1e-8)
    assert math.isclose(sum(term.item() for term in terms.values()), np.ravel(expected["loss"])[0], rel_tol=1e-4)
    sum(terms.values()).backward()
    assert math.isclose(
        math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None)),
        expected["grad_total"], rel_tol=2e-3,
    )  # fmt: skip
    own = dict(model.named_parameters())
    mapped = renamed({name: torch.tensor(index) for index, name in enumerate(names)}, type(model))
    for name, index in mapped.items():
        norm = 0.0 if own[name].grad is None else own[name].grad.norm().item()
        recorded = expected["grad_norms"][index]
        assert math.isclose(norm, recorded, rel_tol=1e-2, abs_tol=2e-3 * expected["grad_total"]), name


def test_every_loss_term_and_gradient_norm_equals_the_original(tiny: OriginalKapao) -> None:
    arrays = tiny.arrays(f"loss_tiny_{tiny.data}.npz")
    facts = json.loads((tiny.public / f"loss_tiny_{tiny.data}.json").read_text())
    compared = [key for key in facts if "/" in key]
    assert len(compared) == 10
    for key in compared:
        recipe, subset = key.split("/")
        hyp, side = facts[key]["hyp"], {"p6_128": 128, "kp_640": 640}.get(recipe, 1280)
        gains = RECIPES[recipe[:2] if recipe[:2] in RECIPES else "p6"] | {name: hyp[name] for name in TUNED}
        model = tiny.model(input_size=side, **gains).train()
        rows = SUBSETS[subset](arrays["targets"])
        raw = model(tiny.images(128, 128, 2))
        if key == "p6_1280/mixed":
            for index, level in enumerate(raw):
                found = model.slots(level).permute(0, 1, 3, 4, 2).detach().numpy()
                np.testing.assert_allclose(found, arrays[f"train_mode_raw{index}"], atol=1e-2)
        terms = model.loss_of_objects(raw, objects_from_rows(rows, 128, 128))
        expected = {name: arrays[f"{key}/{name}"] for name in ("loss", "items", "grad_norms", "grad_total")}
        assert_loss(model, terms, expected, tiny.facts["parameter_names"], 2)


def test_losses_of_other_sizes_equal_the_original(shared) -> None:
    original = OriginalKapao(shared, "tiny", "coco")
    facts = json.loads((original.public / "loss_sizes_tiny_coco.json").read_text())
    rows = original.arrays("loss_tiny_coco.npz")["targets"]
    for size, expected in facts.items():
        height, width = map(int, size.split("x"))
        model = original.model(input_size=640).train()
        terms = model.loss_of_objects(model(original.images(height, width, 2)), objects_from_rows(rows, height, width))
        assert_loss(model, terms, expected, original.facts["parameter_names"], 2)


def test_the_same_anchors_answer_for_the_same_objects_in_the_same_order(tiny: OriginalKapao) -> None:
    arrays, model = tiny.arrays(f"loss_tiny_{tiny.data}.npz"), tiny.model()
    objects = objects_from_rows(arrays["targets"], 128, 128)
    for index, stride in enumerate(model.body.strides):
        boxes = xyxy_to_cxcywh(objects.boxes) / stride
        side = 128 // stride
        found = match_anchors(boxes, model.anchors[index] / stride, (side, side), ratio_limit=4.0)
        places = torch.stack((objects.image_index[found.person], found.anchor, found.row, found.column))
        assert places.tolist() == arrays[f"bt/{index}/indices"].tolist()
        assert objects.classes[found.person].tolist() == arrays[f"bt/{index}/cls"].tolist()
        box = torch.cat((boxes[found.person, :2] - found.corner, boxes[found.person, 2:]), -1)
        np.testing.assert_allclose(box, arrays[f"bt/{index}/box"], atol=2e-5)


def test_a_step_of_descent_leads_where_the_original_was_led(tiny: OriginalKapao) -> None:
    """SGD as published: Nesterov momentum, decay of convolution weights alone. Later steps magnify the last digits."""
    arrays = tiny.arrays(f"loss_tiny_{tiny.data}.npz")
    model = tiny.model(input_size=128).train()
    norms = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, torch.nn.BatchNorm2d)}
    decayed = [p for name, p in model.named_parameters() if name.endswith("weight") and name not in norms]
    others = [p for name, p in model.named_parameters() if not name.endswith("weight") or name in norms]
    groups = [{"params": others}, {"params": decayed, "weight_decay": 0.0005}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.937, nesterov=True)
    objects = objects_from_rows(arrays["targets"], 128, 128)
    for expected in arrays["sgd6/losses"][:2]:
        terms = model.loss_of_objects(model(tiny.images(128, 128, 2)), objects)
        found = [sum(terms.values()).item(), *(terms[name].item() / 2 for name in TERMS)]
        np.testing.assert_allclose(found, expected, rtol=5e-3)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()


# ------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("name", ["edge_coco", "edge_coco_kplist", "mmpose_coco", "edge_crowdpose", "mmpose_crowdpose"])
def test_keypoint_objects_are_those_of_the_published_label_files(shared, name: str) -> None:
    """Classes, order and boxes of the published labels of a validation split; ours are cut to the image."""
    recorded = json.loads(gzip.decompress((shared / f"fixtures/kapao/public/labels_{name}.json.gz").read_bytes()))
    files = [(path, text) for path, text in recorded["files"].items() if "img_txt" not in path]
    files = [(path, text) for path, text in files if "crowdpose" in name or "/val2017/" in path]
    compared = 0
    for _, text in files:
        lines = text.splitlines()
        rows = np.array([line.split() for line in lines], np.float64)
        keypoints = (rows.shape[1] - 5) // 3
        # The label file itself says who is on the image: its person rows. The image is as large as wanted.
        squares = rows[rows[:, 0] > 0]
        if not len(squares):
            continue
        flat = squares[0, 3] / squares[0, 4]  # height by width of the image
        height, width = (1000.0 * flat, 1000.0) if flat <= 1 else (1000.0, 1000.0 / flat)
        boxes = rows[:, 1:5] * [width, height, width, height]
        sides = np.full(keypoints, 0.05)
        sides[squares[:, 0].astype(int) - 1] = boxes[rows[:, 0] > 0, 2] / 1000
        people = rows[rows[:, 0] == 0]
        points = people[:, 5:].reshape(len(people), keypoints, 3)
        targets = Targets(
            image_index=torch.zeros(len(people), dtype=torch.int64),
            boxes=cxcywh_to_xyxy(torch.tensor(boxes[rows[:, 0] == 0])),
            keypoints=torch.tensor(points[..., :2] * [width, height]),
            visibility=torch.tensor(points[..., 2]),
            areas=torch.zeros(len(people)),
            classes=torch.zeros(len(people), dtype=torch.int64),
        )
        found = with_keypoint_objects(targets, (height, width), sides=tuple(sides.tolist()), first_class=1)
        assert found.classes.tolist() == rows[:, 0].astype(int).tolist()
        expected = clip_boxes(cxcywh_to_xyxy(boxes), (height, width))
        objects = rows[:, 0] > 0
        np.testing.assert_allclose(found.boxes[objects], expected[objects], atol=5e-3)
        assert not found.visibility[torch.tensor(objects)].any()
        compared += int(objects.sum())
    assert compared > 40


# ------------------------------------------------------------------------------------------ checkpoints and images


@pytest.mark.parametrize("name", ["ckpt_tiny_stripped.pt", "ckpt_tiny_unstripped.pt"])
def test_real_checkpoints_say_which_network_they_are(shared, name: str) -> None:
    spec = load(shared / "fixtures/kapao/public" / name).spec
    assert spec.family == "kapao" and spec.classes == ("person",) and spec.input_size == (1280, 1280)
    assert spec.schema == KeypointSchema.read("coco_kpts.yaml")
    assert spec.rows[0].options == {"activation": "silu", "order": "columns"}


def test_a_real_checkpoint_gives_the_recorded_outputs_and_people(shared) -> None:
    original = OriginalKapao(shared, "tiny", "coco")
    recorded = original.arrays("ckpt_tiny_stripped_outputs.npz")
    model = load(original.public / "ckpt_tiny_stripped.pt", select=selection("val_default"))
    images = original.images(128, 128, 1)
    with torch.no_grad():
        whole = fused(model)
        assert_decoded(whole.decode([whole(images)], [View()]), recorded["decoded"], original.kinds)
    origin = (original_origin((200, 160), (128, 128)),)
    candidates = with_first_two_on_the_image(original_candidates(recorded["decoded"], original.kinds, origin))
    people, points = model.objects(candidates, 0)[:2]
    assert (len(people), len(points)) == (len(recorded["post/val_default/img0/person_dets"]), 117)
    [poses] = model.select(candidates)
    found = original_poses(poses.moved(inverse(origin[0].to_input)))
    np.testing.assert_allclose(found, recorded["post/val_default/img0/poses"], atol=0.05)
    assert poses.fused.sum(0).tolist() == recorded["post/val_default/img0/n_fused"].tolist()


RUNS = ("square", *(pytest.param(run, marks=pytest.mark.slow) for run in ("rect", "tta", "nokp", "lowkp")))


@pytest.mark.parametrize("run", RUNS)
def test_whole_images_give_the_people_that_the_original_val_wrote(tiny: OriginalKapao, run: str) -> None:
    """From pixels to poses in original pixels; a box on the edge of a threshold may come or go."""
    recorded = json.loads(gzip.decompress((tiny.public / f"val_e2e_{tiny.data}.json.gz").read_bytes()))
    arguments = recorded["runs"][run]["args"]
    chosen = selection("val_default") | {
        {"conf_thres": "conf"}.get(name, name): value for name, value in arguments.items() if "thres" in name
    }
    chosen |= {name: arguments[name] for name in ("overwrite_tol", "no_kp_dets") if name in arguments}
    model = tiny.model(select=chosen)
    for bias in (conv.bias for conv in model.head):
        bias.detach().view(3, -1)[:, 5] += 1
    model = model.half().float()
    flips = [{None: -1}.get(flip, flip) for flip in arguments.get("flips", [-1])]
    views = read_views(arguments.get("scales", [1]), flips)
    right = compared = 0
    for index, (height, width) in enumerate(recorded["sizes_hw"]):
        image = tiny.recipe.image(f"public/e2e{index}", height, width)
        size = (192, 192)
        if run == "rect":
            size = tuple(math.ceil(side / max(height, width) * 3) * 64 for side in (height, width))
        [poses] = OneStage(fused(model), size=size, views=views)([image])
        expected = [row for row in recorded["runs"][run]["preds"] if row["image_id"] == 501 + index]
        assert abs(len(poses) - len(expected)) <= 1 + 0.02 * len(expected)
        if len(poses) != len(expected) or not expected:
            continue
        points = np.array([row["keypoints"] for row in expected]).reshape(len(expected), -1, 3)
        np.testing.assert_allclose(poses.scores, [row["score"] for row in expected], atol=2e-3)
        same = poses.fused == (points[..., 2] > 0)
        assert same.mean() > 0.9
        # Both ways back start from the input: the original's is the ideal one, not what happened to the pixels.
        to_input = letterbox((height, width), size, model.letterbox)[0]
        back = inverse(original_origin((height, width), size).to_input)
        found = move_points(move_points(poses.keypoints, to_input), back)
        found[:, :2] = np.clip(found[:, :2], 0, [width, height])  # as the original's clipping does
        off = np.abs(found - points[..., :2]).max(-1)[same]
        right += int((off < (4 if run == "tta" else 0.5)).sum())
        compared += off.size
    assert compared > 500 and right / compared > 0.97, (right, compared)
