"""COCO and CrowdPose JSON: crowds, mask areas and people without keypoints are kept; mistakes are named."""

import gzip
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.makers import CATEGORY, WANTED, annotation, coco, picture
from utils.core.schema import KeypointSchema
from utils.data.reading import coco_json
from utils.data.records import Problem, Records, Wanted

PATH, ROOT = Path("train.json"), Path("pictures")


def read(values: dict[str, Any], wanted: Wanted = WANTED, root: Path = ROOT) -> Records:
    return coco_json.parse(coco_json.check_layout(values, PATH), PATH, root, wanted)


def refused(row: Any) -> Problem:
    """The one problem of an annotation that is left out."""
    records = read(coco([row]))
    assert len(records) == 1
    assert records.person_count == 0
    (problem,) = records.problems
    return problem


def real(shared: Path, name: str, keypoints: str) -> tuple[Records, dict[str, Any]]:
    path = shared / "data" / name
    values = coco_json.check_layout(coco_json.read_json(path), path)
    count = KeypointSchema.read(keypoints).count
    return coco_json.parse(values, path, path.parent, Wanted(("person",), count)), values


def test_a_person_has_box_keypoints_area_and_id():
    persons = read(coco([annotation(7)])).persons(0)
    assert persons.boxes.tolist() == [[10, 20, 50, 80]]
    assert persons.keypoints[0, 0].tolist() == [20, 30]
    assert persons.visibility.tolist() == [[2, 0, 1]]
    assert persons.areas.tolist() == [1200]
    assert persons.ids.tolist() == [7]
    assert not persons.crowd[0]


def test_a_keypoint_at_the_corner_is_absent_only_when_its_visibility_says_so():
    records = read(coco([annotation(keypoints=[0, 0, 2, 5, 5, 0, 0, 7, 1])]))
    assert records.visibility.tolist() == [[2, 0, 1]]


def test_crowds_and_people_without_keypoints_and_images_without_people_are_kept():
    images = [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 200} for i in (3, 4)]
    nothing = [0] * 9
    people = [annotation(1, 3, iscrowd=1, keypoints=nothing), annotation(2, 3, keypoints=nothing, num_keypoints=0)]
    records = read(coco(people, images))
    assert np.diff(records.person_ends).tolist() == [2, 0]
    assert records.crowd.tolist() == [True, False]
    assert not records.visibility.any()
    assert not records.problems


def test_without_an_area_it_is_that_of_crowdposes_evaluation():
    person = annotation()
    del person["area"]
    assert read(coco([person])).areas[0] == pytest.approx(0.53 * 40 * 60)


def test_a_box_that_leaves_the_image_stays_as_annotated():
    assert read(coco([annotation(bbox=[-5, -5, 300, 200])])).boxes.tolist() == [[-5, -5, 295, 195]]


def test_an_annotation_with_a_box_only_is_a_person_without_keypoints():
    person = annotation()
    del person["keypoints"]
    assert read(coco([person])).visibility.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("row", "kind", "found"),
    [
        (annotation(bbox=[1, 2, 3]), "wrong box", "[1, 2, 3]"),
        (annotation(bbox=None), "wrong box", "null"),
        (annotation(bbox=[1, 2, math.nan, 4]), "wrong box", "NaN"),
        (annotation(bbox=[1, 2, 0, 4]), "empty box", "[1, 2, 0, 4]"),
        (annotation(bbox=[1, 2, 3, -4]), "empty box", "-4"),
        (annotation(keypoints=[1, 2, 2]), "wrong keypoint count", "3 numbers"),
        (annotation(keypoints=[1, 2, 2] * 4), "wrong keypoint count", "12 numbers"),
        (annotation(keypoints=[1, 2, 2, 3, math.inf, 2, 1, 1, 1]), "wrong keypoints", "Infinity"),
        (annotation(keypoints="none"), "wrong keypoints", "none"),
        (annotation(keypoints=[1, 2, 3] * 3), "wrong visibility", "visibility 3"),
        (annotation(image_id=9), "unknown image", "image_id 9"),
        (annotation(category_id=5), "unknown category", "category_id 5"),
        (annotation("one"), "wrong annotation", '"one"'),
        ("a word", "wrong annotation", "a word"),
    ],
)
def test_an_unusable_annotation_is_left_out_and_named(row: Any, kind: str, found: str):
    problem = refused(row)
    assert problem.kind == kind
    assert found in problem.found
    if isinstance(row, dict):
        assert problem.where == f"train.json: annotation {row['id']}"


def test_the_second_annotation_with_an_id_is_left_out_and_named():
    records = read(coco([annotation(4), annotation(4, bbox=[1, 1, 5, 5])]))
    assert records.person_count == 1
    assert [problem.kind for problem in records.problems] == ["annotation id used twice"]


def test_the_same_image_listed_again_is_one_image_and_one_remark():
    image = {"id": 1, "file_name": "a.png", "height": 100, "width": 200}
    records = read(coco([annotation()], [image, dict(image), dict(image)]))
    assert len(records) == 1
    assert records.problems[0].found == "2 entries repeat an earlier one"


def test_two_images_with_one_id_are_named():
    image = {"id": 1, "file_name": "a.png", "height": 100, "width": 200}
    records = read(coco([annotation()], [image, image | {"file_name": "b.png"}]))
    assert "'a.png' and of 'b.png'" in records.problems[0].found


def test_a_size_that_is_not_given_comes_from_the_image(tmp_path: Path):
    picture(tmp_path / "a.png", (30, 40))
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png", "height": 0, "width": 5}]
    records = read(coco([], images), root=tmp_path)
    assert records.size(0) == (30, 40)
    assert [problem.kind for problem in records.problems] == ["no image size"]


def test_people_of_an_image_without_a_size_are_named_with_it_and_not_again(tmp_path: Path):
    records = read(coco([annotation(), annotation(2)], [{"id": 1, "file_name": "a.png"}]), root=tmp_path)
    assert [problem.kind for problem in records.problems] == ["no image size"]


@pytest.mark.parametrize("box", [None, [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]])
def test_a_person_without_a_box_gets_one_on_request_or_is_named(box: Any):
    wanted = Wanted(WANTED.classes, WANTED.keypoint_count, boxes_from_keypoints=True)
    people = [annotation(1, bbox=box), annotation(2, bbox=box, keypoints=[0] * 9)]
    records = read(coco(people), wanted)
    # 20..30 by 25..30, and 15 % of 10 around it
    assert records.boxes.tolist() == [[18.5, 23.5, 31.5, 31.5]]
    assert [problem.kind for problem in records.problems] == ["empty box"]


def test_categories_are_told_apart_by_name():
    categories = [{"id": 0, "name": "people"}, CATEGORY | {"id": 3}, CATEGORY | {"id": 8, "name": "horse"}]
    people = [annotation(1, category_id=8), annotation(2, category_id=3), annotation(3, category_id=0)]
    records = read(coco(people, categories=categories), Wanted(("horse", "person"), 3))
    assert records.classes.tolist() == [0, 1]
    assert not records.problems


def test_one_category_is_our_one_class_whatever_it_is_called():
    assert read(coco([annotation()], categories=[CATEGORY | {"name": "human"}])).person_count == 1


def test_categories_of_another_data_set_are_refused():
    with pytest.raises(ValueError, match=r"categories person found; expected cat, dog"):
        read(coco([annotation()]), Wanted(("cat", "dog"), 3))


def test_a_list_of_test_images_needs_no_annotations(tmp_path: Path):
    values = {"images": coco([])["images"], "categories": [{"id": 1, "name": "person"}]}
    assert len(read(values)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [1,\n 2', r"a\.json:2: not valid JSON"),
        ("[1, 2]", r"a\.json: no list 'images'"),
        ('{"images": 5}', r"a\.json: no list 'images'"),
        ('{"images": [], "annotations": {}}', r"a\.json: 'annotations' is dict"),
        ("[" * 100_000, r"a\.json"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_its_place(tmp_path: Path, text: str, message: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        coco_json.check_layout(coco_json.read_json(path), path)


def test_categories_are_found_without_reading_all_of_the_file(tmp_path: Path):
    path = tmp_path / "a.json"
    text = {"info": {"note": 'the "categories" follow ['}, **coco([annotation()])}
    path.write_text(json.dumps(text))
    assert coco_json.read_categories(path) == [CATEGORY]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(annotation())), json_values, max_size=4))
def test_whatever_an_annotation_says_it_is_read_or_named(changes: dict[str, Any]):
    records = read(coco([annotation() | changes]))
    assert records.person_count + len(records.problems) == 1


image = st.dictionaries(st.sampled_from(["id", "file_name", "height", "width"]), json_values)


@given(st.lists(image | json_values, max_size=4), st.lists(json_values, max_size=2))
def test_whatever_the_images_and_categories_are_it_is_read_or_refused(rows: list[Any], categories: list[Any]):
    values = coco([annotation()], rows, categories=[CATEGORY, *categories])
    try:
        records = read(values)
    except ValueError as error:
        assert "train.json: category" in str(error)
        return
    assert len(records) + len(records.problems) >= min(len(rows), 1)


def test_real_coco_is_read_whole(shared: Path):
    """538 images whose list repeats an image once per annotation, as somebody's script left it."""
    records, values = real(shared, "coco_people/coco_val_subset_annotations.json.gz", "coco_kpts.yaml")
    assert len(records) == 538
    assert records.person_count == len(values["annotations"]) == 2213
    assert records.crowd.sum() == 49
    assert [problem.kind for problem in records.problems] == ["image listed twice"]
    by_id = {row["id"]: row for row in values["annotations"]}
    for n in range(0, records.person_count, 97):
        row = by_id[int(records.ids[n])]
        assert records.areas[n] == pytest.approx(row["area"])
        assert (records.visibility[n] > 0).sum() == row["num_keypoints"]
        assert records.keypoints[n].ravel().tolist() == [
            value for i, value in enumerate(row["keypoints"]) if i % 3 != 2
        ]


def test_real_crowdpose_is_read_whole(shared: Path):
    """`num_keypoints` leaves out head and neck there, so a person with 0 of them can have labelled keypoints."""
    records, values = real(shared, "crowdpose_val/crowdpose_val.json.gz", "crowdpose.yaml")
    assert (len(records), records.person_count, int(records.crowd.sum())) == (2000, 8527, 106)
    assert not records.problems
    assert Counter(values["categories"][0]["keypoints"]) == Counter(KeypointSchema.read("crowdpose.yaml").names)
    sides = records.boxes[:, 2:] - records.boxes[:, :2]
    assert records.areas == pytest.approx(0.53 * sides.prod(1), rel=1e-5)


@pytest.mark.parametrize(
    ("fixture", "folder", "keypoints"),
    [
        ("labels_edge_coco", "kp_labels/val2017/", "coco_kpts.yaml"),
        ("labels_edge_coco_kplist", "kp_labels/val2017/", "coco_kpts.yaml"),
        ("labels_edge_crowdpose", "kp_labels/", "crowdpose.yaml"),
    ],
)
def test_persons_are_those_that_kapao_wrote_as_labels(shared: Path, fixture: str, folder: str, keypoints: str):
    """Odd sizes, boxes that leave the image, crowds and people without keypoints, as the original wrote them down."""
    schema = KeypointSchema.read(keypoints)
    found = json.loads(gzip.decompress((shared / f"fixtures/kapao/public/{fixture}.json.gz").read_bytes()))
    values = coco_json.check_layout(found["annotations"] | {"categories": [{"id": 1, "name": "person"}]}, PATH)
    records = read(values, Wanted(("person",), schema.count))
    compared = 0
    for i in range(len(records)):
        height, width = records.size(i)
        text = found["files"].get(f"{folder}{Path(records.name(i)).stem}.txt", "")
        # CrowdPose's train and test share a folder there, so that every line of an image comes twice.
        lines = dict.fromkeys(line for line in text.splitlines() if line.startswith("0 "))
        persons = records.persons(i)
        assert len(persons) == len(lines)
        for n, line in enumerate(lines):
            row = np.array(line.split()[1:], float)
            left, top, right, bottom = persons.boxes[n] / (width, height, width, height)
            assert row[:4] == pytest.approx(
                [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], abs=2e-6
            )
            points = row[4:].reshape(schema.count, 3)
            assert persons.visibility[n].tolist() == points[:, 2].tolist()
            inside = persons.keypoints[n].clip(0, (width, height)) / (width, height)
            assert points[:, :2] == pytest.approx(inside, abs=2e-6)
            compared += 1
    assert compared > 10
