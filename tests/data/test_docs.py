"""The examples in docs/data.md do what the page says, as they stand."""

import re
from pathlib import Path

import pytest

from tests.data.makers import label, picture
from utils.core.config import ROOT
from utils.data.annotations import DataSpec

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
ROW = "0 0.5 0.5 0.2 0.4  0.50 0.25 2  0 0 0  0.60 0.50 1"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def yamls() -> list[str]:
    return [block for block in blocks("yaml") if "\ntrain:" in "\n" + block and len(block.splitlines()) > 3]


def test_the_page_has_examples():
    assert len(yamls()) == 3
    assert len(blocks("json")) == 2


@pytest.mark.parametrize("text", yamls())
def test_every_data_yaml_on_the_page_is_read(tmp_path: Path, text: str):
    (tmp_path / "data").mkdir()
    yaml = tmp_path / "data/horse.yaml"
    yaml.write_text(text)
    root = tmp_path / "datasets/horse" if "../datasets" in text else tmp_path / "data"
    for split in ("train", "val"):
        picture(root / split / "a.jpg", (480, 640))
        picture(root / "images" / split / "a.jpg", (480, 640))
        label(root / "labels" / split / "a.txt", ROW)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/{split}.json").write_text(blocks("json")[0])
    data = DataSpec.read(yaml)
    assert data.classes == ("horse",)
    assert data.schema.names == ("nose", "left_eye", "right_eye")
    assert data.schema.swap == (0, 2, 1)
    assert data.records("train").person_count == data.records("val").person_count == 1
    (root / "boxes.json").write_text(blocks("json")[1])
    if data.splits["val"].annotations:
        assert data.detected("val", root / "boxes.json").person_count == 2


def test_the_row_on_the_page_is_the_one_of_the_test():
    assert ROW in PAGE
