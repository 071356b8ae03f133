"""Folders that tell by themselves what they are: Roboflow's, CVAT's, Ultralytics', COCO's, CrowdPose's."""

import json
import shutil
from pathlib import Path

import pytest

from tests.data.makers import CATEGORY, annotation, coco, coco_folder, label, picture, txt_folder
from utils.core.schema import KeypointSchema
from utils.data.annotations import DataSpec

ROW = "0 0.5 0.5 0.2 0.4 0.5 0.25 2 0 0 0 0.6 0.5 1"


def test_roboflows_coco_export_is_recognised(tmp_path: Path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "a.png")
        categories = [{"id": 0, "name": "people", "supercategory": "none"}, CATEGORY]
        text = json.dumps(coco([annotation()], categories=categories))
        (tmp_path / split / "_annotations.coco.json").write_text(text)
    data = DataSpec.read(tmp_path)
    assert list(data.splits) == ["train", "val"]
    assert data.classes == ("person",)
    assert data.records("val").person_count == 1
    assert data.category_ids("val") == (1,)


def test_cvats_yolo_pose_export_is_recognised(tmp_path: Path):
    """A data.yaml with the path `.`, a list file whose lines start at the archive, images and labels by split."""
    picture(tmp_path / "images/train/a.png")
    label(tmp_path / "labels/train/a.txt", ROW)
    (tmp_path / "train.txt").write_text("images/train/a.png\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: train.txt\nnames:\n  0: person\nkpt_shape: [3, 3]\n")
    data = DataSpec.read(tmp_path)
    assert data.name == tmp_path.name
    assert data.records("train").person_count == 1


def test_cvats_older_lists_with_a_leading_data_folder_are_read(tmp_path: Path):
    picture(tmp_path / "images/train/a.png")
    label(tmp_path / "labels/train/a.txt", ROW)
    (tmp_path / "train.txt").write_text("data/images/train/a.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames:\n  0: person\nkpt_shape: [3, 3]\n")
    assert DataSpec.read(tmp_path).records("train").person_count == 1


def test_ultralytics_folder_is_recognised(tmp_path: Path):
    txt_folder(tmp_path, ROW)
    data = DataSpec.read(tmp_path)
    assert data.schema.names == ("left_hand", "right_hand", "head")
    assert data.records("train").person_count == 1


def test_cocos_folder_is_recognised_among_its_other_annotation_files(tmp_path: Path):
    coco_folder(tmp_path)
    shutil.move(tmp_path / "train", tmp_path / "train2017")
    folder = tmp_path / "annotations"
    (folder / "train.json").rename(folder / "person_keypoints_train2017.json")
    (folder / "instances_train2017.json").write_text(json.dumps(coco([], categories=[{"id": 1, "name": "person"}])))
    (folder / "captions_train2017.json").write_text(json.dumps({"images": [], "annotations": []}))
    (folder / "detections_val2017.json").write_text("[]")
    data = DataSpec.read(tmp_path)
    assert {name: split.images[0].name for name, split in data.splits.items()} == {"train": "train2017"}
    assert data.records("train").person_count == 1


def test_crowdposes_folder_is_recognised_and_its_broken_skeleton_replaced(tmp_path: Path, shared: Path):
    """CrowdPose's files carry COCO's bones, which point at keypoints that CrowdPose does not have."""
    (tmp_path / "json").mkdir()
    shutil.copytree(shared / "data/crowdpose_sample", tmp_path / "images", ignore=lambda *_: [])
    shutil.move(tmp_path / "images/test_crowdpose.json", tmp_path / "json/crowdpose_test.json")
    data = DataSpec.read(tmp_path)
    assert list(data.splits) == ["test"]
    assert data.schema == KeypointSchema.read("crowdpose.yaml")
    assert data.records("test").person_count == 5


def test_bones_to_keypoints_that_are_not_there_are_left_out(tmp_path: Path):
    path = coco_folder(tmp_path)
    values = json.loads(path.read_text())
    values["categories"][0]["skeleton"] += [[3, 9], [0, 1]]
    path.write_text(json.dumps(values))
    assert DataSpec.read(tmp_path).schema.skeleton == ((2, 0), (2, 1))


def test_one_json_beside_its_images_is_enough(shared: Path):
    data = DataSpec.read(shared / "data/coco_four/test_coco.json")
    assert data.schema == KeypointSchema.read("coco_kpts.yaml")
    assert len(data.records("test")) == 4


@pytest.mark.parametrize(
    ("folder", "counts"),
    [
        ("coco_people", {"train": (28, 147), "val": (36, 107)}),
        ("lsp_sports", {"train": (300, 300), "val": (100, 100)}),
        ("coco_four", {"test": (4, 14)}),
    ],
)
def test_real_folders_are_recognised(shared: Path, folder: str, counts: dict[str, tuple[int, int]]):
    data = DataSpec.read(shared / "data" / folder)
    found = {split: data.records(split) for split in data.splits}
    assert {split: (len(records), records.person_count) for split, records in found.items()} == counts
    assert not any(records.problems for records in found.values())


def test_a_folder_of_something_else_is_refused_with_what_was_looked_for(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ValueError, match=r"no layout of a data set is recognised; expected a data\.yaml"):
        DataSpec.read(tmp_path)
