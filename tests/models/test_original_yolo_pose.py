"""Number for number against the original YOLO-Pose: outputs, assignment, selection, loss, gradients, checkpoints."""

import json
import math

import numpy as np
import pytest
import torch

from models.anchors import match_anchors
from models.build import load, renamed
from models.layers import Focus, fused
from models.losses import complete_iou
from tests.models.original import Original, original_rows, targets_from_rows
from tests.rounding import stray
from utils.core.contract import PoseModel
from utils.core.geometry import xyxy_to_cxcywh
from utils.core.poses import Candidates, Poses
from utils.core.published import read_published
from utils.core.tta import View

TERMS = ("box", "object", "class", "keypoint", "visibility")
LEVELS = ("P3", "P4", "P5", "P6")
TUNED = {"obj_pw": 0.9, "cls_pw": 0.7, "label_smoothing": 0.1, "fl_gamma": 1.5}


@pytest.fixture(scope="module", params=["tiny_s6", "full_s6"])
def original(request: pytest.FixtureRequest, shared) -> Original:
    return Original(shared, request.param)


@pytest.fixture(scope="module")
def tiny(shared) -> Original:
    return Original(shared, "tiny_s6")


def assert_close(found: torch.Tensor, expected: np.ndarray | torch.Tensor, relative: float = 1e-4) -> None:
    """The largest difference, measured against the largest value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float32)
    assert found.shape == expected.shape
    if expected.numel():
        difference = (found.detach() - expected).abs().max() / expected.abs().max()
        assert difference <= relative, f"{difference:.2e} of the largest value; allowed {relative:.0e}"


def as_original(candidates: Candidates) -> torch.Tensor:
    """Candidates as the original's rows, score in place of objectness: cx, cy, w, h, score, K * (x, y, confidence)."""
    points = torch.cat((candidates.keypoints, candidates.keypoint_scores[..., None]), -1).flatten(2)
    return torch.cat((xyxy_to_cxcywh(candidates.boxes), candidates.scores, points), -1)


def expected_rows(decoded: np.ndarray) -> np.ndarray:
    """The original's decoded rows with objectness times class in one column."""
    return np.concatenate((decoded[..., :4], decoded[..., 4:5] * decoded[..., 5:6], decoded[..., 6:]), -1)


def pose_rows(poses: Poses) -> torch.Tensor:
    points = torch.cat((poses.keypoints, poses.keypoint_scores[..., None]), -1).flatten(1)
    return torch.cat((poses.boxes, poses.scores[:, None], poses.classes[:, None].float(), points), -1)


def test_state_names_and_shapes_map_one_to_one(original: Original) -> None:
    model = original.model()
    published = {name: tuple(shape) for name, shape, _ in original.facts["state_dict"]}
    mapped = renamed({name: torch.empty(shape) for name, shape in published.items()}, type(model))
    assert {name: tuple(tensor.shape) for name, tensor in mapped.items()} == {
        name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
    }
    anchors = [name for name in published if name.endswith(("anchors", "anchor_grid"))]
    assert len(mapped) + len(anchors) == len(published)


def test_parameters_are_as_many_as_published_fused_and_not(original: Original) -> None:
    model = original.model()
    assert sum(p.numel() for p in model.parameters()) == original.facts["params"]
    assert sum(p.numel() for p in fused(model).parameters()) == original.facts["params_fused"]


def test_raw_maps_in_evaluation_equal_the_original(original: Original) -> None:
    model = original.model()
    with torch.no_grad():
        raw = model(original.images(128, 128, 2))
    for level in ("P5", "P6"):
        expected = original.arrays[f"eval_raw_128x128_b2_{level}"]
        assert_close(original_rows(model, raw[LEVELS.index(level)]), expected)


def test_raw_maps_in_training_equal_the_original(original: Original) -> None:
    keys = [key for key in original.arrays if key.startswith("train_raw_")]
    assert keys
    for key in keys:
        size, count, level = key.split("_")[2:5]
        height, width = map(int, size.split("x"))
        every = 2 if key.endswith("every2") else 1
        images = original.images(height, width, int(count[1:]))
        rows = training_rows(original, images, level, every)
        try:
            assert_close(rows, original.arrays[key], relative=5e-4)
        except AssertionError:  # on some processors; then as far as float32 strays on this one
            exact = training_rows(original, images.double(), level, every)
            assert_close(rows, original.arrays[key], relative=stray(rows, exact))


def training_rows(original: Original, images: torch.Tensor, level: str, every: int) -> torch.Tensor:
    """With the statistics of the batch, which on a level of four pixels amplify what float32 strays."""
    model = original.model().train().to(images.dtype)
    with torch.no_grad():
        raw = model(images)
    return original_rows(model, raw[LEVELS.index(level)])[:, :, ::every, ::every]


def test_decoded_candidates_equal_the_original(original: Original) -> None:
    keys = [key for key in original.arrays if key.startswith("decoded_")]
    assert keys
    for key in keys:
        size = key.split("_")[1]
        height, width = map(int, size.split("x"))
        model = original.model()
        with torch.no_grad():
            candidates = model.decode([model(original.images(height, width, 2))], [View()])
        step = int(key.rpartition("every")[2]) if "every" in key else 1
        assert_close(as_original(candidates)[:, ::step], expected_rows(original.arrays[key]))


def test_the_statistics_of_every_recorded_output_agree(original: Original, shared) -> None:
    """Sums over maps that are too large to be stored: both sizes, both batch sizes."""
    stats = json.loads((original.folder / "public" / "output_stats.json").read_text())
    cases = {key: value for key, value in stats.items() if key.startswith(f"{original.variant}/")}
    assert len(cases) == 4
    for key, expected in cases.items():
        size, count = key.split("/")[1].split("_b")
        height, width = map(int, size.split("x"))
        model = original.model()
        with torch.no_grad():
            raw = model(original.images(height, width, int(count)))
            columns = as_original(model.decode([raw], [View()])).double().mean((0, 1))
        for level, (_, squares) in zip(raw, expected["eval_raw_per_level_sum_sumsq"], strict=True):
            assert math.isclose(level.double().square().sum().item(), squares, rel_tol=1e-4)
        keypoints = torch.tensor(expected["decoded_column_means"][6:])
        assert_close(columns[5:].float(), keypoints)


@pytest.mark.parametrize("conf", [0.001, 0.1, 0.25])
def test_the_same_people_are_selected_in_the_same_order(tiny: Original, conf: float) -> None:
    """From the original's own decoded candidates, so that the selection alone is on trial."""
    decoded = torch.from_numpy(expected_rows(tiny.arrays["decoded_128x128_b2"])).float()
    points = decoded[..., 5:].unflatten(-1, (-1, 3))
    boxes = torch.cat((decoded[..., :2] - decoded[..., 2:4] / 2, decoded[..., :2] + decoded[..., 2:4] / 2), -1)
    candidates = Candidates(boxes, decoded[..., 4:5], points[..., :2], points[..., 2])
    model = load("yolov5n6_kpts.yaml", select={"conf": conf, "iou": 0.65})
    selected = model.select(candidates)
    kept = tiny.facts["nms_counts"][f"128x128_b2_conf{conf}_iou0.65"]["kept"]
    assert [len(poses) for poses in selected] == kept
    keys = [key for key in tiny.arrays if key.startswith(f"nms_128x128_b2_conf{conf}_")]
    assert len(keys) == 2
    for key in keys:
        image, first = int(key.split("_img")[1].split("_")[0]), int(key.rpartition("first")[2])
        assert_close(pose_rows(selected[image][:first]), tiny.arrays[key], relative=2e-5)


@pytest.mark.parametrize("conf", [0.1, 0.25])
def test_the_whole_network_with_its_selection_finds_the_original_people(shared, conf: float) -> None:
    """Of the full-sized network; the record of the tiny one was made from rounded candidates, as tested above."""
    original = Original(shared, "full_s6")
    selecting = load("yolov5n6_kpts.yaml", select={"conf": conf, "iou": 0.65})
    model = original.model()
    with torch.no_grad():
        selected = selecting.select(model.decode([model(original.images(128, 128, 2))], [View()]))
    assert [len(p) for p in selected] == original.facts["nms_counts"][f"128x128_b2_conf{conf}_iou0.65"]["kept"]
    keys = sorted(key for key in original.arrays if key.startswith(f"nms_128x128_b2_conf{conf}_"))
    assert len(keys) == 2
    for image, key in enumerate(keys):
        assert_close(pose_rows(selected[image])[: int(key.rpartition("first")[2])], original.arrays[key])


@pytest.mark.parametrize("case", ["A_128x128", "crowd_128x128", "A_192x256"])
def test_the_same_anchors_answer_for_the_same_people_in_the_same_order(tiny: Original, case: str) -> None:
    height, width = map(int, case.split("_")[1].split("x"))
    targets = tiny.targets(case.split("_")[0], height, width)
    model = tiny.model()
    for index, (level, stride) in enumerate(zip(LEVELS, model.body.strides, strict=True)):
        if f"assign_{case}_{level}_b_a_gj_gi" not in tiny.arrays:
            continue
        boxes = xyxy_to_cxcywh(targets.boxes) / stride
        size = (height // stride, width // stride)
        found = match_anchors(boxes, model.anchors[index] / stride, size, ratio_limit=4.0)
        places = torch.stack((targets.image_index[found.person], found.anchor, found.row, found.column))
        assert places.tolist() == tiny.arrays[f"assign_{case}_{level}_b_a_gj_gi"].tolist()
        box = torch.cat((boxes[found.person, :2] - found.corner, boxes[found.person, 2:]), -1)
        np.testing.assert_allclose(box, tiny.arrays[f"assign_{case}_{level}_tbox"], atol=2e-5)


def loss_cases(original: Original) -> list[tuple[str, dict]]:
    return list(original.facts["loss"].items())


def published_case(original: Original, name: str, facts: dict) -> tuple[PoseModel, dict[str, torch.Tensor], int]:
    """The loss of one recorded case with its gradients; the terms are divided by the batch as in the record."""
    size, rest = name.split("_", 1)
    height, width = map(int, size.split("x"))
    case, tuned = rest.split("_imgsz")
    settings = {} if tuned == "640" else TUNED
    model = original.model(input_size=int(tuned.split("_")[0]), **settings).train()
    raw = model(original.images(height, width, 2))
    terms = model.loss(raw, original.targets(case, height, width), progress=0.0)
    return model, terms, 2


def test_every_loss_term_and_gradient_norm_equals_the_original(original: Original) -> None:
    compared = 0
    for name, facts in loss_cases(original):
        if math.isnan(facts["loss_total_times_bs"]):
            continue  # the original divides by no visible keypoint; see the next test
        model, terms, batch = published_case(original, name, facts)
        items = facts["items_box_obj_cls_kpt_kptv_sum"]
        for term, expected in zip(TERMS, items[:5], strict=True):
            assert math.isclose(terms[term].item() / batch, expected, rel_tol=1e-4, abs_tol=1e-9), (name, term)
        sum(terms.values()).backward()
        norms = {parameter: value.grad.norm().item() for parameter, value in model.named_parameters()}
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert math.isclose(total, facts["grad_norm_total"], rel_tol=1e-3), (name, total)
        if "grad_norms" in facts:
            recorded = {k: torch.tensor(v) for k, v in facts["grad_norms"].items()}
            for parameter, norm in renamed(recorded, type(model)).items():
                assert math.isclose(norms[parameter], norm.item(), rel_tol=1e-2, abs_tol=1e-3 * total), parameter
        compared += 1
    assert compared >= 1


def test_people_without_a_visible_keypoint_no_longer_spoil_the_loss(tiny: Original) -> None:
    """The original's value is 0 / 0 there; ours is 0 for that term, the others are the original's."""
    cases = [(name, facts) for name, facts in loss_cases(tiny) if math.isnan(facts["loss_total_times_bs"])]
    assert cases
    for name, facts in cases:
        model, terms, batch = published_case(tiny, name, facts)
        assert terms["keypoint"].item() == 0
        for term, expected in zip(TERMS, facts["items_box_obj_cls_kpt_kptv_sum"], strict=False):
            if term != "keypoint" and not math.isnan(expected):
                assert math.isclose(terms[term].item() / batch, expected, rel_tol=1e-4, abs_tol=1e-9)
        sum(terms.values()).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_whole_gradients_equal_the_original(original: Original) -> None:
    model, terms, _ = published_case(original, "128x128_A_imgsz640", {})
    sum(terms.values()).backward()
    keys = [key for key in original.arrays if key.startswith("grad_A_128x128_")]
    assert keys
    for key in keys:
        published = key.removeprefix("grad_A_128x128_")
        [name] = renamed({published: torch.empty(0)}, type(model))
        assert_close(model.get_parameter(name).grad, original.arrays[key], relative=5e-3)


@pytest.mark.parametrize("case", ["A_64x64", "crowd_64x128"])
def test_loss_and_gradient_of_given_maps_equal_the_original(tiny: Original, case: str) -> None:
    """No network in between, and predictions near the truth, where the keypoint term is most alive."""
    folder = tiny.folder / "public"
    facts, arrays = (
        json.loads((folder / f"loss_only_{case}.json").read_text()),
        np.load(folder / f"loss_only_{case}.npz"),
    )
    height, width = map(int, case.split("_")[1].split("x"))
    model = tiny.model()
    raw = [torch.from_numpy(arrays[f"raw_{level}"]).requires_grad_() for level in LEVELS]  # (B, A, H, W, slots)
    maps = tuple(level.permute(0, 1, 4, 2, 3).flatten(1, 2) for level in raw)
    terms = model.loss(maps, targets_from_rows(arrays["targets"], height, width), progress=0.0)
    for term, expected in zip(TERMS, facts["items_box_obj_cls_kpt_kptv_sum"], strict=False):
        assert math.isclose(terms[term].item() / 2, expected, rel_tol=1e-4, abs_tol=1e-9), term
    total = sum(terms.values())
    assert math.isclose(total.item(), facts["loss_total_times_bs"], rel_tol=1e-4)
    total.backward()
    for level, values in zip(LEVELS, raw, strict=True):
        assert_close(values.grad, arrays[f"grad_{level}"])


def test_complete_iou_equals_the_original(shared) -> None:
    arrays = np.load(shared / "fixtures" / "yolo_pose" / "public" / "data_ops.npz")
    first, second = (torch.from_numpy(arrays[f"ciou_xywh_{which}"]).float() for which in "ab")
    np.testing.assert_allclose(complete_iou(first, second), arrays["ciou_out"].reshape(-1), atol=2e-6)


@pytest.mark.parametrize(("order", "key"), [("rows", "focus_contract_out"), ("columns", "focus_slice_out_legacy")])
def test_both_orders_of_the_focus_stem_equal_the_original(shared, order: str, key: str) -> None:
    arrays = np.load(shared / "fixtures" / "yolo_pose" / "public" / "data_ops.npz")
    focus = Focus(3, 8, order=order)
    focus.conv = torch.nn.Identity()
    np.testing.assert_array_equal(focus(torch.from_numpy(arrays["focus_contract_in"])), arrays[key])


# ---------------------------------------------------------------------------------------------- the real checkpoint


def test_a_real_training_checkpoint_gives_the_recorded_outputs(tiny: Original) -> None:
    path = tiny.folder / "public" / "ckpt" / "tiny_s6_last.pt"
    recorded = np.load(path.with_name("tiny_s6_outputs.npz"))
    model = load(path, select={"conf": 0.25, "iou": 0.45})
    with torch.no_grad():
        whole = fused(model)
        candidates = whole.decode([whole(tiny.images(128, 128, 1))], [View()])
        assert_close(as_original(candidates), expected_rows(recorded["ema_fused_decoded_128x128_b1"]))
        [poses] = model.select(candidates)
    assert_close(pose_rows(poses), recorded["ema_nms_conf0.25_iou0.45"])


def test_the_raw_maps_of_the_checkpoint_equal_the_original_export(tiny: Original) -> None:
    path = tiny.folder / "public" / "ckpt" / "tiny_s6_last.pt"
    recorded = np.load(path.with_name("tiny_s6_outputs.npz"))
    model = load(path)
    with torch.no_grad():
        raw = model(tiny.images(128, 128, 1))
    for index, level in enumerate(raw):
        assert_close(original_rows(model, level), recorded[f"ort_s6_raw_out{index}"])


def test_every_tensor_of_the_checkpoint_is_read_as_it_was_written(tiny: Original) -> None:
    path = tiny.folder / "public" / "ckpt" / "tiny_s6_last.pt"
    recorded = json.loads(path.with_suffix(".json").read_text())["ema"]["tensors"]
    tensors = read_published(path).tensors()
    assert list(tensors) == list(recorded)
    for name, (shape, _, total, squares) in recorded.items():
        assert list(tensors[name].shape) == shape
        assert math.isclose(tensors[name].double().sum().item(), total, rel_tol=1e-5, abs_tol=1e-6), name
        assert math.isclose(tensors[name].double().square().sum().item(), squares, rel_tol=1e-5, abs_tol=1e-6), name


def test_the_checkpoint_says_which_network_it_is(tiny: Original) -> None:
    spec = load(tiny.folder / "public" / "ckpt" / "tiny_s6_last.pt").spec
    assert spec.head["keypoint_depth"] == 6 and spec.head["layout"] == "published"
    assert spec.rows[0].options == {"activation": "silu", "order": "rows"}
    assert spec.schema.names[0] == "nose" and spec.classes == ("person",)
    for found, own in zip(spec.rows, tiny.model().spec.rows, strict=True):
        assert (found.layer, found.source, found.repeats) == (own.layer, own.source, own.repeats)
        assert found.arguments[:1] == own.arguments[:1]
