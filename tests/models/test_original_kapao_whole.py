"""The original KAPAO as a whole: its checkpoints, and its val.py from pixels to the poses in the results file."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load
from models.layers import fused
from tests.models.original_kapao import (
    OriginalKapao,
    assert_decoded,
    assert_detections,
    original_candidates,
    original_origin,
    original_poses,
    published_scale,
    selection,
    with_first_two_on_the_image,
)
from utils.core.contract import PoseModel
from utils.core.geometry import Fit, inverse, letterbox, move_points
from utils.core.images import fit, stack, to_unit
from utils.core.poses import Candidates, Poses
from utils.core.schema import KeypointSchema
from utils.core.tta import View, read_views
from utils.data.sampler import rectangle
from utils.inference.predictor import OneStage


@pytest.fixture(params=["coco", "crowdpose"])
def tiny(request: pytest.FixtureRequest, shared: Path) -> OriginalKapao:
    return OriginalKapao(shared, "tiny", request.param)


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
        views = [view.of(images) for view in read_views((0.8, 1, 1.2), (-1, 3, -1))]
        raws = [whole(view.apply(images, whole.stride)) for view in views]
        seen = published_scale(whole.decode(raws, views), raws, views)
    fifth = Candidates(seen.boxes[:, ::5], seen.scores[:, ::5], seen.keypoints[:, ::5], seen.keypoint_scores[:, ::5])
    assert_decoded(fifth, recorded["tta_decoded_every5"], original.kinds, pixels=0.25)
    origin = (original_origin((200, 160), (128, 128)),)
    candidates = with_first_two_on_the_image(original_candidates(recorded["decoded"], original.kinds, origin))
    people, points = model.objects(candidates, 0)[:2]
    assert_detections(people, recorded["post/val_default/img0/person_dets"], 0)
    assert len(points) == len(recorded["post/val_default/img0/kp_dets"])
    [poses] = model.select(candidates)
    found = original_poses(poses.moved(inverse(origin[0].to_input)))
    np.testing.assert_allclose(found, recorded["post/val_default/img0/poses"], atol=0.02)
    assert poses.fused.sum(0).tolist() == recorded["post/val_default/img0/n_fused"].tolist()


RUNS = ("square", "rect", "rect_b3", "tta", "nokp", "lowkp", "test")


@pytest.mark.parametrize("run", RUNS)
def test_whole_images_give_the_people_that_the_original_val_wrote(tiny: OriginalKapao, run: str) -> None:
    """From pixels to poses in original pixels, all of them, in their order.

    With the original's way back: the ideal one, not what happened to the pixels, two keypoints cut to the image, and
    the scale of a view that was asked for. Ours differs from it by parts of a pixel; see the test below.
    """
    recorded = json.loads(gzip.decompress((tiny.public / f"val_e2e_{tiny.data}.json.gz").read_bytes()))
    if (tiny.data, run) == ("crowdpose", "test"):
        assert run not in recorded["runs"]  # CrowdPose has no split of that name
        return
    model, views = as_evaluated(tiny, recorded["runs"][run]["args"])
    sizes = network_sizes(recorded["sizes_hw"], recorded["runs"][run]["args"])
    compared = 0
    for index, (size, shape) in enumerate(zip(recorded["sizes_hw"], sizes, strict=True)):
        seen = looked_at(model, tiny.recipe.image(f"public/e2e{index}", *size), shape, views)
        origin = original_origin(tuple(size), shape)
        [poses] = model.select(with_first_two_on_the_image(replace(seen, origins=(origin,))))
        expected = [row for row in recorded["runs"][run]["preds"] if row["image_id"] == 501 + index]
        found = original_poses(poses.moved(inverse(origin.to_input)))
        assert len(found) == len(expected)
        points = np.array([row["keypoints"] for row in expected]).reshape(found.shape)
        np.testing.assert_allclose(poses.scores, [row["score"] for row in expected], atol=1e-4)
        np.testing.assert_allclose(found[..., :2], points[..., :2], atol=0.25 if run == "tta" else 0.02)
        np.testing.assert_allclose(found[..., 2], points[..., 2], atol=0.0051)  # written with two digits
        compared += len(found)
    assert compared == recorded["runs"][run]["n"]


def as_evaluated(tiny: OriginalKapao, arguments: dict) -> tuple[PoseModel, list[View]]:
    """The checkpoint of those runs, with their thresholds, and their views."""
    chosen = selection("val_default") | {
        {"conf_thres": "conf"}.get(name, name): value for name, value in arguments.items() if "thres" in name
    }
    chosen |= {name: arguments[name] for name in ("iou", "overwrite_tol", "no_kp_dets") if name in arguments}
    model = tiny.model(select=chosen)
    for bias in (conv.bias for conv in model.head):
        bias.detach().view(3, -1)[:, 5] += 1
    flips = [{None: -1}.get(flip, flip) for flip in arguments.get("flips", [-1])]
    return fused(model.half().float()), read_views(arguments.get("scales", [1]), flips)


def network_sizes(sizes: list[tuple[int, int]], arguments: dict) -> list[tuple[int, int]]:
    """The network's input for each image: square, or as flat as the batch that the image is in."""
    if not arguments.get("rect"):
        return [(192, 192)] * len(sizes)
    aspects = np.array([height / width for height, width in sizes])
    order, batch = np.argsort(aspects, kind="stable"), arguments.get("batch_size", 1)
    found = {
        int(index): rectangle(aspects[order[start : start + batch]], 192, 64)
        for start in range(0, len(order), batch)
        for index in order[start : start + batch]
    }
    return [found[index] for index in range(len(sizes))]


def looked_at(
    model: PoseModel, image: np.ndarray, size: tuple[int, int], views: Sequence[View], how: Fit | None = None
) -> Candidates:
    """What the network proposes, in pixels of its input; scaled by the factor that was asked for, as published."""
    inputs = to_unit(stack([fit(image, size, how or model.letterbox)[0]]), torch.float32)
    known = [view.of(inputs) for view in views]
    with torch.no_grad():
        raws = [model(view.apply(inputs, model.stride)) for view in known]
        return published_scale(model.decode(raws, known), raws, known)


@pytest.mark.parametrize("run", ["square", "rect"])
def test_the_way_through_the_predictor_differs_by_parts_of_a_pixel(tiny: OriginalKapao, run: str) -> None:
    """As many people with the same scores; keypoints that were guessed differ by the true way back alone."""
    recorded = json.loads(gzip.decompress((tiny.public / f"val_e2e_{tiny.data}.json.gz").read_bytes()))
    model, _ = as_evaluated(tiny, recorded["runs"][run]["args"])
    sizes = network_sizes(recorded["sizes_hw"], recorded["runs"][run]["args"])
    compared = 0
    for index, (size, shape) in enumerate(zip(recorded["sizes_hw"], sizes, strict=True)):
        [poses] = OneStage(model, size=shape)([tiny.recipe.image(f"public/e2e{index}", *size)])
        expected = [row for row in recorded["runs"][run]["preds"] if row["image_id"] == 501 + index]
        points = np.array([row["keypoints"] for row in expected]).reshape(-1, tiny.schema.count, 3)
        np.testing.assert_allclose(poses.scores, [row["score"] for row in expected], atol=1e-4)
        guessed = ~poses.fused & (points[..., 2] == 0)
        guessed[:, :2] = False  # those that the original cuts to the image
        to_input, ideal = letterbox(tuple(size), shape, model.letterbox)[0], original_origin(tuple(size), shape)
        found = move_points(move_points(poses.keypoints, to_input), inverse(ideal.to_input))
        np.testing.assert_allclose(found[guessed], points[..., :2][guessed], atol=0.02)
        compared += int(guessed.sum())
    assert compared > 500


def test_the_people_that_the_image_demo_drew_are_those_that_are_found(shared: Path) -> None:
    """Corners of every box, and the whole pixels of every circle and line, as the original handed them to OpenCV."""
    tiny = OriginalKapao(shared, "tiny", "coco")
    runs = json.loads(gzip.decompress((tiny.public / "demo_image_calls.json.gz").read_bytes()))["runs"]
    boxes, poses = drawn_people(tiny, no_kp_dets=True)
    calls = runs["--bbox|--pose|--face|--no-kp-dets"]["calls"]
    np.testing.assert_allclose(boxes, [call[1] + call[2] for call in calls if call[0] == "rect"], atol=1)
    assert_drawn(poses.keypoints, calls, tiny.schema)
    _, poses = drawn_people(tiny, no_kp_dets=False)
    calls = runs["--pose|--face"]["calls"]
    assert_drawn(poses.keypoints, calls, tiny.schema)
    fused_points = np.array([call[1] for call in calls if call[0] == "circ" and call[3] == [0, 255, 255]])
    assert len(fused_points) == poses.fused.sum() > 10
    ours = np.asarray(poses.keypoints[poses.fused])
    assert np.abs(ours[:, None] - fused_points).max(-1).min(0).max() <= 1


def drawn_people(tiny: OriginalKapao, *, no_kp_dets: bool) -> tuple[np.ndarray, Poses]:
    """Boxes cut to the image, and the people: with the demo's thresholds, padding to whole strides, and sampling."""
    size, shape = (333, 500), (128, 192)
    chosen = {"conf_thres": 0.3, "iou": 0.45, "conf_thres_kp": 0.08, "iou_thres_kp": 0.45, "conf_thres_kp_person": 0.1}
    model, views = as_evaluated(tiny, chosen | {"overwrite_tol": 40, "no_kp_dets": no_kp_dets})
    seen = looked_at(model, tiny.recipe.image("demo/0", *size), shape, views, Fit(smooth=False))
    origin = original_origin(size, shape)
    [poses] = model.select(with_first_two_on_the_image(replace(seen, origins=(origin,))))
    back = poses.moved(inverse(origin.to_input))
    return np.asarray(back.cut_to(size).boxes), back


def assert_drawn(keypoints: torch.Tensor, calls: list, schema: KeypointSchema) -> None:
    """Person after person: a circle for each keypoint of the face, then the limbs, all at whole pixels."""
    own = [call for call in calls if call[-2] == [255, 0, 255]]
    circles = np.array([call[1] for call in own if call[0] == "circ"]).reshape(len(keypoints), -1, 2)
    np.testing.assert_allclose(keypoints[:, list(schema.groups["face"])], circles, atol=1)
    ends = np.array([call[1:3] for call in own if call[0] == "line"]).reshape(len(keypoints), -1, 2)
    for person, places in zip(np.asarray(keypoints), ends, strict=True):
        assert np.abs(person[:, None] - places).max(-1).min(0).max() <= 1
