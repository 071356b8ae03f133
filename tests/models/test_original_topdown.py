"""HRNet and its heads against the numbers that the original projects gave: forward, decode, flip test, checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.build import load
from models.heatmaps import mirrored_maps, peaks
from models.top_down import MEAN, STD
from tests.models.original_topdown import SIZE, Original, flip_tested, in_image, small
from utils.core import images as pixels
from utils.core.tta import View

OUTPUT, PIXELS, HEAT, PROBABILITY = 2e-3, 2e-2, 1e-3, 1e-4  # tolerances, as for the first family


@pytest.fixture(scope="module")
def original(shared: Path) -> Original:
    return Original(shared)


def plain(model, raw):
    return model.decode([raw], [View()])


def cut_off(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As this seed cuts its coordinates to whole pixels, which ours are not; and where no last digit decides."""
    return np.trunc(xy), np.abs(xy - xy.round()) > 1e-3


def test_heat_maps_of_the_w32_network_are_the_originals(original: Original) -> None:
    recorded = original.arrays("model_w32")
    model = original.model("pose_hrnet", "PoseHRNet", "hrnet_w32_256x192.yaml")
    crops, boxes = original.crops(range(len(recorded["heatmaps"]))), recorded["boxes_cxcywh_scale"]
    with torch.no_grad():
        raw = model(crops)
    np.testing.assert_allclose(raw.numpy(), recorded["heatmaps"], atol=OUTPUT)
    np.testing.assert_array_equal(peaks(raw)[0].numpy(), recorded["heat_argmax_xy"])
    found = plain(model, raw)
    np.testing.assert_allclose(in_image(found, boxes), recorded["heat_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded["heat_scores"], atol=HEAT)
    whole, certain = cut_off(in_image(plain(model, torch.from_numpy(recorded["heatmaps"])), boxes))
    assert (whole == recorded["heat_repo_int"])[certain].all() and certain.mean() > 0.9
    view = View(flip="horizontal").of(crops[:2])
    with torch.no_grad():
        flipped = model(view.apply(crops[:2], model.stride))
    tested = model.decode([raw[:2], flipped], [View(), view])
    np.testing.assert_allclose(in_image(tested, boxes), recorded["heat_flip_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(tested.keypoint_scores[:, 0].numpy(), recorded["heat_flip_scores"], atol=HEAT)
    back = mirrored_maps(flipped, model.spec.schema.swap, shifted=True)
    np.testing.assert_allclose((raw[:2] + back).numpy() / 2, recorded["heat_flip_shift"], atol=OUTPUT)


def test_the_w32_network_sees_what_the_original_sees_on_its_way(original: Original) -> None:
    recorded = original.json("model_w32")["activations_first_input"]
    trunk = original.model("pose_hrnet", "PoseHRNet", "hrnet_w32_256x192.yaml").trunk
    stages = {"conv1": trunk.conv1.conv, "layer1": trunk.layer1}
    stages |= {f"stage{number}": getattr(trunk, f"stage{number}") for number in (2, 3, 4)}
    seen: dict[str, list[torch.Tensor]] = {}
    for name, stage in stages.items():

        def note(_: Any, __: Any, output: Any, name: str = name) -> None:
            seen[name] = output if isinstance(output, list) else [output]

        stage.register_forward_hook(note)
    with torch.no_grad():
        trunk((original.crops([0]) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    for name, facts in recorded.items():
        for found, expected in zip(seen[name], facts, strict=True):
            assert list(found.shape[1:]) == expected["shape"][1:]
            assert found.mean().item() == pytest.approx(expected["mean"], abs=1e-4)
            assert found.std().item() == pytest.approx(expected["std"], rel=1e-4)
            assert found.double().abs().sum().item() == pytest.approx(expected["abs_sum"], rel=1e-4)
            np.testing.assert_allclose(found.flatten()[:8].numpy(), expected["first8"], atol=OUTPUT)


def test_bins_of_the_w32_simdr_network_are_the_originals(original: Original) -> None:
    recorded = original.arrays("model_w32")
    model = original.model("simdr", "SimDR", "simdr_w32_256x192.yaml")
    crops, boxes = original.crops(range(len(recorded["simdr_x"]))), recorded["boxes_cxcywh_scale"]
    with torch.no_grad():
        raw = model(crops)
    for axis, logits in zip("xy", raw, strict=True):
        np.testing.assert_allclose(logits.numpy(), recorded[f"simdr_{axis}"], atol=OUTPUT)
        best = logits.softmax(-1).amax(-1)
        np.testing.assert_allclose(best.numpy(), recorded[f"simdr_max_{axis}"], atol=PROBABILITY)
    found = plain(model, tuple(torch.from_numpy(recorded[f"simdr_{axis}"]) for axis in "xy"))
    np.testing.assert_array_equal(found.keypoints[:, 0].numpy(), recorded["simdr_input_xy"])
    np.testing.assert_allclose(in_image(found, boxes), recorded["simdr_image_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0], recorded["simdr_scores_max"], atol=PROBABILITY)
    star = small("simdr", labels="gaussian")
    least = plain(star, raw).keypoint_scores[:, 0]
    np.testing.assert_allclose(least, recorded["simdr_scores_min"], atol=PROBABILITY)
    whole, certain = cut_off(in_image(found, boxes))
    assert (whole == recorded["simdr_repo_int"])[certain].all() and certain.mean() > 0.9
    views = [View(), View(flip="horizontal").of(crops[:2])]
    with torch.no_grad():
        raws = [tuple(logits[:2] for logits in raw), model(views[1].apply(crops[:2], model.stride))]
    for kind, name in ((model, "simdr_flip"), (star, "sa_simdr_flip")):
        for axis, bins in zip("xy", kind.probabilities(raws, views), strict=True):
            np.testing.assert_allclose(bins, recorded[f"{name}_{axis}"], atol=PROBABILITY)
        tested = kind.decode(raws, views)
        np.testing.assert_allclose(in_image(tested, boxes), recorded[f"{name}_image_xy"], atol=PIXELS)
        np.testing.assert_allclose(tested.keypoint_scores[:, 0], recorded[f"{name}_scores"], atol=PROBABILITY)


def test_a_published_checkpoint_loads_by_its_name_and_gives_its_numbers(original: Original) -> None:
    recorded, facts = original.arrays("model_w8"), original.json("model_w8")
    model = load(original.folder / facts["checkpoint"])
    assert model.spec.family == "pose_hrnet" and model.spec.input_size == SIZE
    assert sum(weights.numel() for weights in model.parameters()) == facts["params"]
    crops = original.crops([row["n"] for row in facts["inputs"]])
    boxes = recorded["boxes_cxcywh_scale"]
    with torch.no_grad():
        raw = model(crops)
    np.testing.assert_allclose(raw.numpy(), recorded["heatmaps"], atol=OUTPUT)
    found = plain(model, raw)
    np.testing.assert_allclose(in_image(found, boxes), recorded["heat_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded["heat_scores"], atol=HEAT)
    whole, certain = cut_off(in_image(found, boxes))
    assert (whole == recorded["heat_repo_int"])[certain].all() and certain.mean() > 0.9
    tested = flip_tested(model, crops)
    np.testing.assert_allclose(in_image(tested, boxes), recorded["heat_flip_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(tested.keypoint_scores[:, 0].numpy(), recorded["heat_flip_scores"], atol=HEAT)
    large = original.crops([facts["input_384x288"]["n"]], (384, 288))
    with torch.no_grad():
        raw = model(large)
    np.testing.assert_allclose(raw[..., ::4, ::4].numpy(), recorded["heatmap_384x288_every4"], atol=OUTPUT)
    np.testing.assert_allclose(raw.double().abs().sum((2, 3)).numpy(), recorded["heat384_abs_sum"], rtol=1e-4)
    found = plain(model, raw)
    np.testing.assert_allclose(in_image(found, boxes, (384, 288)), recorded["heat384_official_xy"], atol=PIXELS)
    np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded["heat384_scores"], atol=HEAT)


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
    found = in_image(plain(small("pose_hrnet"), maps), boxes)
    np.testing.assert_allclose(found, recorded["official_xy"], atol=PIXELS)
    whole, certain = cut_off(found)
    certain &= (best > 0).numpy()[..., None]  # where there is no peak, this seed says -1
    assert (whole == recorded["repo_int"])[certain].all() and certain.mean() > 0.6
    assert ((recorded["repo_argmax"] == -1).all(-1) == (best <= 0).numpy()).all()
    for labels, name in (("smooth", "simdr_scores_max"), ("gaussian", "simdr_scores_min")):
        model = small("simdr", labels=labels)
        found = plain(model, tuple(torch.from_numpy(recorded[f"simdr_{axis}"]) for axis in "xy"))
        np.testing.assert_array_equal(found.keypoints[:, 0].numpy(), recorded["simdr_input_xy"])
        np.testing.assert_allclose(in_image(found, boxes), recorded["simdr_image_xy"], atol=PIXELS)
        np.testing.assert_allclose(found.keypoint_scores[:, 0].numpy(), recorded[name], atol=PROBABILITY)
        whole, certain = cut_off(in_image(found, boxes))
        assert (whole == recorded["simdr_repo_int"])[certain].all() and certain.mean() > 0.6


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
