"""What a run leaves behind, read again by those who will read it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from utils.core import images
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.media.frames import Clip, Frame
from utils.inference.outputs import CocoResults, Crops, Labels, Names, Output, Pictures, Table

SCHEMA = KeypointSchema(("left", "right"), (1, 0), (0.05, 0.05))
TWO = Poses(
    boxes=np.array([[10, 20, 30, 60], [0, 0, 100, 50]], np.float32),
    scores=np.array([0.9, 0.5], np.float32),
    classes=np.array([0, 1]),
    keypoints=np.array([[[15, 25], [25, 55]], [[1, 2], [-3, 60]]], np.float32),
    keypoint_scores=np.array([[1, 0.5], [0.25, 0]], np.float32),
)
NOBODY = TWO[:0]


def frame(
    name: str = "photos/000000000139.jpg", index: int = 0, kind: str = "image", clip: Clip | None = None
) -> Frame:
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[20:50, 10:30] = (200, 100, 50)
    return Frame(pixels, clip or Clip(name, kind, fps=10), index, index / 10)


def tell(output: Output, *told: tuple[Frame, Poses]) -> None:
    for each, poses in told:
        output.add(each, poses, each.image)
    output.close()


def test_labels_are_in_shares_of_the_picture_and_empty_where_nobody_is(tmp_path: Path) -> None:
    tell(Labels(tmp_path / "labels", scores=True), (frame(), TWO), (frame("b.png"), NOBODY))
    rows = [
        list(map(float, row.split())) for row in (tmp_path / "labels" / "000000000139.txt").read_text().splitlines()
    ]
    assert rows[0] == pytest.approx([0, 0.2, 0.8, 0.2, 0.8, 0.15, 0.5, 1, 0.25, 1.1, 0.5, 0.9])
    assert rows[1][:5] == pytest.approx([1, 0.5, 0.5, 1, 1])
    assert (tmp_path / "labels" / "b.txt").read_text() == ""


def test_labels_without_scores_are_labels_to_train_with(tmp_path: Path) -> None:
    tell(Labels(tmp_path), (frame(), TWO))
    assert {len(row.split()) for row in (tmp_path / "000000000139.txt").read_text().splitlines()} == {5 + 2 * 3}


def test_results_are_read_by_the_official_tool(tmp_path: Path) -> None:
    tell(CocoResults(tmp_path / "results.json"), (frame(), TWO), (frame("b.png"), NOBODY), (frame("7.png"), TWO[:1]))
    coco = COCO()
    coco.dataset = {"images": [{"id": 139}, {"id": 7}], "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    coco.createIndex()
    read = coco.loadRes(str(tmp_path / "results.json"))
    assert sorted(row["image_id"] for row in read.anns.values()) == [7, 139, 139]
    assert read.anns[1]["bbox"] == [10, 20, 20, 40] and read.anns[1]["keypoints"] == [15, 25, 1, 25, 55, 0.5]


def test_results_without_anybody_are_an_empty_list(tmp_path: Path) -> None:
    tell(CocoResults(tmp_path / "results.json"), (frame(), NOBODY))
    assert json.loads((tmp_path / "results.json").read_text()) == []


def test_a_table_names_its_columns_and_has_a_row_for_everybody(tmp_path: Path) -> None:
    clip = Clip("a film, with a comma.mp4", "video", fps=10)
    tracked = replace(TWO, ids=np.array([7, 3]))
    told = ((frame(index=i, clip=clip), tracked) for i in range(3))
    tell(Table(tmp_path / "results.csv", SCHEMA, ("person", "dog")), *told)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["person"], row["class"]) for row in rows[:3]] == [
        ("0", "7", "person"), ("0", "3", "dog"), ("1", "7", "person")
    ]  # fmt: skip
    assert rows[1]["right_x"] == "-3.000" and rows[0]["source"] == clip.name and len(rows) == 6


def test_crops_are_cut_from_the_undrawn_picture(tmp_path: Path) -> None:
    each = frame()
    Crops(tmp_path, ("person", "dog")).add(each, TWO, np.full_like(each.image, 255))
    cut = images.read(tmp_path / "person" / "000000000139_0.jpg")
    assert cut.shape == (30, 20, 3) and np.abs(cut.astype(int) - (200, 100, 50)).max() < 12
    assert images.read(tmp_path / "dog" / "000000000139_1.jpg").shape == (50, 100, 3)


def test_pictures_keep_their_kind_and_videos_become_mp4_with_a_gif(tmp_path: Path) -> None:
    film, stream = Clip("x/film.avi", "video", fps=10), Clip("http://h/live", "stream", fps=10)
    told = [(frame("a.png"), TWO), (frame("b.tif"), TWO)]
    told += [(frame(index=i, clip=film), TWO) for i in range(4)] + [
        (frame(index=i, clip=stream), TWO) for i in range(4)
    ]
    tell(Pictures(tmp_path, gif=True), *told)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"a.png", "b.jpg", "film.mp4", "film.gif", "live.mp4", "live.gif"}


def test_clips_of_one_name_from_different_folders_get_numbers() -> None:
    names = Names()
    clips = [Clip(f"{folder}/a.jpg", "image") for folder in "xyz"]
    assert [names.of(clip) for clip in clips] == ["a", "a_2", "a_3"]
    assert Clip("http://u:p@camera:80/live?x=1", "stream").stem == "live" and Clip("..", "image").stem != ""
