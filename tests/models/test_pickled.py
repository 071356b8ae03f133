"""Checkpoints of the YOLOv5 lineage: whatever network the pickled modules are, that one is built.

The files are made here: our networks, dressed in the class names and attributes that the originals pickle.
"""

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from models.build import load, read_model_yaml
from models.summary import as_text, summarise
from tests.models.pickles import alive, dressed, original_classes, write_checkpoint
from utils.core.config import find, read_yaml
from utils.core.contract import ModelSpec, read_rows
from utils.core.schema import KeypointSchema
from utils.core.tta import View


@pytest.fixture
def originals() -> Iterator[dict[str, type[nn.Module]]]:
    with original_classes() as found:
        yield found


def nano(name: str, **head: object) -> ModelSpec:
    spec = read_model_yaml(name)
    return replace(spec, head={**spec.head, "layout": "published", **head})


def with_row(spec: ModelSpec, index: int, row: list) -> ModelSpec:
    rows = list(spec.rows)
    [rows[index]] = read_rows([row], "test")
    return replace(spec, rows=tuple(rows))


def detector(stem: list, pyramid: list) -> ModelSpec:
    """A YOLOv5 detector of three levels and eighty classes, much reduced."""
    middle = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "C3", [16]]]
    levels = [[-1, 1, "Conv", [channels, 3, 2]] for channels in (32, 48, 64)]
    rows = [stem, *middle, *levels, pyramid]
    anchors = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
    return ModelSpec(
        family="yolo_pose",
        schema=KeypointSchema.unnamed(0),
        classes=tuple(f"thing {i}" for i in range(80)),
        rows=read_rows(
            [[*row[:4], {"activation": "silu", **(row[4] if len(row) > 4 else {})}] for row in rows], "test"
        ),
        head={"inputs": [3, 4, 6], "anchors": anchors, "keypoint_depth": 0},
    )


NETWORKS = {
    "TI's pose network": nano("yolov5n6_kpts.yaml"),
    "TI's pose network with a single 1x1 for keypoints": nano("yolov5n6_kpts.yaml", keypoint_depth=0),
    "TI's pose network with one depthwise convolution": nano("yolov5n6_kpts.yaml", keypoint_depth=1),
    "ti_lite, ReLU but SiLU in the pyramid": nano("yolov5n6_kpts_ti_lite.yaml"),
    "the original's order of the Focus stem": with_row(
        nano("yolov5n6_kpts.yaml"), 0, [-1, 1, "Focus", [16, 3], {"activation": "silu", "order": "columns"}]
    ),
    "other anchors than the YAML's": nano(
        "yolov5n6_kpts.yaml", anchors=[[8, 9, 20, 31, 40, 52], [60, 70, 80, 90, 99, 98], [120, 130, 140, 150, 160, 170],
                                       [200.5, 210.25, 300, 310, 400, 410]]),
    "a YOLOv5 detector of release 5": detector(
        [-1, 1, "Focus", [8, 3], {"order": "columns"}], [-1, 1, "SPP", [64, [5, 9, 13]]]),
    "a YOLOv5 detector of release 6": detector([-1, 1, "Conv", [8, 6, 2, 2]], [-1, 1, "SPPF", [64, 5]]),
}  # fmt: skip


@pytest.mark.parametrize("what", NETWORKS)
def test_the_network_in_the_file_is_the_one_that_is_built(originals, tmp_path: Path, what: str) -> None:
    expected = alive(NETWORKS[what])
    path = tmp_path / "last.pt"
    torch.save(
        {"epoch": 3, "ema": None, "model": dressed(expected, originals, yaml={"nc": 1}), "optimizer": None}, path
    )
    found = load(path)
    assert not found.training
    assert found.spec.classes == expected.spec.classes and found.spec.schema.count == expected.spec.schema.count
    assert torch.equal(found.anchors, expected.anchors)
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for ours, theirs in zip(found(images), expected(images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_half_precision_and_the_average_are_preferred_as_the_originals_do(originals, tmp_path: Path) -> None:
    latest, average = alive(NETWORKS["TI's pose network"]), alive(NETWORKS["TI's pose network"])
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(0.5)
    path = tmp_path / "last.pt"
    torch.save({"model": dressed(latest, originals).half(), "ema": dressed(average, originals).half()}, path)
    found = load(path)
    kernel = "body.layers.1.conv.weight"
    assert found.state_dict()[kernel].dtype == torch.float32
    assert torch.equal(found.state_dict()[kernel], average.state_dict()[kernel].half().float())


def test_anchors_are_found_where_later_releases_keep_them(originals, tmp_path: Path) -> None:
    expected = alive(NETWORKS["a YOLOv5 detector of release 6"])
    path = tmp_path / "yolov5n.pt"
    torch.save({"model": dressed(expected, originals, anchor_grid=False)}, path)
    torch.testing.assert_close(load(path).anchors, expected.anchors)


def test_a_detector_finds_things_and_no_keypoints(originals, tmp_path: Path) -> None:
    path = tmp_path / "yolov5n.pt"
    torch.save({"model": dressed(alive(NETWORKS["a YOLOv5 detector of release 6"]), originals)}, path)
    model = load(path, select={"conf": 0.0, "max_poses": 5})
    with torch.no_grad():
        [poses] = model.select(model.decode([model(torch.rand(1, 3, 64, 64))], [View()]))
    assert len(poses) == 5 and poses.keypoints.shape == (5, 0, 2) and poses.classes.max() < 80


def test_the_summary_says_which_network_a_file_holds(originals, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({"model": dressed(alive(NETWORKS["ti_lite, ReLU but SiLU in the pyramid"]), originals)}, path)
    model = load(path)
    text = as_text("last.pt", model, summarise(model, (64, 64)))
    assert "ConvFocus [16, 3] relu" in text and "SPP [256, [3, 5, 7]] silu" in text and "keypoint_depth=0" in text


def test_a_layer_that_is_not_known_is_named(originals, tmp_path: Path) -> None:
    whole = dressed(alive(NETWORKS["TI's pose network"]), originals)
    strange = originals["Contract"]()
    strange.i, strange.f = 2, -1
    whole.model[2] = strange
    path = tmp_path / "strange.pt"
    torch.save({"model": whole}, path)
    with pytest.raises(ValueError, match=r"strange\.pt: layer 2 is a Contract; known are Conv, DWConv, C3"):
        load(path)


def test_a_network_of_another_kind_asks_for_its_yaml(originals, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": nn.Sequential(nn.Linear(2, 2))}, path)
    with pytest.raises(ValueError, match=r"other\.pt: weights without a network that is known here"):
        load(path)


def test_folded_weights_are_not_taken_for_trainable_ones(originals, tmp_path: Path) -> None:
    whole = dressed(alive(NETWORKS["TI's pose network"]), originals)
    del whole.model[1].bn
    path = tmp_path / "fused.pt"
    torch.save({"model": whole}, path)
    with pytest.raises(ValueError, match=r"fused\.pt: its normalisation is folded away"):
        load(path)


@pytest.mark.parametrize(
    ("network", "head", "told"),
    [
        ("models.yolo.Model", "models.yolo.IKeypoint", r"a network of YOLOv7 \(its head is 'IKeypoint'\)"),
        ("ultralytics.nn.tasks.PoseModel", "ultralytics.nn.modules.head.Pose", "a PoseModel of Ultralytics' package"),
    ],
)
def test_a_network_of_another_project_is_named_and_not_mistaken_for_a_start(
    network: str, head: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def made(full: str) -> nn.Module:
        module, _, name = full.rpartition(".")
        kind = type(name, (nn.Module,), {"__module__": module})
        setattr(sys.modules[module], name, kind)
        return kind()

    for module in ("models.yolo", "ultralytics", "ultralytics.nn", "ultralytics.nn.tasks", "ultralytics.nn.modules"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setitem(sys.modules, "ultralytics.nn.modules.head", ModuleType("ultralytics.nn.modules.head"))
    whole, last = made(network), made(head)
    last.m = nn.ModuleList([nn.Conv2d(8, 18, 1)])
    whole.model = nn.Sequential(nn.Conv2d(3, 8, 3), last)
    torch.save({"epoch": -1, "model": whole.half()}, tmp_path / "pose.pt")
    for cfg in (None, "yolov5n6_kpts.yaml"):
        with pytest.raises(ValueError, match=rf"pose\.pt: {told}; .*docs/migration\.md"):
            load(tmp_path / "pose.pt", cfg)


def test_a_detector_and_a_recipe_for_keypoint_objects_make_a_new_network(tmp_path: Path, caplog) -> None:
    """KAPAO's commands name no YAML: its network is a detector of more classes."""
    path, people = tmp_path / "yolov5s6.pt", KeypointSchema.unnamed(5)
    spec = NETWORKS["a YOLOv5 detector of release 6"]
    write_checkpoint(path, spec)
    recipe = read_yaml(find("hyp.kp-p6.yaml"))
    with caplog.at_level(logging.INFO, logger="limber"):
        model = load(path, schema=people, classes=("person",), recipe=recipe)
    assert model.spec.family == "kapao" and model.spec.schema == people and model.spec.classes == ("person",)
    assert model.spec.rows == load(path).spec.rows and "a new kapao model takes its layers" in caplog.text
    kernel = "body.layers.1.conv.weight"
    assert torch.equal(model.state_dict()[kernel], load(path).state_dict()[kernel])
    others = read_yaml(find("hyp.scratch.yaml"))
    for values in (others, None):  # a pose branch is more than a detector's layers say; and nobody asked for a new one
        with pytest.raises(ValueError, match=r"yolov5s6\.pt: has 0 keypoints, but the data has 5; .*--cfg"):
            load(path, schema=people, classes=("person",), recipe=values)
