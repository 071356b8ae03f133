"""From a YAML or a checkpoint to a model, and one clear sentence where that cannot be."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.build import load, save
from utils.core.config import ROOT, find, read_yaml, write_yaml
from utils.core.schema import KeypointSchema

NANO = "yolov5n6_kpts.yaml"


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return load(NANO)


def edited(tmp_path: Path, change) -> Path:
    """The nano's YAML with one thing changed."""
    values = read_yaml(find(NANO))
    change(values)
    path = tmp_path / "edited.yaml"
    write_yaml(path, values)
    return path


def test_every_yaml_builds_in_evaluation_mode_with_the_keypoints_of_its_data_file() -> None:
    paths = sorted((ROOT / "models" / "configs").glob("*.yaml"))
    assert len(paths) >= 8
    for path in paths:
        with torch.device("meta"):
            model = load(path.name)
        assert not model.training
        assert model.spec.schema == KeypointSchema.read(read_yaml(path).get("data", "coco_kpts.yaml"))


def test_every_yaml_begins_with_the_command_that_trains_it_and_what_to_expect() -> None:
    for path in (ROOT / "models" / "configs").glob("*.yaml"):
        first, second = path.read_text().splitlines()[:2]
        assert first.startswith(f"# python train.py --cfg {path.name} "), path
        assert second.startswith("# ") and len(second) > 30, path


def test_a_bare_name_is_found_from_any_folder(tmp_path: Path) -> None:
    code = "from models.build import load; print(load('yolov5n6_kpts').spec.family)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "yolo_pose", done.stderr


def with_row(index: int, row: object):
    return lambda values: values["rows"].__setitem__(index, row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_row(4, [-1, 3, "C4", [256]]), r"row 4 \(C4\): no layer 'C4' .*did you mean 'C3'\?"),
        (with_row(14, [[-1, 99], 1, "Concat", []]), r"row 14 \(Concat\): from 99 is not a row before"),
        (with_row(3, [-9, 1, "Conv", [256, 3, 2]]), r"row 3 \(Conv\): from -9 is not a row before"),
        (with_row(14, [[-1, 6], 1, "Concat", []]), r"row 14 \(Concat\): its inputs have different sizes"),
        (with_row(3, [[-1, 1], 1, "Conv", [256, 3, 2]]), r"row 3 \(Conv\): 2 inputs found"),
        (with_row(3, [-1, 1, "Conv", [256, 3, 2, 1, 1, 7]]), r"row 3 \(Conv\): arguments .* do not fit"),
        (with_row(3, [-1, 1, "Conv", ["many"]]), r"row 3 \(Conv\): .*number of output channels"),
        (with_row(3, [-1, 0, "Conv", [256]]), r"row 3: repeats: found 0"),
        (with_row(3, "Conv"), r"row 3: found Conv; expected \[from, repeats"),
        (with_row(10, [-1, 1, "SPP", [1024, [4, 5]]]), r"row 10 \(SPP\): windows \[4, 5\] found"),
        (lambda v: v.update(width_multiple=0), r"width_multiple: found 0; expected a number above 0"),
        (lambda v: v.update(depth_multiple="deep"), r"depth_multiple: found 'deep'; expected a number"),
        (lambda v: v.update(activation="SiLu"), r"activation 'SiLu' found; expected one of silu, relu"),
        (lambda v: v.pop("head"), r"'head' is missing"),
        (lambda v: v.pop("rows"), r"rows: none found; a network has at least one layer"),
        (lambda v: v.pop("family"), r"'family' is missing"),
        (lambda v: v.update(family="yolo_pos"), r"no family 'yolo_pos' in .*did you mean 'yolo_pose'\?"),
        (lambda v: v.update(dept_multiple=1), r"no key 'dept_multiple' .*did you mean 'depth_multiple'\?"),
        (lambda v: v["head"].update(inputs=[23, 26, 29, 50]), r"head: input row 50 found; rows go from 0 to 32"),
        (lambda v: v["head"].update(inputs=[23, 26]), r"head: 2 inputs but anchors for 4 levels"),
        (lambda v: v["head"].update(layout="cleen"), r"head: layout: found 'cleen'; expected published or clean"),
        (lambda v: v["head"].pop("anchors"), r"head: 'anchors' is missing"),
        (lambda v: v["head"]["anchors"].__setitem__(0, [19, 27, 44]), r"head: anchors: expected as many width, height"),
        (lambda v: v.update(data="nowhere.yaml"), r"nowhere.yaml: no such file"),
        (lambda v: v.update(select={"confidence": 0.2}), r"select: no key 'confidence' .*conf, iou, max_poses"),
        (lambda v: v.update(backbone=[]), r"'backbone' found, this is a model YAML of YOLOv5"),
    ],
)  # fmt: skip
def test_a_wrong_yaml_is_told_with_its_file_and_row(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        load(edited(tmp_path, change))
    assert "\n" not in str(error.value)
    if "nowhere" not in message:
        assert "edited.yaml" in str(error.value)


def test_a_checkpoint_of_ours_comes_back_with_all_that_it_knows(tmp_path: Path, nano) -> None:
    path = tmp_path / "best.safetensors"
    save(path, nano, made={"command": "train.py --cfg yolov5n6_kpts.yaml", "seed": 3}, metrics={"AP": 0.5})
    again = load(path)
    assert again.spec == nano.spec
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in nano.state_dict().items())
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(nano(images), again(images), strict=True))


def test_an_aid_to_learning_comes_and_goes_with_the_recipe(tmp_path: Path) -> None:
    """Weights with maps of the keypoints load without them, and weights without them start those anew."""
    path = tmp_path / "person.safetensors"
    save(path, load(NANO, recipe={"heat": 2.0}), made={})
    assert load(path).heat is not None
    without = load(path, recipe={"heat": 0.0})
    assert without.heat is None
    save(path, without, made={})
    again = load(path, recipe={"heat": 2.0})
    assert again.heat is not None and torch.equal(again.body.layers[1].conv.weight, without.body.layers[1].conv.weight)


def test_a_new_model_from_weights_keeps_the_head_layout_that_they_were_trained_in(tmp_path: Path) -> None:
    path, detector = tmp_path / "published.safetensors", tmp_path / "detector.safetensors"
    published = edited(tmp_path, lambda v: v["head"].update(layout="published"))
    save(path, load(published), made={})
    assert load(path, NANO, KeypointSchema.unnamed(4)).spec.head["layout"] == "published"
    save(detector, load(published, schema=KeypointSchema.unnamed(0)), made={})
    assert load(detector, NANO).spec.head["layout"] == "clean"


def test_thresholds_and_loss_weights_can_be_replaced_and_unknown_ones_are_refused(nano) -> None:
    model = load(NANO, select={"conf": 0.5}, recipe={"box": 0.1, "lr0": 0.01, "kpt_tail": 0.2})
    assert model.selection.conf == 0.5 and model.selection.iou == 0.45
    assert model.gains.box == 0.1 and model.gains.kpt_tail == 0.2 and model.gains.obj == 1.0
    with pytest.raises(ValueError, match=r"select: no key 'overwrite_tol' \(conf, iou, max_poses, agnostic\)"):
        load(NANO, select={"overwrite_tol": 50})


def test_the_usual_thresholds_of_a_command_give_way_to_those_that_a_user_types_and_reach_who_has_them() -> None:
    model = load(NANO, select={"conf": 0.5}, usual={"conf": 0.001, "iou": 0.65, "overwrite_tol": 50})
    assert model.selection.conf == 0.5 and model.selection.iou == 0.65


def test_another_number_of_keypoints_is_refused_without_a_yaml_and_welcome_with_one(
    tmp_path: Path, nano, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "person.safetensors"
    save(path, nano, made={})
    corners = KeypointSchema.unnamed(4)
    with pytest.raises(ValueError, match=r"person\.safetensors: has 17 keypoints, but the data has 4; .*--cfg"):
        load(path, schema=corners)
    with pytest.raises(ValueError, match=r"person\.safetensors: has 1 classes, but the data has 2"):
        load(path, classes=("person", "dog"))
    with caplog.at_level(logging.INFO, logger="limber"):
        model = load(path, NANO, corners)
    assert model.spec.schema == corners
    total, heads = len(nano.state_dict()), 4 * 2  # weight and bias of each level's last keypoint convolution
    assert f"{total - heads} of {total} weights taken; left out: {heads} of another shape" in caplog.text


def test_a_person_detector_fills_what_it_can_of_a_pose_model(shared: Path, tmp_path: Path, caplog) -> None:
    """As the original counts it: 470 of the 744 entries of the s6, all but the keypoint branch and the anchors."""
    detector = load(edited(tmp_path, lambda v: v.update(width_multiple=0.5)), schema=KeypointSchema.unnamed(0))
    assert len(detector.head.keypoint) == 0
    path = tmp_path / "detector.safetensors"
    save(path, detector, made={})
    with caplog.at_level(logging.INFO, logger="limber"):
        pose = load(path, "yolov5s6_kpts.yaml")
    assert "470 of 470 weights taken" in caplog.text
    taken = {name for name in detector.state_dict() if not name.startswith("anchors")}
    assert all(torch.equal(pose.state_dict()[name], detector.state_dict()[name]) for name in taken)


def test_the_original_checkpoint_fills_a_pose_model_for_other_keypoints(shared: Path, tmp_path: Path, caplog) -> None:
    checkpoint = shared / "fixtures" / "yolo_pose" / "public" / "ckpt" / "tiny_s6_last.pt"
    yaml = edited(tmp_path, lambda v: v.update(width_multiple=0.125))
    with caplog.at_level(logging.INFO, logger="limber"):
        model = load(checkpoint, yaml, KeypointSchema.unnamed(4))
    assert "734 of 742 weights taken; left out: 8 of another shape, 0 unknown here; 8 start anew" in caplog.text
    published = load(checkpoint)
    assert torch.equal(model.body.layers[1].conv.weight, published.body.layers[1].conv.weight)
    with pytest.raises(ValueError, match=r"tiny_s6_last\.pt: has 17 keypoints, but the data has 4"):
        load(checkpoint, schema=KeypointSchema.unnamed(4))


def test_weights_that_fit_nowhere_are_told(tmp_path: Path, nano) -> None:
    path = tmp_path / "classifier.pt"
    torch.save({"fc.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ValueError, match=r"classifier\.pt: no weight fits a yolo_pose model"):
        load(path, NANO)
    with pytest.raises(ValueError, match=r"classifier\.pt: weights without a network that is known here .*--cfg"):
        load(path)


def test_a_plain_state_dict_loads_with_its_yaml(tmp_path: Path, nano) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": nano.state_dict()}, path)
    again = load(path, NANO)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in nano.state_dict().items())


def test_a_checkpoint_with_a_missing_or_misshapen_weight_is_refused(tmp_path: Path, nano) -> None:
    from utils.core import checkpoint

    path = tmp_path / "whole.safetensors"
    save(path, nano, made={})
    whole = checkpoint.load(path)
    name = "body.layers.1.conv.weight"
    for tensors, what in (
        ({k: v for k, v in whole.tensors.items() if k != name}, "is missing"),
        ({**whole.tensors, "extra": torch.zeros(1)}, "has no place"),
        ({**whole.tensors, name: torch.zeros(2, 2)}, "has another shape"),
    ):
        checkpoint.save(path, tensors, whole.header)
        with pytest.raises(ValueError, match=rf"whole\.safetensors: .* {what}; .*not a whole yolo_pose checkpoint"):
            load(path)


def test_safetensors_of_others_ask_for_a_yaml(tmp_path: Path, nano) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"foreign\.safetensors: safetensors without Limber's header"):
        load(path)
    assert load_file(path)["a"].shape == (1,)


def test_nothing_to_load_is_told() -> None:
    with pytest.raises(ValueError, match="neither weights nor a model YAML given"):
        load(None)
    with pytest.raises(
        ValueError, match=r"yolov5x6_kpts\.yaml: no such file here or in .*did you mean 'yolov5[nsml]6_kpts\.yaml'\?"
    ):
        load("yolov5x6_kpts.yaml")
