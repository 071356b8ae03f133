"""Ground truth from COCO's values, and what is said about values that are not usable."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import STANDING, THREE, person, split
from utils.core.schema import KeypointSchema
from utils.evaluation.ground_truth import GroundTruth


def test_a_file_a_packed_file_and_the_values_are_the_same(tmp_path: Path) -> None:
    values = split([person(1), person(2)], images=3)
    plain, packed = tmp_path / "val.json", tmp_path / "val.json.gz"
    plain.write_text(json.dumps(values))
    packed.write_bytes(gzip.compress(json.dumps(values).encode()))
    for source in (values, plain, str(packed)):
        ground_truth = GroundTruth.read(source, THREE)
        assert len(ground_truth) == 2 and len(ground_truth.image_ids) == 3
        np.testing.assert_array_equal(ground_truth.keypoints, [STANDING, STANDING])
    assert GroundTruth.read(ground_truth) is ground_truth


def test_without_a_schema_the_file_s_own_keypoints_are_taken(shared: Path) -> None:
    source = shared / "data" / "coco_people" / "annotations" / "val.json"
    assert GroundTruth.read(source).schema.sigmas == KeypointSchema.read("coco_kpts.yaml").sigmas


def test_areas_are_the_masks_and_in_crowdpose_a_share_of_the_box() -> None:
    people = [person(1, area=1234.0), {key: value for key, value in person(1).items() if key != "area"}]
    assert GroundTruth.read(split(people), THREE).areas == pytest.approx([1234, 5300])
    assert GroundTruth.read(split(people, crowdIndex=[0.5]), THREE).areas == pytest.approx([5300, 5300])


def test_the_file_s_number_of_keypoints_decides_who_counts() -> None:
    people = [person(1, num_keypoints=0), person(1), person(1, iscrowd=1)]
    assert GroundTruth.read(split(people), THREE).counts.tolist() == [False, True, False]


def test_annotations_of_categories_without_keypoints_are_left_out() -> None:
    values = split([person(1), person(1, category_id=7)])
    values["categories"].append({"id": 7, "name": "bag"})
    ground_truth = GroundTruth.read(values, THREE)
    assert ground_truth.category_ids == (1,) and len(ground_truth) == 1


def test_an_image_that_is_listed_twice_is_one_image() -> None:
    values = split([person(1)])
    values["images"] *= 2
    assert GroundTruth.read(values, THREE).image_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v.pop("images"), "ground truth: no list 'images' found; expected COCO's"),
        (lambda v: v.update(categories=[]), "ground truth: no categories found; expected one with keypoints"),
        (lambda v: v["images"][0].update(id="1"), "image id '1' found; expected whole numbers"),
        (
            lambda v: v["annotations"][0].update(image_id=9),
            "annotation 1: image_id 9 found; expected one of the images",
        ),
        (lambda v: v["annotations"][0].pop("bbox"), "annotation 1: bbox: None found; expected 4 numbers"),
        (lambda v: v["annotations"][0].update(keypoints=[1, 2]), "keypoints: 2 numbers found; expected 9 numbers"),
        (lambda v: v["annotations"][0].update(bbox=[0, 0, float("nan"), 1]), "bbox: not a finite number found"),
        (lambda v: v["annotations"][0].update(bbox=[0, 0, "wide", 1]), "bbox: .*expected numbers"),
        (lambda v: v["images"][0].update(crowdIndex=0.1), "image 2 has no 'crowdIndex' while others have"),
    ],
)
def test_what_is_not_usable_is_told_in_one_sentence(change: Any, sentence: str) -> None:
    values = split([person(1)], images=2)
    change(values)
    with pytest.raises(ValueError, match=sentence) as error:
        GroundTruth.read(values, THREE)
    assert "\n" not in str(error.value)


def test_a_file_that_is_cut_off_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text('{"images": [')
    with pytest.raises(ValueError, match=r"half\.json: not valid JSON.*is the file complete\?"):
        GroundTruth.read(path)
    with pytest.raises(ValueError, match=r"none\.json: cannot be read: No such file"):
        GroundTruth.read(tmp_path / "none.json")
