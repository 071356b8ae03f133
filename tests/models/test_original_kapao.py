"""Number for number against the original KAPAO: outputs, objects, selection, fusion, loss, gradients, checkpoints."""

import numpy as np
import pytest
import torch

from models.build import renamed
from tests.models.original_kapao import (
    OriginalKapao,
    original_candidates,
    original_origin,
    original_poses,
    selection,
    with_first_two_on_the_image,
)  # fmt: skip
from utils.core.geometry import inverse, xyxy_to_cxcywh
from utils.core.poses import Candidates, Poses
from utils.core.tta import View

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
    fused = 0
    for chosen, image in found:
        model = original.model(select=selection(chosen))
        people, points, _ = model.objects(candidates, image)
        key = f"{prefix}/{chosen}/img{image}"
        assert_detections(people, arrays[f"{key}/person_dets"], 0)
        plain = original.model(select=selection(chosen)).objects(original_candidates(decoded, original.kinds), image)[1]
        assert_detections(plain, arrays[f"{key}/kp_dets"], 1)
        poses = model.select(candidates)[image].moved(inverse(origins[image].to_input))
        np.testing.assert_allclose(poses.scores, arrays[f"{key}/scores"], atol=1e-6)
        expected = arrays[f"{key}/poses"]
        np.testing.assert_allclose(original_poses(poses), expected, atol=0.02)
        assert poses.fused.sum(0).tolist() == arrays[f"{key}/n_fused"].tolist()
        fused += int(poses.fused.sum())
    assert fused > 0


def assert_detections(found: Poses, expected: np.ndarray, first_class: int) -> None:
    """Rows x1, y1, x2, y2, score, class and perhaps keypoints, in the pixels of the network."""
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-2)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-6)
    np.testing.assert_array_equal(found.classes + first_class, expected[:, 5])
