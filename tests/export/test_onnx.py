"""The graph gives the people that the model gives, holds what it should, and says what it is."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from models.build import load, rebuilt
from models.layers import fused
from tests.export import small
from tests.rounding import assert_equal_but_for_rounding, in_both_precisions
from tests.test_contract import SIDE
from utils.core.schema import KeypointSchema
from utils.export.graphs import every_node, operators
from utils.export.layout import Export
from utils.export.onnx import to_onnx
from utils.export.session import FromFile, onnx_session


@pytest.mark.parametrize(
    ("keypoints", "batch", "simplify"),
    [(17, 1, True), (17, 3, False), (4, 1, False), pytest.param(4, 8, True, marks=pytest.mark.slow)],
)
def test_a_fixed_batch_gives_the_people_of_every_image(keypoints: int, batch: int, simplify: bool) -> None:
    model = small.model(keypoints)
    inputs = small.pictures(batch)
    file = small.file_of(model, replace(small.EXPORT, batch=batch, simplify=simplify))
    [detections] = small.run(file, inputs)
    assert detections.shape == (batch, 40, 6 + 3 * keypoints)
    for rows, expected in zip(detections, small.found(model, inputs), strict=True):
        small.assert_same(rows, expected)
        assert not rows[len(expected) :].any()


def test_classes_stay_apart_in_the_graph() -> None:
    model = small.model(4, ("person", "horse"))
    [detections] = small.run(small.file_of(model, small.EXPORT), small.pictures(1))
    small.assert_same(detections[0], small.found(model, small.pictures(1))[0])
    assert set(detections[0, :, 5]) == {0.0, 1.0}


def test_one_file_takes_any_number_of_images_of_any_size() -> None:
    model = small.model()
    file = small.file_of(model, replace(small.EXPORT, dynamic_batch=True, dynamic_size=True, simplify=True))
    wide = torch.nn.functional.pad(small.pictures(3), (0, 64, 0, 0), value=0.4)
    for inputs in (small.pictures(1), small.pictures(3), wide, wide[:2].transpose(2, 3).contiguous()):
        [detections] = small.run(file, inputs)
        for rows, expected in zip(detections, small.found(model, inputs), strict=True):
            small.assert_same(rows, expected)


def test_rows_hold_the_people_of_one_image_and_nothing_else() -> None:
    model = small.model()
    [rows] = small.run(small.file_of(model, replace(small.EXPORT, layout="rows")), small.pictures(1))
    [expected] = small.found(model, small.pictures(1))
    assert rows.shape == (len(expected), 57)
    small.assert_same(rows, expected)


def test_nobody_in_the_image_gives_an_empty_answer() -> None:
    model = small.model()
    nobody = rebuilt_with(model, conf=0.9999)
    [rows] = small.run(small.file_of(nobody, replace(small.EXPORT, layout="rows")), small.pictures(1))
    [fixed] = small.run(small.file_of(nobody, small.EXPORT), small.pictures(1))
    assert rows.shape == (0, 57) and fixed.shape == (1, 40, 57) and not fixed.any()


def rebuilt_with(model: torch.nn.Module, **select: float) -> torch.nn.Module:
    """The same fused network with other thresholds."""
    import copy

    twin = copy.deepcopy(model)
    twin.selection = replace(twin.selection, **select)
    return twin


def test_raw_maps_are_those_of_the_network() -> None:
    model = small.model(4)
    found = small.run(small.file_of(model, replace(small.EXPORT, layout="raw", batch=2)), small.pictures(2))
    expected = in_both_precisions(model, small.pictures(2), lambda network, inputs: network(inputs))
    for theirs, ours in zip(found, expected, strict=True):
        assert_equal_but_for_rounding(theirs, ours, least=1e-4)


def test_the_map_that_helps_learning_is_in_no_file() -> None:
    """The raw output has it, one map more than there are levels; a file has the maps of the detection head alone."""
    torch.manual_seed(0)
    taught = fused(load("yolov5n6_kpts.yaml", recipe={"heat": 2.0}, select={"conf": 0.0, "max_poses": 5}))
    export = Export((64, 64))
    inputs = small.pictures(1)[..., :64, :64].contiguous()
    expected = in_both_precisions(taught, inputs, lambda network, images: network(images))
    raw = small.file_of(taught, replace(export, layout="raw"))
    found = small.run(raw, inputs)
    assert len(found) == len(taught.ti_layer().strides) == len(expected) - 1
    for theirs, ours in zip(found, expected, strict=False):
        assert_equal_but_for_rounding(theirs, ours, least=1e-4)
    from_file = FromFile(onnx_session(raw), taught, layout="raw", batch=1)
    assert [len(people) for people in from_file((inputs * 255).to(torch.uint8))] == [5]
    whole = small.file_of(taught, export)
    assert [b"heat" in file for file in (raw, whole)] == [False, False]


def test_half_precision_gives_half_the_file_and_nearly_the_same_people() -> None:
    model = small.model()
    whole = small.file_of(model, small.EXPORT)
    half = small.file_of(model, replace(small.EXPORT, half=True))
    assert len(half) < 0.6 * len(whole)
    graph = onnx.load_model_from_string(half).graph
    assert (
        graph.input[0].type.tensor_type.elem_type
        == graph.output[0].type.tensor_type.elem_type
        == onnx.TensorProto.FLOAT
    )
    best = small.run(half, small.pictures(1))[0][0, 0]
    np.testing.assert_allclose(best[:4], small.found(model, small.pictures(1))[0].boxes[0], atol=2)
    assert next(model.parameters()).dtype == torch.float32, "the model itself is left as it was"


@pytest.mark.parametrize(("batch", "dynamic", "passes"), [(1, False, 1), (3, False, 3), (1, True, 1)])
def test_one_suppression_per_image_by_standard_operators_and_simplifying_does_not_enlarge(
    batch: int, dynamic: bool, passes: int
) -> None:
    """With a free batch the one suppression stands in a Scan, which runs it once for each image."""
    export = replace(small.EXPORT, batch=batch, dynamic_batch=dynamic)
    model = small.model(4)
    plain, slim = (to_onnx(model, replace(export, simplify=simplify)) for simplify in (False, True))
    for exported in (plain, slim):
        assert operators(exported.graph)["NonMaxSuppression"] == passes
        assert operators(exported.graph)["Scan"] == int(dynamic)
        assert all(node.domain == "" for node in every_node(exported.graph.graph))
    assert len(every_node(slim.graph.graph)) < len(every_node(plain.graph.graph)) <= plain.nodes_traced + 1


@pytest.mark.parametrize("opset", [13, 20])
def test_the_opset_is_the_one_that_was_asked_for(opset: int) -> None:
    model = small.model(4)
    file = small.file_of(model, replace(small.EXPORT, opset=opset))
    assert [entry.version for entry in onnx.load_model_from_string(file).opset_import] == [opset]
    small.assert_same(small.run(file, small.pictures(1))[0][0], small.found(model, small.pictures(1))[0])


def test_the_file_says_all_that_its_user_has_to_know() -> None:
    model = small.model(4)
    graph = onnx.load_model_from_string(small.file_of(model, replace(small.EXPORT, simplify=True)))
    stored = {entry.key: entry.value for entry in graph.metadata_props}
    facts = {key: json.loads(stored[key]) for key in stored if key not in ("format", "family", "view", "views")}
    schema, spec = model.spec.schema, model.spec
    assert (stored["format"], stored["family"], stored["view"], stored["views"]) == (
        "limber 1",
        "yolo_pose",
        "image",
        "one",
    )
    own = KeypointSchema(*(tuple(facts[key]) for key in ("keypoints", "swap", "sigmas")))
    assert own == replace(schema, skeleton=(), groups={}) and facts["skeleton"] == [
        list(bone) for bone in schema.skeleton
    ]
    assert facts["classes"] == list(spec.classes)
    assert facts["input"]["size"] == [SIDE, SIDE] and facts["input"]["stride"] == model.stride
    assert facts["letterbox"] == {"rounding": "nearest", "place": "centre", "smooth": True, "padding": 114}
    assert facts["output"]["columns"][:9] == [
        "x1",
        "y1",
        "x2",
        "y2",
        "score",
        "class",
        "left_0_x",
        "left_0_y",
        "left_0_score",
    ]
    assert facts["select"]["conf"] == pytest.approx(model.selection.conf) and facts["select"]["max_poses"] == 40
    assert facts["head"]["strides"] == [8, 16, 32, 64] and facts["made"]["command"] == "test"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layout": "rows", "batch": 2}, "which image"),
        ({"batch": 0}, "--batch: found 0"),
        ({"opset": 40}, "--opset: found 40"),
    ],
)
def test_what_cannot_be_exported_is_said(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_onnx(small.model(4), replace(small.EXPORT, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(640, 640), (960, 960), (640, 384)])
def test_common_sizes_give_the_people_of_the_model(size: tuple[int, int]) -> None:
    model = small.model()
    inputs = torch.nn.functional.interpolate(small.pictures(2), size=size, mode="bilinear")[1:]
    with torch.no_grad():
        scores = model.decode([model(inputs)], [small.View()]).scores.flatten().sort(descending=True).values
    model = rebuilt_with(model, conf=scores[29:31].mean().item())
    [detections] = small.run(small.file_of(model, Export(size, simplify=True)), inputs)
    small.assert_same(detections[0], small.found(model, inputs)[0])


def test_a_detector_without_keypoints_is_exported_too() -> None:
    spec = load("yolov5n6_kpts.yaml", schema=KeypointSchema((), (), ()), select={"conf": 0.01, "max_poses": 5}).spec
    torch.manual_seed(0)
    model = fused(rebuilt(load("yolov5n6_kpts.yaml", schema=KeypointSchema((), (), ())), spec))
    [detections] = small.run(small.file_of(model, small.EXPORT), small.pictures(1))
    assert detections.shape == (1, 5, 6)
