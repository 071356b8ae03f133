"""All classes as one: the persons of every class are found and counted together."""

import json
from pathlib import Path

import numpy as np

from utils.core.config import write_yaml
from utils.core.images import write
from utils.data.annotations import DataSpec
from utils.data.one_class import OneClass


def two_classes(folder: Path) -> DataSpec:
    (folder / "val").mkdir()
    write(folder / "val" / "a.jpg", np.full((40, 60, 3), 90, np.uint8))
    points = [10, 10, 2, 20, 20, 2]
    annotations = [
        {"id": i + 1, "image_id": 1, "category_id": category, "bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0,
         "keypoints": points, "num_keypoints": 2}
        for i, category in enumerate((3, 7))
    ]  # fmt: skip
    categories = [{"id": id_, "name": name, "keypoints": ["head", "tail"], "skeleton": []}
                  for id_, name in ((3, "horse"), (7, "cow"))]  # fmt: skip
    image = {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}
    values = {"images": [image], "annotations": annotations, "categories": categories}
    (folder / "val.json").write_text(json.dumps(values))
    keypoints = [{"name": name, "swap": name, "sigma": 0.05} for name in ("head", "tail")]
    split = {"images": "val", "annotations": "val.json"}
    write_yaml(folder / "animals.yaml", {"val": split, "classes": ["horse", "cow"], "keypoints": keypoints})
    return DataSpec.read(folder / "animals.yaml")


def test_records_results_and_ground_truth_agree_on_the_one_class(tmp_path: Path) -> None:
    whole = two_classes(tmp_path)
    assert whole.records("val").classes.tolist() == [0, 1] and whole.category_ids("val") == (3, 7)
    data = OneClass(whole)
    assert data.classes == ("horse",) and data.schema == whole.schema and data.name == "animals"
    assert data.records("val").classes.tolist() == [0, 0]
    assert data.category_ids("val") == (3,)
    truth = data.ground_truth("val")
    assert [one["category_id"] for one in truth["annotations"]] == [3, 3]
    assert [entry["id"] for entry in truth["categories"]] == [3]
