"""DataSpec: from a split's name to records, detections and the ground truth of an evaluation."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.data.makers import annotation, coco, coco_folder, txt_folder
from utils.data.annotations import DataSpec

ROW = "0 0.5 0.5 0.2 0.4 0.5 0.25 2 0 0 0 0.6 0.5 1"


def test_an_image_that_is_not_there_is_named_until_it_comes(tmp_path: Path):
    rows = [{"id": i, "file_name": f"{name}.png", "height": 100, "width": 200} for i, name in ((1, "a"), (2, "b"))]
    coco_folder(tmp_path, [annotation(), annotation(2, 2)], images=rows)
    records = DataSpec.read(tmp_path).records("train")
    assert records.ids.tolist() == [1]
    assert [(problem.kind, Path(problem.where).name) for problem in records.problems] == [("missing image", "b.png")]
    (tmp_path / "train/b.png").write_bytes((tmp_path / "train/a.png").read_bytes())
    records = DataSpec.read(tmp_path).records("train")
    assert records.ids.tolist() == [1, 2]
    assert not records.problems


def test_file_names_may_start_a_folder_above_the_images(tmp_path: Path):
    rows = [{"id": 1, "file_name": "train/a.png", "height": 100, "width": 200}]
    coco_folder(tmp_path, [annotation()], images=rows)
    records = DataSpec.read(tmp_path).records("train")
    assert Path(records.path(0)) == tmp_path / "train/a.png"


def test_what_was_read_and_what_was_wrong_is_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    txt_folder(tmp_path, ROW, "0 1 2", "0 1 3")
    data = DataSpec.read(tmp_path)
    logging.getLogger("limber").propagate = True
    with caplog.at_level(logging.INFO, logger="limber"):
        data.records("train")
    assert "train: 1 images (0 without people), 1 persons (0 crowd regions, 0 without keypoints)" in caplog.text
    assert "2 problems (2 x wrong columns); the first is" in caplog.text
    assert "a.txt:2: 3 columns; expected 14 or 11 for 3 keypoints" in caplog.text


def test_a_split_without_people_is_refused_with_the_first_reason(tmp_path: Path):
    txt_folder(tmp_path, "0 1 2")
    with pytest.raises(ValueError, match=r"1 usable images, 0 persons; .*the first problem: .*a\.txt:1: 3 columns"):
        DataSpec.read(tmp_path).records("train")


def test_detected_boxes_replace_the_persons_best_first(tmp_path: Path):
    path = coco_folder(tmp_path)
    rows = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.25},
        {"image_id": 1, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.75},
        {"image_id": 77, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.9},
        {"image_id": 1, "category_id": 3, "bbox": [5, 6, 7, 8], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [5, 6, 0, 8], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [5, 6, 7, 8], "score": "high"},
        {"image_id": [], "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.5},
        5,
    ]
    (path.parent / "boxes.txt").write_text(json.dumps(rows))
    records = DataSpec.read(tmp_path).detected("train", path.parent / "boxes.txt")
    persons = records.persons(0)
    assert persons.boxes.tolist() == [[5, 6, 12, 14], [1, 2, 4, 6]]
    assert persons.scores.tolist() == [0.75, 0.25]
    assert not persons.visibility.any()
    found = [problem.where.rpartition("row ")[2] + " " + problem.found for problem in records.problems]
    assert found == ["4 bbox [5, 6, 0, 8]", '5 score "high"', "6 image_id []", "7 found 5"]


def test_the_published_detections_excerpt_is_read(shared: Path):
    data = DataSpec.read(shared / "data/coco_four")
    records = data.detected("test", shared / "data/coco_four/test_coco_det_AP_H_56.json")
    assert records.person_count == 118
    assert not records.problems
    assert all((np.diff(records.persons(i).scores) <= 0).all() for i in range(len(records)))


def test_detected_boxes_are_those_of_the_file_in_corners(shared: Path):
    path = shared / "data/coco_four/test_coco_det_AP_H_56.json"
    records = DataSpec.read(shared / "data/coco_four").detected("test", path)
    for row in json.loads(path.read_text())[::9]:
        persons = records.persons(records.image_ids.tolist().index(row["image_id"]))
        n = int(np.abs(persons.scores - row["score"]).argmin())
        left, top, width, height = row["bbox"]
        assert persons.boxes[n] == pytest.approx([left, top, left + width, top + height], abs=1e-3)


def test_a_split_without_detections_says_what_is_needed(tmp_path: Path):
    coco_folder(tmp_path)
    with pytest.raises(ValueError, match=r"train: no detections given; expected a COCO results JSON"):
        DataSpec.read(tmp_path).detected("train")


def test_the_ground_truth_of_a_json_is_the_json(tmp_path: Path):
    person = annotation()
    del person["area"], person["iscrowd"]
    coco_folder(tmp_path, [person])
    truth = DataSpec.read(tmp_path).ground_truth("train")
    assert truth["annotations"] == [person | {"iscrowd": 0, "area": pytest.approx(0.53 * 40 * 60)}]


def test_the_ground_truth_of_labels_is_made_from_them(tmp_path: Path):
    txt_folder(tmp_path, ROW)
    data = DataSpec.read(tmp_path)
    truth = data.ground_truth("train")
    assert truth["images"] == [{"id": 1, "file_name": "images/train/a.png", "height": 100, "width": 200}]
    (person,) = truth["annotations"]
    assert person["bbox"] == [80, 30, 40, 40]
    assert person["keypoints"] == [100, 25, 2, 0, 0, 0, 120, 50, 1]
    assert person["num_keypoints"] == 2
    assert truth["categories"][0]["keypoints"] == list(data.schema.names)
    assert data.category_ids("train") == (1,)


def test_pycocotools_takes_the_ground_truth_of_labels(tmp_path: Path):
    from pycocotools.coco import COCO

    txt_folder(tmp_path, ROW)
    reference = COCO()
    reference.dataset = DataSpec.read(tmp_path).ground_truth("train")
    reference.createIndex()
    assert reference.getCatIds() == [1]
    assert len(reference.getAnnIds(imgIds=[1])) == 1


def test_category_ids_are_those_of_the_file(tmp_path: Path):
    coco_folder(tmp_path, [annotation(category_id=9)], categories=[coco([])["categories"][0] | {"id": 9}])
    assert DataSpec.read(tmp_path).category_ids("train") == (9,)


def test_a_data_set_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "away.yaml"
    path.write_text(
        "path: nowhere\ntrain: {images: train, annotations: train.json}\nfetch: python get_it.py\n"
        "classes: [person]\nkeypoints: [nose]\n"
    )
    with pytest.raises(ValueError, match=r"train\.json: not there, .* 'away' .*; get it with: python get_it\.py"):
        DataSpec.read(path).records("train")
    with pytest.raises(ValueError, match=r"train\.json: not there"):
        DataSpec.read(path).ground_truth("train")
