"""What is wrong with people in a data set is found in the numbers and the files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.makers import HAND, WANTED, picture, records_of, txt_folder
from utils.core.schema import KeypointSchema
from utils.data.annotations import DataSpec
from utils.data.checking.findings import HARMLESS, person_problems, placer
from utils.data.checking.pictures import double_images, look_at_images
from utils.data.reading import coco_json
from utils.data.records import Problem, Records, Wanted

BOX = (10, 10, 50, 90)
POINTS = [20.0, 20.0, 2, 40, 20, 2, 30, 15, 2]


def person(**changes: object) -> dict[str, object]:
    return {"box": BOX, "points": POINTS} | changes


def problems_of(*persons: dict[str, object]) -> list[Problem]:
    records = records_of(list(persons))
    return person_problems(records, HAND, placer(records, Path("train.json"), WANTED))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"box": (-20, 10, 50, 90)}, "box leaves image"),
        ({"box": (210, 10, 250, 90), "points": [0] * 9}, "box outside"),
        ({"box": (10, 10, 11, 90), "points": [0] * 9}, "tiny box"),
        ({"points": [0, 0, 2, 40, 20, 2, 30, 15, 2]}, "keypoint at 0 0"),
        ({"points": [5, 5, 2, 5, 5, 2, 5, 5, 1]}, "keypoints in one place"),
        ({"points": [20, 20, 2, 40, 20, 2, 30, -15, 2]}, "keypoint outside"),
        ({"points": [20, 20, 2, 40, 20, 2, 130, 15, 2]}, "keypoint far from box"),
        ({"points": [120, 20, 2, 140, 20, 2, 130, 15, 2]}, "keypoints not in box"),
    ],
)
def test_each_mistake_is_found_by_its_name(changes: dict[str, object], kind: str):
    (problem,) = problems_of(person(**changes))
    assert problem.kind == kind
    assert problem.where == "train.json: annotation 1"


def test_a_good_person_and_a_crowd_and_an_unlabelled_one_are_no_problem():
    nobody = {"points": [0.0] * 9}
    assert not problems_of(person(), person(box=(60, 10, 90, 80), crowd=True, **nobody), person(box=BOX, **nobody))


def test_the_same_person_twice_is_found_with_both_places():
    (problem,) = problems_of(person(), person(box=(50, 10, 80, 90), points=[0.0] * 9), person())
    assert (problem.kind, problem.where) == ("duplicate person", "train.json: annotation 3")
    assert problem.found == "the same person as train.json: annotation 1"


def test_a_keypoint_that_nobody_has_is_a_problem_of_the_whole_set():
    people = [person(box=(10, 10, 50, 60 + n), points=[20, 20, 2, 0, 0, 0, 30, 15, 2]) for n in range(30)]
    (problem,) = problems_of(*people)
    assert (problem.kind, problem.found) == ("keypoint never labelled", "right_hand never labelled in 30 persons")


def test_boxes_and_keypoints_of_different_scales_are_a_problem_of_the_whole_set():
    people = [person(box=(10, 10, 20, 20 + n), points=[90, 90, 2, 80, 70, 2, 99, 50, 2]) for n in range(30)]
    found = problems_of(*people)
    assert [problem.kind for problem in found if problem.kind not in HARMLESS] == ["boxes do not fit"]


def test_a_set_without_people_is_a_problem():
    assert [problem.kind for problem in problems_of()] == ["no people"]


def test_a_person_of_a_label_file_is_found_by_its_line(tmp_path: Path):
    good = "0 0.5 0.5 0.2 0.4 0.5 0.4 2 0 0 0 0.5 0.5 1"
    corner = good.replace("0.5 0.4 2", "0 0 2")
    txt_folder(tmp_path, good, "not a row", "", corner)
    data = DataSpec.read(tmp_path)
    records = data.readable_records("train")
    (problem,) = person_problems(records, data.schema, placer(records, None, Wanted(data.classes, 3)))
    assert problem.where == f"{tmp_path}/labels/train/a.txt:4"
    assert problem.found == "left_hand labelled at 0 0"


@pytest.fixture(scope="module")
def real(shared: Path) -> Callable[[str, str], tuple[Records, KeypointSchema, Path]]:
    def read(name: str, keypoints: str) -> tuple[Records, KeypointSchema, Path]:
        schema, path = KeypointSchema.read(keypoints), shared / "data" / name
        values = coco_json.check_layout(coco_json.read_json(path), path)
        return coco_json.parse(values, path, path.parent, Wanted(("person",), schema.count)), schema, path

    return read


CROWDPOSE = ("crowdpose_val/crowdpose_val.json.gz", "crowdpose.yaml")
COCO = ("coco_people/coco_val_subset_annotations.json.gz", "coco_kpts.yaml")


@pytest.mark.parametrize("name", [COCO, CROWDPOSE])
def test_published_sets_are_fit_for_training(real, name: tuple[str, str]):
    records, schema, path = real(*name)
    found = person_problems(records, schema, placer(records, path, WANTED))
    assert not [problem for problem in found if problem.kind not in HARMLESS]
    assert len(found) < 0.02 * records.person_count


@pytest.mark.parametrize("name", [COCO, CROWDPOSE])
def test_exchanged_shoulders_of_one_person_in_a_hundred_are_suspected(real, name: tuple[str, str]):
    records, schema, path = real(*name)
    left, right = schema.index("left_shoulder"), schema.index("right_shoulder")
    wide = np.abs(records.keypoints[:, left, 0] - records.keypoints[:, right, 0]) > 0.15 * (
        records.boxes[:, 2:] - records.boxes[:, :2]
    ).max(1)
    candidates = np.flatnonzero(wide & ((records.visibility > 0).sum(1) >= 8))
    chosen = np.random.default_rng(0).choice(candidates, len(candidates) // 100, replace=False)
    keypoints = records.keypoints.copy()
    keypoints[chosen[:, None], [left, right]] = keypoints[chosen[:, None], [right, left]]
    found = person_problems(replace(records, keypoints=keypoints), schema, placer(records, path, WANTED))
    suspected = {problem.where for problem in found if problem.kind == "left and right"}
    caught = sum(f"{path}: annotation {records.ids[n]}" in suspected for n in chosen)
    assert caught >= 0.9 * len(chosen)


@pytest.mark.parametrize("name", [COCO, CROWDPOSE])
def test_a_set_with_left_and_right_exchanged_throughout_is_suspected(real, name: tuple[str, str]):
    records, schema, path = real(*name)
    swap = list(schema.swap)
    mirrored = replace(records, keypoints=records.keypoints[:, swap], visibility=records.visibility[:, swap])
    found = person_problems(mirrored, schema, placer(mirrored, path, WANTED))
    assert "are the names or flip_idx exchanged?" in found[-1].expected


def test_pictures_are_looked_at_to_the_end(tmp_path: Path):
    txt_folder(tmp_path)
    folder = tmp_path / "images/train"
    whole = picture(folder / "whole.jpg").read_bytes()
    (folder / "double.jpg").write_bytes(whole)
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    records = DataSpec.read(tmp_path).readable_records("train")
    (folder / "a.png").unlink()
    looks = look_at_images(records, quick=False)
    found = {Path(look.problem.where).name: look.problem.kind for look in looks if look.problem}
    assert found == {"a.png": "unreadable image", "cut.jpg": "image cut short"}
    (double,) = double_images({"train": looks}, {"train": records})
    assert double.kind == "same picture"
    leaks = list(double_images({"train": looks, "val": looks}, {"train": records, "val": replace(records, root="x")}))
    assert "picture in two splits" in {problem.kind for problem in leaks}


def test_height_and_width_exchanged_in_the_annotations_are_found(tmp_path: Path):
    txt_folder(tmp_path)
    records = DataSpec.read(tmp_path).readable_records("train")
    wrong = replace(records, sizes=records.sizes[:, ::-1].copy())
    for quick in (True, False):
        (look,) = look_at_images(wrong, quick=quick)
        assert look.problem.kind == "image size"
        assert "exchanged" in look.problem.expected
