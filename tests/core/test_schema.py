"""KeypointSchema: every form that users have is read, and every wrong one is one sentence."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.core.config import write_yaml
from utils.core.schema import DEFAULT_SIGMA, KeypointSchema, mirror_name

HORSE = {
    "keypoints": [
        {"name": "nose", "swap": "nose", "sigma": 0.03},
        {"name": "left_eye", "swap": "right_eye", "sigma": 0.02},
        {"name": "right_eye", "swap": "left_eye", "sigma": 0.02},
    ],
    "skeleton": [["nose", "left_eye"], ["nose", "right_eye"]],
    "groups": {"face": ["nose", "left_eye", "right_eye"]},
}
READ = KeypointSchema(
    names=("nose", "left_eye", "right_eye"),
    swap=(0, 2, 1),
    sigmas=(0.03, 0.02, 0.02),
    skeleton=((0, 1), (0, 2)),
    groups={"face": (0, 1, 2)},
)


def read(values: Any) -> KeypointSchema:
    return KeypointSchema.from_values(values, "horse.yaml")


def named(*names: str, **more: Any) -> KeypointSchema:
    return read({"keypoints": list(names), **more})


# ---------------------------------------------------------------------------------------------- forms


def test_our_own_form_is_read() -> None:
    assert read(HORSE) == READ
    assert READ.count == 3 and READ.index("right_eye") == 2


@pytest.mark.parametrize("names", [["nose", "l_eye", "r_eye"], {0: ["nose", "l_eye", "r_eye"]}])
def test_the_keys_of_ultralytics_are_read_and_their_bones_count_from_zero(names: Any) -> None:
    values = {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1], "kpt_names": names, "kpt_oks_sigmas": [0.03, 0.02, 0.02]}
    schema = read({**values, "skeleton": [[0, 1], [0, 2]]})
    assert schema.names == ("nose", "l_eye", "r_eye")
    assert (schema.swap, schema.sigmas, schema.skeleton) == (READ.swap, READ.sigmas, READ.skeleton)


def test_ultralytics_without_names_gets_numbered_ones_and_keeps_its_flips() -> None:
    schema = read({"kpt_shape": [4, 2], "flip_idx": [1, 0, 3, 2]})
    assert schema.names == ("keypoint_0", "keypoint_1", "keypoint_2", "keypoint_3")
    assert schema.swap == (1, 0, 3, 2) and schema.sigmas == (DEFAULT_SIGMA,) * 4


def test_ultralytics_with_the_flips_of_coco_has_its_names_and_sigmas_too() -> None:
    coco = KeypointSchema.read("coco_kpts.yaml")
    theirs = {"kpt_shape": [coco.count, 3], "flip_idx": list(coco.swap)}
    schema = read(theirs)
    assert (schema.names, schema.swap, schema.sigmas) == (coco.names, coco.swap, coco.sigmas)
    assert schema.skeleton == coco.skeleton
    own = read({**theirs, "kpt_oks_sigmas": [0.1] * coco.count, "skeleton": [[0, 1]]})
    assert own.sigmas == (0.1,) * coco.count and own.skeleton == ((0, 1),)
    assert read({"kpt_shape": [coco.count, 3]}).names[0] == "keypoint_0"  # nobody says that these are COCO's


def test_a_coco_category_is_read_and_its_bones_count_from_one() -> None:
    schema = named("nose", "left_eye", "right_eye", id=1, name="horse", skeleton=[[1, 2], [1, 3]])
    assert schema.skeleton == ((0, 1), (0, 2)) and schema.swap == (0, 2, 1)


def test_a_whole_coco_file_is_read_from_its_first_category_with_keypoints(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "tree"},
        {"id": 2, "name": "dog", "keypoints": ["head", "tail"], "skeleton": [[1, 2]]},
    ]
    path = tmp_path / "dögs and more.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    schema = KeypointSchema.read(path)
    assert schema.names == ("head", "tail") and schema.skeleton == ((0, 1),)


def test_a_data_file_is_found_by_its_bare_name_and_knows_coco() -> None:
    coco = KeypointSchema.read("coco_kpts")
    assert coco.count == 17 and len(coco.skeleton) == 19
    assert coco.names[coco.swap[coco.index("left_wrist")]] == "right_wrist"
    assert coco.sigmas[coco.index("left_hip")] == 0.107
    assert coco.groups["face"] == (0, 1, 2, 3, 4)


def test_a_bone_may_be_given_by_name_or_by_number() -> None:
    assert named("a", "b", skeleton=[["a", "b"]]).skeleton == named("a", "b", skeleton=[[1, 2]]).skeleton == ((0, 1),)


def test_one_sigma_may_stand_for_all() -> None:
    assert named("a", "b", sigmas=0.1).sigmas == (0.1, 0.1)


def test_a_plain_detector_has_no_keypoints_at_all() -> None:
    nothing = KeypointSchema((), (), ())
    assert nothing.count == 0 and read(nothing.to_values()) == nothing


def test_weights_that_only_know_a_number_are_coco_at_seventeen_and_unnamed_otherwise() -> None:
    assert KeypointSchema.of_weights(17) == KeypointSchema.read("coco_kpts.yaml")
    assert KeypointSchema.of_weights(3) == KeypointSchema.unnamed(3)
    assert KeypointSchema.unnamed(3).swap == (0, 1, 2)


# ---------------------------------------------------------------------------------------------- mirror images


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("left_wrist", "right_wrist"), ("Left Wrist", "Right Wrist"), ("LEFT_WRIST", "RIGHT_WRIST"),
        ("wrist_left", "wrist_right"), ("leftWrist", "rightWrist"), ("l_wrist", "r_wrist"), ("L_Wrist", "R_Wrist"),
        ("wrist-l", "wrist-r"), ("wrist.L", "wrist.R"), ("nose", "nose"), ("lower_lip", "lower_lip"), ("ear", "ear"),
    ],
)  # fmt: skip
def test_left_and_right_are_exchanged_in_a_name(name: str, other: str) -> None:
    assert mirror_name(name) == other
    assert mirror_name(other) == name


@pytest.mark.parametrize("left_right", [("left_", "right_"), ("l_", "r_"), ("Left ", "Right ")])
def test_mirror_images_are_taken_from_the_names_and_the_log_says_so(
    left_right: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    left, right = left_right
    with caplog.at_level(logging.INFO, "limber"):
        schema = named("nose", f"{left}eye", f"{right}eye", f"{right}ear", f"{left}ear")
    assert schema.swap == (0, 2, 1, 4, 3)
    assert f"horse.yaml: mirror images taken from the names: {left}eye-{right}eye, {right}ear-{left}ear" in caplog.text


def test_a_left_without_a_right_is_its_own_mirror_image() -> None:
    assert named("left_eye", "tail").swap == (0, 1)


# ---------------------------------------------------------------------------------------------- sigmas


def test_the_names_of_coco_without_sigmas_get_the_sigmas_of_coco(caplog: pytest.LogCaptureFixture) -> None:
    coco = KeypointSchema.read("coco_kpts.yaml")
    with caplog.at_level(logging.INFO, "limber"):
        assert named(*coco.names).sigmas == coco.sigmas
    assert "the names are those of coco_kpts.yaml, so are the sigmas" in caplog.text


def test_other_names_without_sigmas_get_the_default_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "limber"):
        assert named("a", "b").sigmas == (0.05, 0.05)
    assert "horse.yaml: no sigmas given; 0.05 for each of the 2 keypoints" in caplog.text


def test_an_empty_sigmas_key_leaves_those_of_the_keypoints() -> None:
    assert read({**HORSE, "sigmas": None}).sigmas == READ.sigmas


# ---------------------------------------------------------------------------------------------- errors


def keypoint(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


WRONG = {
    "not an involution": (
        {"keypoints": [keypoint("a", swap="b"), keypoint("b", swap="c"), keypoint("c", swap="a")]},
        "keypoint 'a' mirrors to 'b', but that one mirrors to 'c'; a mirror image must lead back",
    ),
    "mirror out of range": (
        {"kpt_shape": [2, 3], "flip_idx": [0, 2]},
        "keypoint 'keypoint_1': mirror image 2 found; expected 0 to 1",
    ),
    "negative mirror": ({"kpt_shape": [2, 3], "flip_idx": [0, -1]}, "mirror image -1 found; expected 0 to 1"),
    "flip_idx of another length": (
        {"kpt_shape": [3, 3], "flip_idx": [0, 1]},
        "kpt_shape says 3 keypoints but flip_idx has 2",
    ),
    "flip_idx is no list": ({"kpt_shape": [3, 3], "flip_idx": 3}, "flip_idx: found 3; expected a list"),
    "kpt_names of another length": (
        {"kpt_shape": [3, 3], "kpt_names": ["a", "b"]},
        "kpt_shape says 3 keypoints but kpt_names has 2",
    ),
    "kpt_names is no list": ({"kpt_shape": [3, 3], "kpt_names": 3}, "kpt_names: found 3; expected a list"),
    "kpt_names is a word": ({"kpt_shape": [3, 3], "kpt_names": "abc"}, "kpt_names: found 'abc'; expected a list"),
    "kpt_names of nothing": ({"kpt_shape": [1, 3], "kpt_names": {0: None}}, "kpt_names: found None; expected a list"),
    "kpt_shape is a number": ({"kpt_shape": 17}, "kpt_shape: found 17; expected [number of keypoints, 2 or 3]"),
    "kpt_shape of none": ({"kpt_shape": [0, 3]}, "kpt_shape: found [0, 3]; expected"),
    "17 keypoints but 16 sigmas": (
        {"keypoints": [f"point {i}" for i in range(17)], "sigmas": [0.1] * 16},
        "17 keypoints but 16 sigmas; give every keypoint a 'sigma'",
    ),
    "16 sigmas in ultralytics' key": (
        {"kpt_shape": [17, 3], "kpt_oks_sigmas": [0.1] * 16},
        "17 keypoints but 16 sigmas",
    ),
    "one keypoint without its sigma": (
        {"keypoints": [keypoint("a", sigma=0.1), keypoint("b")]},
        "keypoint 'b' has no 'sigma' while others have",
    ),
    "sigmas are a word": ({"keypoints": ["a"], "sigmas": "big"}, "sigmas: found 'big'; expected numbers"),
    "sigmas are words": ({"keypoints": ["a"], "sigmas": ["big"]}, "sigmas: found ['big']; expected numbers"),
    "sigmas by name": ({"keypoints": ["a"], "sigmas": {"a": 0.1}}, "sigmas: found {'a': 0.1}; expected numbers"),
    "a sigma of zero": (
        {"keypoints": ["a"], "sigmas": [0]},
        "keypoint 'a': sigma 0.0 found; expected a positive number",
    ),
    "a bone to nobody": (
        {"keypoints": ["a", "b"], "skeleton": [["a", "knee"]]},
        "skeleton: keypoint 'knee' is not one of a, b",
    ),
    "a bone to zero in a coco category": (
        {"keypoints": ["a", "b"], "skeleton": [[0, 1]]},
        "skeleton: bone [0, 1] found; indices go from 1 to 2",
    ),
    "a bone with three ends": (
        {"keypoints": ["a"], "skeleton": [[1, 1, 1]]},
        "skeleton: found [1, 1, 1]; expected pairs",
    ),
    "a skeleton that is a number": ({"keypoints": ["a"], "skeleton": 5}, "skeleton: found 5; expected a list"),
    "a double name": ({"keypoints": ["a", "b", "a"]}, "keypoint 'a' is named twice"),
    "an unknown key of a keypoint": ({"keypoints": [keypoint("a", colour="red")]}, "keypoints[0]: found {"),
    "a keypoint without a name": (
        {"keypoints": [{"sigma": 0.1}]},
        "keypoints[0]: found {'sigma': 0.1}; expected {name:",
    ),
    "a group of nobody": (
        {"keypoints": ["a"], "groups": {"face": ["nose"]}},
        "groups.face: keypoint 'nose' is not one of a",
    ),
    "a group that is empty": (
        {"keypoints": ["a"], "groups": {"face": None}},
        "groups.face: found None; expected a list",
    ),
    "groups that are a list": ({"keypoints": ["a"], "groups": ["a"]}, "groups: found ['a']; expected"),
    "no keypoints at all": (
        {"path": "horses", "classes": ["horse"]},
        "no 'keypoints' list, no 'kpt_shape' and no category",
    ),
    "keypoints are a number": ({"keypoints": 17}, "no 'keypoints' list"),
    "no category with keypoints": (
        {"categories": [{"id": 1, "name": "tree"}]},
        "none of the categories lists keypoints",
    ),
    "categories are words": ({"categories": ["person"]}, "none of the categories lists keypoints"),
    "a list": ([1, 2], "no 'keypoints' list"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence_with_the_file_what_was_found_and_what_was_expected(case: str) -> None:
    values, sentence = WRONG[case]
    with pytest.raises(ValueError) as error:
        read(values)
    assert str(error.value).startswith("horse.yaml: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b'{"categories": [', b"\xff\xfe", b"[1, 2]", b"", b'"person"', b"null"])
def test_a_json_file_that_is_none_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json: ") as error:
        KeypointSchema.read(path)
    assert "\n" not in str(error.value)


def test_a_schema_cannot_be_built_with_the_wrong_number_of_anything() -> None:
    with pytest.raises(ValueError, match="2 keypoints but 1 swap; give one each"):
        KeypointSchema(("a", "b"), (0,), (0.1, 0.1))
    with pytest.raises(ValueError, match="2 keypoints but 3 sigmas; give one each"):
        KeypointSchema(("a", "b"), (0, 1), (0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="groups: keypoint 2 found; expected 0 to 1"):
        KeypointSchema(("a", "b"), (0, 1), (0.1, 0.1), groups={"face": (2,)})


# ---------------------------------------------------------------------------------------------- round trips


@st.composite
def schemas(draw: st.DrawFn) -> KeypointSchema:
    words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
    names = draw(st.lists(words, max_size=9, unique=True))
    count = len(names)
    order, swap = draw(st.permutations(range(count))), list(range(count))
    for first, second in zip(order[: draw(st.integers(0, count // 2))], reversed(order), strict=False):
        swap[first], swap[second] = second, first
    index, most = st.integers(0, max(count - 1, 0)), 4 * (count > 0)
    sigma = st.floats(0.001, 1, allow_nan=False)
    return KeypointSchema(
        names=tuple(names),
        swap=tuple(swap),
        sigmas=tuple(draw(st.lists(sigma, min_size=count, max_size=count))),
        skeleton=tuple(draw(st.lists(st.tuples(index, index), max_size=most))),
        groups={key: tuple(draw(st.lists(index, max_size=most))) for key in draw(st.lists(words, max_size=2))},
    )


@given(schemas())
def test_a_schema_survives_the_way_through_plain_values_and_json(schema: KeypointSchema) -> None:
    assert read(schema.to_values()) == schema
    assert read(json.loads(json.dumps(schema.to_values()))) == schema


def test_a_schema_survives_the_way_through_a_yaml_file(tmp_path: Path) -> None:
    schema = KeypointSchema(("on", "1", "naïve: no"), (1, 0, 2), (0.1, 1e-5, 0.3), ((0, 1),), {"yes": (2,)})
    write_yaml(tmp_path / "data.yaml", schema.to_values())
    assert KeypointSchema.read(tmp_path / "data.yaml") == schema
