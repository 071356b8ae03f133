"""HRNet and its heads against the numbers that the original projects gave: forward, decode, flip test, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load
from models.heatmaps import peaks
from tests.models.original_topdown import SIZE, Original, flip_tested, in_image, small
from utils.core import images as pixels
from utils.core.tta import View

OUTPUT, PIXELS, HEAT, PROBABILITY = 2e-3, 2e-2, 1e-3, 1e-4  # tolerances, as for the first family


@pytest.fixture(scope="module")
def original(shared: Path) -> Original:
    return Original(shared)


def plain(model, raw):
    return model.decode([raw], [View()])


def test_heat_maps_of_the_w32_network_are_the_originals(original: Original) -> None:
    recorded = original.arrays("model_w32")
    model = original.model("pose_hrnet", "PoseHRNet", "hrnet_w32_256x192.yaml")
    with torch.no_grad():
        raw = model(original.crops(range(2)))
    np.testing.assert_allclose(raw.numpy(), recorded["heatmaps"][:2], atol=OUTPUT)
    found = plain(model, raw)
    boxes = recorded["boxes_cxcywh_scale"]
    np.testing.assert_allclose(in_image(found, boxes), recorded["heat_official_xy"][:2], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded["heat_scores"][:2], atol=HEAT)
    whole = in_image(plain(model, torch.from_numpy(recorded["heatmaps"])), boxes)
    certain = np.abs(whole - whole.round()) > 1e-3  # this seed cuts its numbers off; ours keep them
    assert (np.trunc(whole) == recorded["heat_repo_int"])[certain].all() and certain.mean() > 0.9
    tested = flip_tested(model, original.crops(range(1)))
    np.testing.assert_allclose(in_image(tested, boxes), recorded["heat_flip_official_xy"][:1], atol=PIXELS)
    np.testing.assert_allclose(tested.keypoint_scores[:, 0].numpy(), recorded["heat_flip_scores"][:1], atol=HEAT)


def test_bins_of_the_w32_simdr_network_are_the_originals(original: Original) -> None:
    recorded = original.arrays("model_w32")
    model = original.model("simdr", "SimDR", "simdr_w32_256x192.yaml")
    crops = original.crops(range(1))
    with torch.no_grad():
        raw = model(crops)
    for axis, logits in zip("xy", raw, strict=True):
        np.testing.assert_allclose(logits.numpy(), recorded[f"simdr_{axis}"][:1], atol=OUTPUT)
    boxes = recorded["boxes_cxcywh_scale"]
    found = plain(model, tuple(torch.from_numpy(recorded[f"simdr_{axis}"]) for axis in "xy"))
    np.testing.assert_array_equal(found.keypoints[:, 0].numpy(), recorded["simdr_input_xy"])
    np.testing.assert_allclose(in_image(found, boxes), recorded["simdr_image_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0], recorded["simdr_scores_max"], atol=PROBABILITY)
    view = View(flip="horizontal").of(crops)
    with torch.no_grad():
        raws = [raw, model(view.apply(crops, model.stride))]
    views = [View(), view]
    tested = model.decode(raws, views)
    np.testing.assert_allclose(in_image(tested, boxes), recorded["simdr_flip_image_xy"][:1], atol=PIXELS)
    np.testing.assert_allclose(tested.keypoint_scores[0], recorded["simdr_flip_scores"][:1], atol=PROBABILITY)
    star = small("simdr", labels="gaussian")
    x, y = star.probabilities(raws, views)
    np.testing.assert_allclose(x, recorded["sa_simdr_flip_x"][:1], atol=PROBABILITY)
    np.testing.assert_allclose(y, recorded["sa_simdr_flip_y"][:1], atol=PROBABILITY)
    tested = star.decode(raws, views)
    np.testing.assert_allclose(in_image(tested, boxes), recorded["sa_simdr_flip_image_xy"][:1], atol=PIXELS)
    np.testing.assert_allclose(tested.keypoint_scores[0], recorded["sa_simdr_flip_scores"][:1], atol=PROBABILITY)


def test_a_published_checkpoint_loads_by_its_name_and_gives_its_numbers(original: Original) -> None:
    recorded, facts = original.arrays("model_w8"), original.json("model_w8")
    model = load(original.folder / facts["checkpoint"])
    assert model.spec.family == "pose_hrnet" and model.spec.input_size == SIZE
    crops = original.crops([row["n"] for row in facts["inputs"]])
    boxes = recorded["boxes_cxcywh_scale"]
    with torch.no_grad():
        raw = model(crops)
    np.testing.assert_allclose(raw.numpy(), recorded["heatmaps"], atol=OUTPUT)
    found = plain(model, raw)
    np.testing.assert_allclose(in_image(found, boxes), recorded["heat_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded["heat_scores"], atol=HEAT)
    tested = flip_tested(model, crops)
    np.testing.assert_allclose(in_image(tested, boxes), recorded["heat_flip_official_xy"], atol=PIXELS)
    large = original.crops([facts["input_384x288"]["n"]], (384, 288))
    with torch.no_grad():
        raw = model(large)
    np.testing.assert_allclose(raw[..., ::4, ::4].numpy(), recorded["heatmap_384x288_every4"], atol=OUTPUT)
    np.testing.assert_allclose(
        in_image(plain(model, raw), boxes, (384, 288)), recorded["heat384_official_xy"], atol=PIXELS
    )


def official(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("backbone."): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("style", ["official", "training", "mmpose", "imagenet"])
def test_every_published_naming_is_understood(original: Original, tmp_path: Path, style: str) -> None:
    weights = torch.load(original.folder / "posehrnet_w8_256x192.pth", weights_only=True)
    flat = official(weights)
    content = {
        "official": flat,
        "training": {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in flat.items()}},
        "mmpose": {
            "state_dict": {
                name.replace("final_layer", "head.final_layer"): value for name, value in weights.items()
            } | {"data_preprocessor.mean": torch.zeros(3)}
        },
        "imagenet": {
            name: value for name, value in flat.items() if not name.startswith("final_layer")
        } | {"classifier.weight": torch.zeros(10, 8), "final_layer.0.weight": torch.zeros(8, 8, 1, 1)},
    }[style]  # fmt: skip
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    ours = load(original.folder / "posehrnet_w8_256x192.pth").state_dict()
    if style == "imagenet":  # a trunk to start from, for the YAML that says the rest
        cfg = tmp_path / "w8.yaml"
        cfg.write_text("family: pose_hrnet\nview: person\ninput_size: [256, 192]\nhead: {width: 8}\n")
        taken = load(path, cfg).state_dict()
        assert all(torch.equal(value, ours[name]) for name, value in taken.items() if name.startswith("trunk."))
        return
    taken = load(path).state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in taken.items())


def test_hand_made_maps_and_bins_are_read_off_like_the_originals(original: Original) -> None:
    """Border cells, ties, plateaus, maps of zeros and of negative numbers."""
    recorded = original.arrays("decode")
    boxes = recorded["boxes_cxcywh_scale"]
    maps = torch.from_numpy(recorded["heatmaps"])
    place, best = peaks(maps)
    np.testing.assert_array_equal(place.numpy(), recorded["official_argmax"])
    np.testing.assert_allclose(best.numpy(), recorded["official_scores"], atol=HEAT)
    np.testing.assert_allclose(in_image(plain(small("pose_hrnet"), maps), boxes), recorded["official_xy"], atol=PIXELS)
    for labels, name in (("smooth", "simdr_scores_max"), ("gaussian", "simdr_scores_min")):
        model = small("simdr", labels=labels)
        found = plain(model, tuple(torch.from_numpy(recorded[f"simdr_{axis}"]) for axis in "xy"))
        np.testing.assert_array_equal(found.keypoints[:, 0].numpy(), recorded["simdr_input_xy"])
        np.testing.assert_allclose(in_image(found, boxes), recorded["simdr_image_xy"], atol=PIXELS)
        np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded[name], atol=PROBABILITY)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ({"coding": "unbiased"}, "udp_official_gaussian_hm_xy"),
        ({"coding": "unbiased", "blur": 11}, "mmpose_dark_udp_k11_hm_xy"),
        ({"coding": "dark"}, "mmpose_dark_k11_hm_xy"),
    ],
)
def test_the_tops_of_bells_are_where_others_found_them(original: Original, head: dict, name: str) -> None:
    recorded = original.arrays("train")
    maps = torch.from_numpy(recorded["dec_heatmaps"])
    model = small("pose_hrnet", **head)
    cells = plain(model, maps).keypoints[:, 0] / torch.tensor(model.factor(maps))
    np.testing.assert_allclose(cells.numpy(), recorded[name], atol=1e-4)


def test_a_quarter_of_a_cell_is_mmposes_too_away_from_the_border(original: Original) -> None:
    """Beside it mmpose judges each axis for itself, the original both together: a column of one keypoint here."""
    recorded = original.arrays("train")
    maps = torch.from_numpy(recorded["dec_heatmaps"])
    off = np.abs(plain(small("pose_hrnet"), maps).keypoints[:, 0].numpy() / 4 - recorded["mmpose_quarter_hm_xy"])
    x, y = peaks(maps)[0][0].unbind(-1)
    inner = ((x > 1) & (x < 47) & (y > 1) & (y < 63)).numpy()
    assert off[0, inner].max() < 1e-6 and off.max() <= 0.25 and inner.sum() == 16


def test_crops_with_the_recorded_pixels_have_the_recorded_maps(original: Original) -> None:
    recorded = original.arrays("pipeline_crops")
    model = load(original.folder / "posehrnet_w8_256x192.pth")
    with torch.no_grad():
        raw = model(pixels.to_unit(pixels.stack(list(recorded["crops"]))))
    step = raw.shape[-1] // recorded["heatmaps"].shape[-1]
    np.testing.assert_allclose(raw[..., ::step, ::step].numpy(), recorded["heatmaps"], atol=OUTPUT)
