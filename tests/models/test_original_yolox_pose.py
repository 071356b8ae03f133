"""Number for number against the originals of YOLOX-Pose: mmpose's project and core, TI's edgeai-yolox. Looking."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load, rebuilt
from models.families.yolox_pose import Model
from models.yolox_head import LETTERBOXES
from tests.models.original_yolox import Originals, assert_close
from utils.core import images as pixels
from utils.core.geometry import inverse, letterbox, scaling
from utils.core.poses import Candidates, Poses
from utils.core.tta import View
from utils.inference.predictor import OneStage

CASES = {"A": (11, 1, 128, 128), "B": (12, 2, 192, 256)}
TI_CASES = {"A": (11, 1, 128, 128), "B": (14, 2, 128, 192)}
LEVELS = {"backbone": (4, 6, 9), "neck": (24, 25, 26)}  # rows of the graph


@pytest.fixture(scope="module")
def originals(shared) -> Originals:
    return Originals(shared)


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


def test_the_maps_of_trunk_and_neck_equal_the_original(originals: Originals) -> None:
    arrays, model = originals.arrays("project_nano_forward"), originals.model("project", "nano")
    seen: dict[str, torch.Tensor] = {}
    for part, rows in LEVELS.items():
        for level, row in enumerate(rows):
            model.body.layers[row].register_forward_hook(
                lambda _, __, out, key=f"{part}{level}": seen.update({key: out})
            )
    for case, numbers in CASES.items():
        inputs = originals.images(*numbers)
        assert math.isclose((inputs * 255).double().sum().item(), arrays[f"{case}/input_sum"], rel_tol=1e-6)
        with torch.no_grad():
            model(inputs)
        for key, values in seen.items():
            assert_close(values[0, 0], arrays[f"{case}/{key}_ch0"], 2e-4)
            largest = values.abs().max().item()
            assert math.isclose(values.double().abs().mean().item(), arrays[f"{case}/{key}_absmean"], rel_tol=1e-4)
            assert math.isclose(values.double().mean().item(), arrays[f"{case}/{key}_mean"], abs_tol=1e-5 * largest)


def test_people_of_the_core_come_back_to_the_image(originals: Originals) -> None:
    """Cut to the input, and then moved: the way back of an exact, centred letterbox."""
    arrays, model = originals.arrays("core_nano_forward"), originals.model("core", "nano", conf=0.3)
    for case, (seed, count, height, width) in CASES.items():
        size = tuple(arrays[f"{case}/ori_wh"][::-1].tolist())
        matrix, _ = letterbox(size, (height, width), LETTERBOXES["centre"])
        np.testing.assert_allclose(np.array([width, height]) / matrix[[0, 1], [0, 1]], arrays[f"{case}/input_scale"])
        with torch.no_grad():
            found = model.select(model.decode([model(originals.images(seed, count, height, width))], [View()]))
        for image, poses in enumerate(found):
            key = f"{case}/det{image}_thr0.3"
            assert_same_people(poses.cut_to((height, width)).moved(inverse(matrix)), arrays, key)


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
        # Their visibility is a logit times 2 strides: as a share it would show the last digit of the network 64 times.
        visibility = model._read(raw)[0].visibility
        assert_close(visibility, points[..., 2].numpy(), 5e-4)
        assert torch.equal(candidates.keypoint_scores, visibility.sigmoid())
        assert [list(level.shape) for level in raw] == [arrays[f"{case}/proto{i}_shape"].tolist() for i in range(3)]
        for threshold in (0.01, 0.3):
            selecting = rebuilt(model, model.spec.with_settings(select={"conf": threshold}))
            for image, poses in enumerate(selecting.select(candidates)):
                expected = arrays[f"{case}/post{image}_thr{threshold}"]
                assert len(poses) == int(arrays[f"{case}/post{image}_thr{threshold}_count"])
                assert_close(poses.boxes[: len(expected)], expected[:, :4], 5e-4)
                assert_close(poses.scores[: len(expected)], expected[:, 4] * expected[:, 5], 1e-4)
                found = poses.keypoints[: len(expected)]
                assert_close(found, expected[:, 7:].reshape(-1, 17, 3)[..., :2], 5e-4)
                # Their exported selection moves classes apart by the wrong column and suppresses nobody.
                everybody = rebuilt(selecting, selecting.spec.with_settings(select={"iou": 1.0})).select(candidates)
                expected = arrays[f"{case}/export{image}_thr{threshold}"]
                assert_close(everybody[image].scores[: len(expected)], expected[:, 4], 1e-4)
                assert_close(everybody[image].boxes[: len(expected)], expected[:, :4], 5e-4)


@pytest.mark.parametrize(
    ("original", "letterbox"), [("project", "corner"), ("core", "centre"), ("edgeai", "corner_down")]
)
def test_images_are_put_into_the_input_as_in_the_originals(originals: Originals, original: str, letterbox: str) -> None:
    arrays = originals.arrays("test_pipeline")
    for case, facts in originals.facts("test_pipeline").items():
        image = originals.recipe.make_image(facts["seed"], facts["h"], facts["w"])
        found, _ = pixels.fit(image, (128, 128), LETTERBOXES[letterbox])
        difference = np.abs(found.astype(int) - arrays[f"{case}/{original}_img"].astype(int))
        assert difference.max() <= 1, (case, difference.max(), difference.mean())


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
        np.testing.assert_allclose(poses.keypoint_scores[row], expected["keypoint_scores"], atol=1e-3)


@pytest.mark.parametrize(("layout", "size"), [("project", "nano"), ("mmyolo", "nano"), ("core", "nano"),
                                              ("edgeai", "nano"), ("edgeai", "nano_lite")])  # fmt: skip
def test_a_file_in_the_form_of_each_project_loads_without_a_yaml(
    originals: Originals, layout: str, size: str, tmp_path: Path
) -> None:
    """MMYOLO's have the project's names; mmpose's and MMYOLO's are legacy pickles with numpy arrays in them."""
    names = "project" if layout == "mmyolo" else layout
    state = originals.state(names, size)
    if layout == "edgeai":
        torch.save({"start_epoch": 300, "model": state, "optimizer": None}, tmp_path / "best_ckpt.pth")
        [file] = tmp_path.iterdir()
    else:
        facts = {"epoch": 300, "cfg": "model = dict()", "dataset_meta": {"sigmas": np.array([0.026, 0.025])}}
        file = tmp_path / f"{layout}_20230829-56c79c1f.pth"
        torch.save({"meta": facts, "state_dict": state}, file, _use_new_zipfile_serialization=False)
    model = load(file).eval()
    arrays = originals.arrays(f"{names}_{size}_forward")
    with torch.no_grad():
        raw = model(originals.images(*CASES["A"]))
    if layout == "edgeai":
        flat = torch.cat([level.flatten(2).transpose(1, 2) for level in raw], 1)
        assert_close(flat[..., :4], arrays["A/raw"][..., :4], 2e-4)
    else:
        assert_close(raw_parts(model, raw)["kpt"], arrays["A/kpt"], 2e-4)
    assert model.letterbox == LETTERBOXES[{"core": "centre", "edgeai": "corner_down"}.get(layout, "corner")]
