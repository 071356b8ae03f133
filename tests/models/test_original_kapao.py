"""Number for number against the original KAPAO: outputs, objects of both passes, fusion, views."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.build import load, renamed
from models.families.kapao import Selection
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
from utils.core.geometry import inverse
from utils.core.poses import Candidates
from utils.core.tta import View, read_views

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
    weights = original.published_weights()
    for name, (total, absolute) in original.facts["checksum"].items():
        if "anchor" in name:
            continue  # compared below
        value = weights[name].double()
        assert math.isclose(value.sum().item(), total, rel_tol=1e-6, abs_tol=1e-6 * absolute), name
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
            expected = arrays[f"eval/raw{index}"]
            assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
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
        np.testing.assert_allclose(original_poses(poses), arrays[f"{key}/poses"], atol=0.02)
        whole = poses.numpy().cut_to(ORIGINAL_SIZES[size][image])
        np.testing.assert_allclose(whole.boxes, arrays[f"{key}/bboxes"], atol=0.51)  # rounded there
        assert poses.fused.sum(0).tolist() == arrays[f"{key}/n_fused"].tolist()
        replaced += int(poses.fused.sum())
    assert replaced > 0


# ------------------------------------------------------------------------------------------ views


def test_views_are_undone_and_pooled_as_in_the_original(shared) -> None:
    original, arrays, (height, width) = recorded(shared, "tiny_coco_128x128")
    images = original.images(height, width, 1)
    views = [view.of(images) for view in read_views((0.8, 1, 1.2), (-1, 3, -1))]
    model = original.model()
    with torch.no_grad():
        raws = [model(view.apply(images, model.stride)) for view in views]
        candidates = model.decode(raws, views)
    as_published = published_scale(candidates, raws, views)
    assert_decoded(
        as_published, arrays["tta/decoded"], original.kinds, pixels=0.25
    )  # as the fixture allows: images are resized


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


def test_upside_down_only_the_keypoints_differ_which_the_original_forgets_to_turn(shared) -> None:
    original, arrays, (height, width) = recorded(shared, "tiny_coco_128x128")
    images = original.images(height, width, 1)
    [view] = [view.of(images) for view in read_views((1,), (2,))]
    model = original.model()
    with torch.no_grad():
        candidates = model.decode([model(view.apply(images, model.stride))], [view])
    keypoints = torch.stack((candidates.keypoints[..., 0], height - candidates.keypoints[..., 1]), -1)
    forgotten = replace(candidates, keypoints=keypoints)
    seventh = Candidates(*(values[:, ::7] for values in (forgotten.boxes, forgotten.scores, forgotten.keypoints,
                                                         forgotten.keypoint_scores)))  # fmt: skip
    assert_decoded(seventh, arrays["flip2/decoded_head"], original.kinds)
