"""YAML in, dataclasses out: files found by bare name, and a sentence with the line for every mistake."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.core.config import ROOT, as_type, did_you_mean, find, into, read_yaml, to_yaml, write_yaml

# ---------------------------------------------------------------------------------------------- finding files


@pytest.mark.parametrize("name", ["yolov5s6_kpts", "yolov5s6_kpts.yaml", "models/configs/yolov5s6_kpts.yaml"])
def test_a_file_of_the_repository_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(name) == ROOT / "models" / "configs" / "yolov5s6_kpts.yaml"


def test_a_file_here_goes_before_one_of_the_same_name_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "coco_kpts.yaml"
    own.write_text("a: 1")
    assert find("coco_kpts.yaml").resolve() == own
    assert find(own) == own
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find("~/coco_kpts.yaml") == own


def test_a_folder_here_does_not_hide_a_file_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set often lies in a folder that is called like its YAML."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco_kpts").mkdir()
    assert find("coco_kpts") == ROOT / "data" / "coco_kpts.yaml"
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="other: is a folder; expected a file"):
        find("other")


def test_a_mistyped_name_is_told_with_the_places_and_the_nearest_name() -> None:
    with pytest.raises(ValueError) as error:
        find("yolov5s6_kpt.yaml")
    assert str(error.value) == (
        "yolov5s6_kpt.yaml: no such file here or in models/configs, data, data/hyps, weights; "
        "did you mean 'yolov5s6_kpts.yaml'?"
    )


@pytest.mark.parametrize("name", ["/nowhere/coco_kpts.yaml", "x" * 300, "a\0b", "~nobody-of-this-name/a.yaml"])
def test_a_path_that_leads_nowhere_is_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="no such file here or in"):
        find(name)


def test_the_nearest_word_is_suggested_and_nothing_when_none_is_near() -> None:
    assert did_you_mean("warmup_epoch", ["lr", "warmup_epochs"]) == "; did you mean 'warmup_epochs'?"
    assert did_you_mean("zebra", ["lr", "warmup_epochs"]) == ""
    assert did_you_mean("x", []) == ""
    assert did_you_mean(3, ["lr"]) == ""


# ---------------------------------------------------------------------------------------------- reading YAML


def read(tmp_path: Path, text: str | bytes) -> dict[str, Any]:
    path = tmp_path / "some.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(path)


def test_anchors_and_merges_are_read_as_yaml_has_them(tmp_path: Path) -> None:
    values = read(tmp_path, "base: &base {lr: 0.1, epochs: 3}\nlong:\n  <<: *base\n  epochs: 300\n")
    assert values["long"] == {"lr": 0.1, "epochs": 300}


def test_a_byte_order_mark_and_foreign_letters_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffpath: bücher/日本\n") == {"path": "bücher/日本"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr: 1\nepochs: 3\nlr: 2\n", "some.yaml:3: not valid YAML: the key 'lr' is written twice"),
        ("a:\n  b: 1\n  b: 2\n", "some.yaml:3: not valid YAML: the key 'b' is written twice"),
        ("- {a: 1, a: 2}", "some.yaml:1: not valid YAML: the key 'a' is written twice"),
        ("a: 1\nb: [1, 2\nc: 3\n", "some.yaml:3: not valid YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", r"some.yaml:2: not valid YAML: found character '\\t'"),
        ("a: 1\n b: 2\n", "some.yaml:2: not valid YAML: mapping values are not allowed here"),
        ("a: b: c", "some.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: 'open", "some.yaml:1: not valid YAML: found unexpected end of stream"),
        ("a: *nobody", "some.yaml:1: not valid YAML: found undefined alias 'nobody'"),
        ("a: !!python/object/apply:os.system [ls]", "some.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 2", "some.yaml:2: not valid YAML: but found another document"),
        ("? [1]\n: 2", "some.yaml:1: not valid YAML: found unhashable key"),
        ("a: 1\nb: 2024-13-45", "some.yaml:2: not valid YAML: '2024-13-45' is no timestamp"),
        ("a: 0b_", "some.yaml:1: not valid YAML: '0b_' is no int"),
        ("a: !!bool perhaps", "some.yaml:1: not valid YAML: 'perhaps' is no bool"),
        ("a: !!int ''", "some.yaml:1: not valid YAML: '' is no int"),
        ("a: !!timestamp x", "some.yaml:1: not valid YAML: 'x' is no timestamp"),
        ("a: " + "1" * 5000, "some.yaml:1: not valid YAML: '1111"),
        ("a: \0", "some.yaml: not valid YAML: unacceptable character"),
        ("[" * 1000, "some.yaml: not valid YAML: maximum recursion depth"),
        (b"\x89PNG\r\n\x1a\n", "some.yaml: not a text file"),
        ("", "some.yaml: expected 'key: value' lines, found nothing"),
        ("- 1\n- 2", "some.yaml: expected 'key: value' lines, found a list"),
        ("just words", "some.yaml: expected 'key: value' lines, found a word"),
        ("3", "some.yaml: expected 'key: value' lines, found 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_with_its_line(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(words, plain, max_size=4))
def test_plain_values_survive_the_way_through_yaml(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    write_yaml(path, values)
    assert read_yaml(path) == values


def test_yaml_keeps_the_order_and_writes_tuples_as_lists() -> None:
    assert to_yaml({"b": (1, 2), "a": "ü"}) == "b: [1, 2]\na: ü\n"


# ---------------------------------------------------------------------------------------------- dataclasses


@dataclass(frozen=True)
class Warmup:
    epochs: float
    bias_lr: float = 0.1


@dataclass(frozen=True)
class Settings:
    lr: float
    epochs: int = 300
    name: str = "exp"
    ema: bool = True
    optimizer: Literal["sgd", "adam"] = "sgd"
    size: int | tuple[int, int] = 640
    limit: float | None = None
    flip: Literal["left", "right"] | None = None
    scales: tuple[float, ...] = (1.0,)
    warmup: Warmup = field(default_factory=lambda: Warmup(3))
    weights: Mapping[str, float] = field(default_factory=dict)
    anything: Any = None


def test_values_are_read_into_a_dataclass() -> None:
    settings = into(
        Settings,
        {
            "lr": 1, "epochs": 5, "name": "a", "ema": False, "optimizer": "adam", "size": [384, 640], "limit": None,
            "flip": "left", "scales": [1, "5e-1"], "warmup": {"epochs": "1e0"}, "weights": {"box": "1e-3"},
            "anything": [1, {"a": 2}],
        },
        "hyp.yaml",
    )  # fmt: skip
    assert settings == Settings(
        1.0, 5, "a", False, "adam", (384, 640), None, "left", (1.0, 0.5), Warmup(1.0), {"box": 0.001}, [1, {"a": 2}]
    )
    assert isinstance(settings.lr, float)
    assert into(Settings, {"lr": "1e-3"}, "hyp.yaml") == Settings(0.001)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lr": 1, "epoch": 3}, r"hyp.yaml: no key 'epoch' \(lr, epochs, .*\); did you mean 'epochs'\?"),
        ({"lr": 1, 7: 3}, r"hyp.yaml: no key '7' \(lr"),
        ({"epochs": 3}, "hyp.yaml: 'lr' is missing; expected a number"),
        ({"lr": "fast"}, "hyp.yaml: lr: found 'fast'; expected a number"),
        ({"lr": True}, "hyp.yaml: lr: found True; expected a number"),
        ({"lr": None}, "hyp.yaml: lr: found None; expected a number"),
        ({"lr": [1]}, r"hyp.yaml: lr: found \[1\]; expected a number"),
        ({"lr": 1, "epochs": 1.5}, "hyp.yaml: epochs: found 1.5; expected a whole number"),
        ({"lr": 1, "epochs": True}, "hyp.yaml: epochs: found True; expected a whole number"),
        ({"lr": 1, "epochs": "3"}, "hyp.yaml: epochs: found '3'; expected a whole number"),
        ({"lr": 1, "name": 3}, "hyp.yaml: name: found 3; expected a word"),
        ({"lr": 1, "ema": "yes"}, "hyp.yaml: ema: found 'yes'; expected true or false"),
        ({"lr": 1, "ema": 1}, "hyp.yaml: ema: found 1; expected true or false"),
        ({"lr": 1, "optimizer": "adm"}, "hyp.yaml: optimizer: found 'adm'; expected sgd or adam; did you mean 'adam'"),
        ({"lr": 1, "optimizer": ["sgd"]}, r"hyp.yaml: optimizer: found \['sgd'\]; expected sgd or adam"),
        ({"lr": 1, "size": "big"}, "hyp.yaml: size: found 'big'; expected a whole number or a list"),
        ({"lr": 1, "size": [1, 2, 3]}, r"hyp.yaml: size: found \[1, 2, 3\]; expected a whole number or a list"),
        ({"lr": 1, "limit": "none"}, "hyp.yaml: limit: found 'none'; expected a number or nothing"),
        ({"lr": 1, "flip": "up"}, "hyp.yaml: flip: found 'up'; expected left or right or nothing"),
        ({"lr": 1, "scales": 1}, "hyp.yaml: scales: found 1; expected a list"),
        ({"lr": 1, "scales": "1 2"}, "hyp.yaml: scales: found '1 2'; expected a list"),
        ({"lr": 1, "scales": [1, "big"]}, r"hyp.yaml: scales\[1\]: found 'big'; expected a number"),
        ({"lr": 1, "warmup": {"bias_lr": 1}}, "hyp.yaml: warmup: 'epochs' is missing; expected a number"),
        ({"lr": 1, "warmup": {"epochs": 1, "x": 1}}, r"hyp.yaml: warmup: no key 'x' \(epochs, bias_lr\)"),
        ({"lr": 1, "warmup": 3}, "hyp.yaml: warmup: expected 'key: value' lines, found 3"),
        ({"lr": 1, "weights": [1]}, r"hyp.yaml: weights: found \[1\]; expected 'key: value' lines"),
        ({"lr": 1, "weights": {"box": "big"}}, "hyp.yaml: weights.box: found 'big'; expected a number"),
        (["lr"], "hyp.yaml: expected 'key: value' lines, found a list"),
        (None, "hyp.yaml: expected 'key: value' lines, found nothing"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_key(values: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        into(Settings, values, "hyp.yaml")


def test_a_value_of_the_type_itself_is_taken_as_it_is() -> None:
    assert as_type(Warmup(2), Warmup, "here") == Warmup(2)
    assert as_type((1, 2), tuple[int, int], "here") == (1, 2)
    assert as_type([], tuple[int, ...], "here") == ()


def test_a_number_too_large_for_a_fraction_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"hyp\.yaml: lr: found 1000.*; expected a number"):
        into(Settings, {"lr": 10**400}, "hyp.yaml")


def test_a_file_may_be_another_name_for_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("width: 3\n")
    (tmp_path / "max.yaml").write_text("# Its other name.\nsame_as: large.yaml\n")
    assert read_yaml(tmp_path / "max.yaml") == {"width": 3}
