"""ModelSpec and rows: through plain values and back, and a sentence for every wrong row."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core import checkpoint
from utils.core.contract import DetectionLayer, ModelSpec, PoseModel, Row, read_rows
from utils.core.schema import KeypointSchema

SPEC = ModelSpec(
    family="somebody",
    schema=KeypointSchema(("head", "left_paw", "right_paw"), (0, 2, 1), (0.1, 0.2, 0.2), ((0, 1),), {"paws": (1, 2)}),
    classes=("cat", "dog"),
    view="person",
    input_size=(256, 192),
    rows=(Row((-1,), 1, "Conv", (64, 3)), Row((-1, 0), 2, "Concat", (), {"activation": "relu"})),
    head={"anchors": [[1.5, 2], [3, 4]]},
    gains={"box": 0.05},
    select={"conf": 0.25},
)


def test_a_spec_survives_the_way_through_plain_values_and_json() -> None:
    assert ModelSpec.from_values(SPEC.to_values(), "here") == SPEC
    assert ModelSpec.from_values(json.loads(json.dumps(SPEC.to_values())), "here") == SPEC


def test_a_spec_survives_the_way_through_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "spec.safetensors"
    checkpoint.save(path, {"weight": torch.ones(1)}, {"spec": SPEC.to_values()})
    assert ModelSpec.from_values(checkpoint.load(path).header["spec"], "here") == SPEC


def test_a_spec_needs_no_more_than_a_family_and_keypoints() -> None:
    spec = ModelSpec.from_values({"family": "somebody", "schema": {"keypoints": ["head"]}}, "here")
    assert (spec.classes, spec.view, spec.input_size, spec.rows) == (("person",), "image", (640, 640), ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": None}, "here: 'schema' is missing; expected the keypoints"),
        ({"schema": {"keypoints": ["a", "a"]}}, "here: keypoint 'a' is named twice"),
        ({"famly": 1}, r"here: no key 'famly' \(family, .*\); did you mean 'family'\?"),
        ({"view": "crowd"}, "here: view: found 'crowd'; expected image or person"),
        ({"input_size": [640]}, "here: input_size: found 1 values; expected 2"),
        ({"input_size": [640, "wide"]}, r"here: input_size\[1\]: found 'wide'; expected a whole number"),
        ({"classes": "person"}, "here: classes: found 'person'; expected a list"),
        ({"select": [1]}, r"here: select: found \[1\]; expected 'key: value' lines"),
        ({"rows": [[-1, 1, "Conv"]]}, "here: row 0: found"),
    ],
)
def test_a_wrong_spec_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelSpec.from_values({**SPEC.to_values(), **change}, "here")


@pytest.mark.parametrize("values", [None, [1], 5, "spec"])
def test_a_spec_that_is_no_mapping_is_one_sentence(values: Any) -> None:
    with pytest.raises(ValueError, match="here: expected 'key: value' lines, found"):
        ModelSpec.from_values(values, "here")


def test_a_spec_without_a_family_says_so() -> None:
    values = {key: value for key, value in SPEC.to_values().items() if key != "family"}
    with pytest.raises(ValueError, match="here: 'family' is missing; expected a word"):
        ModelSpec.from_values(values, "here")


def test_other_thresholds_leave_the_rest_alone() -> None:
    other = SPEC.with_settings(select={"iou": 0.6}, gains={"box": 1.0})
    assert other.select == {"conf": 0.25, "iou": 0.6} and other.gains == {"box": 1.0}
    assert SPEC.select == {"conf": 0.25}
    assert SPEC.with_settings() == SPEC


def test_rows_are_read_as_they_stand_in_yaml() -> None:
    rows = read_rows([[-1, 3, "C3", [128, False]], [[-1, 6], 1, "Concat", [], {"activation": "relu"}]], "x.yaml")
    assert rows == (Row((-1,), 3, "C3", (128, False)), Row((-1, 6), 1, "Concat", (), {"activation": "relu"}))
    assert read_rows([], "x.yaml") == ()
    assert read_rows(rows, "x.yaml") == rows


plain = st.one_of(
    st.integers(-9, 999), st.booleans(), st.none(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)


@given(
    st.one_of(st.integers(-9, 99), st.lists(st.integers(-9, 99), min_size=1, max_size=4)),
    st.integers(1, 99),
    st.text(min_size=1, max_size=9),
    st.lists(plain, max_size=4),
    st.dictionaries(st.text(max_size=5), plain, max_size=2),
)
def test_rows_survive_the_way_through_plain_values_and_json(
    source: Any, repeats: int, layer: str, arguments: list[Any], options: dict[str, Any]
) -> None:
    rows = read_rows([[source, repeats, layer, arguments, options]], "x.yaml")
    assert read_rows([row.to_values() for row in rows], "x.yaml") == rows
    assert read_rows(json.loads(json.dumps([row.to_values() for row in rows])), "x.yaml") == rows


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("Conv", "x.yaml: rows: found 'Conv'; expected a list of"),
        ({"a": 1}, "x.yaml: rows: found {'a': 1}; expected a list of"),
        ([[-1, 1, "Conv", []], "Conv"], "x.yaml: row 1: found Conv; expected"),
        ([[-1, 1, "Conv"]], "x.yaml: row 0: found .*; expected"),
        ([[-1, 1, "Conv", [], {}, 1]], "x.yaml: row 0: found .*; expected"),
        ([["up", 1, "Conv", []]], "x.yaml: row 0: from: found 'up'; expected row numbers"),
        ([[[], 1, "Conv", []]], r"x.yaml: row 0: from: found \[\]; expected row numbers"),
        ([[True, 1, "Conv", []]], "x.yaml: row 0: from: found True; expected row numbers"),
        ([[-1, 0, "Conv", []]], "x.yaml: row 0: repeats: found 0; expected 1 or more"),
        ([[-1, 1.5, "Conv", []]], "x.yaml: row 0: repeats: found 1.5; expected 1 or more"),
        ([[-1, True, "Conv", []]], "x.yaml: row 0: repeats: found True; expected 1 or more"),
        ([[-1, 1, "Conv", 64]], "x.yaml: row 0: arguments: found 64; expected a list"),
        ([[-1, 1, "Conv", [], "relu"]], "x.yaml: row 0: options: found 'relu'; expected {name: value}"),
    ],
)
def test_a_wrong_row_is_one_sentence_with_its_number(rows: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_rows(rows, "x.yaml")


def test_a_family_that_promises_nothing_yet_keeps_its_spec_and_has_no_ti_layer() -> None:
    model = PoseModel(SPEC)
    assert model.spec is SPEC and model.ti_layer() is None and PoseModel.recognise(None) is None
    for unkept in (lambda: model.stride, lambda: model(None), lambda: model.decode([], []), lambda: model.select(None)):
        with pytest.raises(NotImplementedError):
            unkept()


def test_a_detection_layer_is_a_value() -> None:
    assert DetectionLayer("yolo_x", (8, 16), (), 1, 3) == DetectionLayer("yolo_x", (8, 16), (), 1, 3)
