"""COCO JSON to txt labels and back: nothing is lost, and what others could not read is not written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.makers import annotation, coco_folder, label, txt_folder
from utils.core.config import ROOT
from utils.data import convert
from utils.data.annotations import DataSpec

ROW = "0 0.5 0.5 0.2 0.4 0.5 0.25 2 0 0 0 0.6 0.5 1"


def run(monkeypatch: pytest.MonkeyPatch, *flags: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["convert", *map(str, flags)])
    convert.main()


def annotations(path: Path) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(path.read_text())["annotations"]}


def largest_difference(first: dict[int, dict[str, Any]], second: dict[int, dict[str, Any]]) -> float:
    """In pixels, over all boxes and keypoints; everything else must be equal."""
    assert first.keys() == second.keys()
    largest = 0.0
    for number, row in first.items():
        other = second[number]
        for key in ("image_id", "iscrowd", "num_keypoints", "category_id"):
            assert row[key] == other[key], (number, key)
        assert other["area"] == pytest.approx(row["area"], rel=1e-6, abs=1e-4)
        assert row["keypoints"][2::3] == other["keypoints"][2::3]
        for key in ("bbox", "keypoints"):
            largest = max(largest, *(abs(a - b) for a, b in zip(row[key], other[key], strict=True)))
    return largest


@pytest.mark.parametrize("flags", [("--images", "link"), ("--images", "copy")])
def test_photographs_go_to_txt_and_back_without_loss(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, str]
):
    run(monkeypatch, shared / "data/coco_people", "--to", "txt", "--out", tmp_path / "txt", *flags)
    run(monkeypatch, tmp_path / "txt", "--to", "coco", "--out", tmp_path / "coco", *flags)
    for split in ("train", "val"):
        first = annotations(shared / f"data/coco_people/annotations/{split}.json")
        second = annotations(tmp_path / f"coco/annotations/{split}.json")
        assert largest_difference(first, second) < 1e-4
        assert (tmp_path / f"coco/images/{split}").is_dir()
    assert DataSpec.read(tmp_path / "coco").records("val").person_count == 107


def test_the_larger_set_without_pictures_goes_there_and_back(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """538 images, 2,213 persons; txt labels need sizes, so pictures of the right size stand in on the way back."""
    source = shared / "data/coco_people/coco_val_subset_annotations.json.gz"
    run(monkeypatch, source, "--to", "txt", "--out", tmp_path / "txt", "--images", "none")
    assert len((tmp_path / "txt/val.txt").read_text().split()) == 538
    data = DataSpec.read(source)
    truth = data.ground_truth("val")
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in truth["images"]}
    for name, size in sizes.items():
        path = tmp_path / "txt/images/val" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"BM" + bytes(16) + b"".join(side.to_bytes(4, "little") for side in size) + bytes(40))
    run(monkeypatch, tmp_path / "txt", "--to", "coco", "--out", tmp_path / "coco", "--images", "none")
    first = {row["id"]: row for row in truth["annotations"]}
    assert largest_difference(first, annotations(tmp_path / "coco/annotations/val.json")) < 1e-4


def test_txt_to_json_to_txt_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    txt_folder(tmp_path / "one", ROW, ROW.replace("0.6", "0.7"))
    run(monkeypatch, tmp_path / "one", "--to", "coco", "--out", tmp_path / "two")
    run(monkeypatch, tmp_path / "two", "--to", "txt", "--out", tmp_path / "three")
    first = (tmp_path / "one/labels/train/a.txt").read_text().split()
    second = (tmp_path / "three/labels/train/a.txt").read_text().split()
    assert [float(word) for word in second] == pytest.approx([float(word) for word in first], abs=1e-6)
    assert DataSpec.read(tmp_path / "three").schema.names == ("left_hand", "right_hand", "head")


def test_crowds_and_people_outside_are_kept_beside_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = coco_folder(
        tmp_path / "one",
        [
            annotation(1, iscrowd=1),
            annotation(2),
            annotation(3, keypoints=[-5, 30, 2, 10, 10, 2, 30, 25, 1], num_keypoints=3),
            annotation(4, bbox=[150, 20, 140, 60]),
        ],
    )
    run(monkeypatch, tmp_path / "one", "--to", "txt", "--out", tmp_path / "two")
    rows = (tmp_path / "two/labels/train/a.txt").read_text().splitlines()
    assert len(rows) == 3
    assert rows[1].split()[5:8] == ["0", "0", "0"]
    assert all(0 <= float(word) <= 1 for row in rows for word in row.split()[1:5])
    run(monkeypatch, tmp_path / "two", "--to", "coco", "--out", tmp_path / "three")
    assert largest_difference(annotations(path), annotations(tmp_path / "three/annotations/train.json")) < 1e-4


def test_edited_labels_win_over_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    coco_folder(tmp_path / "one", [annotation(5), annotation(6, iscrowd=1)])
    run(monkeypatch, tmp_path / "one", "--to", "txt", "--out", tmp_path / "two")
    label(tmp_path / "two/labels/train/a.txt", ROW)
    run(monkeypatch, tmp_path / "two", "--to", "coco", "--out", tmp_path / "three")
    (row,) = annotations(tmp_path / "three/annotations/train.json").values()
    assert row["bbox"] == [80, 30, 40, 40]


def test_boxes_come_from_keypoints_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    person = annotation(keypoints=[20, 40, 2, 60, 40, 2, 30, 60, 1])
    del person["bbox"]
    coco_folder(tmp_path / "one", [person])
    flags = ("--to", "txt", "--boxes-from-keypoints", "--out", tmp_path / "two")
    run(monkeypatch, tmp_path / "one", *flags)
    words = (tmp_path / "two/labels/train/a.txt").read_text().split()
    # 20..60 by 40..60, and 15 % of 40 around it: 14..66 by 34..66
    assert [float(word) for word in words[1:5]] == pytest.approx([40 / 200, 50 / 100, 52 / 200, 32 / 100])


def test_subfolders_stay_and_images_that_would_share_a_label_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    txt_folder(tmp_path / "one", ROW)
    data = (tmp_path / "one/images/train/a.png").read_bytes()
    (tmp_path / "one/images/train/deep").mkdir()
    (tmp_path / "one/images/train/deep/a.png").write_bytes(data)
    run(monkeypatch, tmp_path / "one", "--to", "txt", "--out", tmp_path / "two")
    assert (tmp_path / "two/images/train/deep/a.png").exists()
    (tmp_path / "one/images/train/a.bmp").write_bytes(data)
    with pytest.raises(ValueError, match=r"'a\.bmp' and 'a\.png' would share the label a\.txt"):
        run(monkeypatch, tmp_path / "one", "--to", "txt", "--out", tmp_path / "three")


def test_converting_onto_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    txt_folder(tmp_path, ROW)
    with pytest.raises(ValueError, match=r"--out: .* is the data set's own folder"):
        run(monkeypatch, tmp_path, "--to", "coco", "--out", tmp_path)


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path):
    command = [sys.executable, "-m", "utils.data.convert", "nowhere.yaml", "--to", "txt", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere.yaml: no such file")
    assert done.stderr.count("\n") == 1
