"""YOLO-pose txt labels: what a row means, what is refused, and that every refusal has its file and line."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.makers import HAND, WANTED, label, picture
from utils.core.schema import KeypointSchema
from utils.data.reading import cache
from utils.data.reading.labels_txt import Row, image_ids, label_path, parse, rows
from utils.data.records import Problem, Records, Wanted

SIZE = (100, 200)
GOOD = "0 0.5 0.5 0.2 0.4 0.5 0.25 2 0 0 0 0.6 0.5 1"


def read(*lines: str, wanted: Wanted = WANTED) -> tuple[list[Row], list[Problem]]:
    problems: list[Problem] = []
    return list(rows("\n".join(lines), "a.txt", SIZE, wanted, problems)), problems


def refused(line: str, wanted: Wanted = WANTED) -> Problem:
    """The one problem of a row that is left out."""
    found, problems = read(line, wanted=wanted)
    assert not found
    assert len(problems) == 1
    assert problems[0].where == "a.txt:1"
    return problems[0]


def read_folder(root: Path, wanted: Wanted = WANTED) -> Records:
    names = sorted(str(path.relative_to(root).as_posix()) for path in root.glob("images/**/*.png"))
    return parse(names, root, wanted, cache.new_digest())


def test_a_row_is_class_box_and_keypoints_in_parts_of_the_image():
    (row,), problems = read(GOOD)
    assert not problems
    assert row.kind == 0
    assert row.box.tolist() == [80, 30, 120, 70]
    assert row.points.tolist() == [[100, 25, 2], [0, 0, 0], [120, 50, 1]]


def test_the_visibility_says_what_is_absent_and_not_the_coordinate():
    (row,), problems = read("0 0.5 0.5 0.2 0.4 0 0 2 0.3 0.3 0 0 0.5 1")
    assert not problems
    assert row.points[:, 2].tolist() == [2, 0, 1]
    assert row.points[2].tolist() == [0, 50, 1]


def test_with_two_values_per_keypoint_only_zero_zero_means_absent():
    (row,), _ = read("0 0.5 0.5 0.2 0.4 0 0.5 0 0 0.25 0")
    assert row.points.tolist() == [[0, 50, 2], [0, 0, 0], [50, 0, 2]]


def test_any_number_of_keypoints_and_classes_is_read():
    wanted = Wanted(("cat", "dog", "horse"), 1)
    (row,), _ = read("2 0.5 0.5 1 1 0.5 0.5 2", wanted=wanted)
    assert row.kind == 2
    assert row.points.shape == (1, 3)
    (row,), _ = read("1 0.5 0.5 1 1", wanted=Wanted(("cat", "dog"), 0))
    assert row.points.shape == (0, 3)


def test_the_columns_of_the_published_coco_labels_are_read():
    coco = KeypointSchema.read("coco_kpts.yaml")
    line = "0 0.6 0.5 0.3 0.8 " + " ".join(["0.570000 0.190000 2.000000"] * coco.count)
    assert len(line.split()) == 56
    (row,), problems = read(line, wanted=Wanted(("person",), coco.count))
    assert not problems
    assert (row.points[:, 2] == 2).all()


@pytest.mark.parametrize(
    ("line", "kind", "found"),
    [
        ("0 0.5 0.5 0.2 0.4 0.5 0.25 2", "wrong columns", "8 columns"),
        (GOOD + " 7", "wrong columns", "15 columns"),
        (GOOD.replace("0.25", "left"), "not a number", "'left'"),
        (GOOD.replace("0.25", "nan"), "not a number", "'nan' in column 7"),
        (GOOD.replace("0.2 ", "inf "), "not a number", "'inf' in column 4"),
        ("1" + GOOD[1:], "unknown class", "class 1"),
        ("0.5" + GOOD[1:], "unknown class", "class 0.5"),
        ("-1" + GOOD[1:], "unknown class", "class -1"),
        (GOOD[:-1] + "3", "wrong visibility", "visibility 3"),
        (GOOD[:-1] + "0.7", "wrong visibility", "visibility 0.7"),
        (GOOD.replace("0.2 0.4", "0 0.4"), "empty box", "0 x 0.4"),
        (GOOD.replace("0.5 0.5 0.2", "-0.5 0.5 0.2"), "box outside", "-0.5 0.5 0.2 0.4"),
        (GOOD.replace("0.5 0.5 0.2", "1.2 0.5 0.2"), "box outside", "1.2 0.5 0.2 0.4"),
        (GOOD.replace("0.5 0.5 0.2 0.4", "100 50 40 40"), "not normalised", "up to 100"),
        (GOOD.replace("0.6 0.5 1", "120 50 1"), "not normalised", "up to 120"),
    ],
)
def test_an_unusable_row_is_left_out_and_named(line: str, kind: str, found: str):
    problem = refused(line)
    assert problem.kind == kind
    assert found in problem.found


def test_a_keypoint_outside_the_image_is_named_and_counts_as_not_labelled():
    (row,), (problem,) = read(GOOD.replace("0.5 0.25 2", "-0.1 0.25 2"))
    assert row.points[:, 2].tolist() == [0, 0, 1]
    assert problem.kind == "keypoint outside"
    assert "number 1 at -0.1 0.25" in problem.found


def test_a_rounding_error_at_the_border_is_no_mistake():
    (row,), problems = read("0 0.5 0.5 1.0000001 1 1.0000001 0.5 2 0 0 0 0 0 0")
    assert not problems
    assert row.points[0, 2] == 2


def test_the_same_row_twice_is_one_person():
    found, (problem,) = read(GOOD, "", GOOD)
    assert len(found) == 1
    assert (problem.where, problem.found) == ("a.txt:3", "the same as line 1")


def test_a_person_without_a_box_gets_one_on_request_only():
    bare = "0 0.4 0.4 2 0 0 0 0.6 0.6 2"
    assert refused(bare).kind == "wrong columns"
    wanted = Wanted(("person",), HAND.count, boxes_from_keypoints=True)
    (row,), _ = read(bare, wanted=wanted)
    # 80..120 by 40..60, and 15 % of the longer side around it
    assert row.box.tolist() == pytest.approx([74, 34, 126, 66])
    (zeros,), _ = read("0 0 0 0 0 " + bare[2:], wanted=wanted)
    assert zeros.box.tolist() == row.box.tolist()
    assert refused("0 " + "0 0 0 " * 3, wanted).kind == "empty box"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("set/images/train/a.jpg", "set/labels/train/a.txt"),
        ("images/coco/images/train/a.b.jpg", "images/coco/labels/train/a.b.txt"),
        ("set/train/a.png", "set/train/a.txt"),
        ("my images/a.png", "my images/a.txt"),
        ("C:\\set\\images\\a.png", "C:/set/labels/a.txt"),
    ],
)
def test_labels_lie_where_the_last_images_folder_says(image: str, expected: str):
    assert label_path(image) == expected


def test_images_keep_the_numbers_they_are_called_by():
    assert image_ids(["x/000000397133.jpg", "y/17.png"]) == [397133, 17]
    assert image_ids(["x/17.jpg", "y/17.png"]) == [1, 2]
    assert image_ids(["a.jpg", "17.png"]) == [1, 2]


def test_an_image_without_labels_is_an_image_without_people(tmp_path: Path):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    label(tmp_path / "labels/b.txt")
    records = read_folder(tmp_path)
    assert len(records) == 2
    assert records.person_count == 0
    assert not records.problems


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
def test_line_ends_and_byte_order_marks_do_not_matter(tmp_path: Path, data: bytes, end: bytes):
    picture(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(data + GOOD.encode() + end)
    records = read_folder(tmp_path)
    assert records.person_count == 1
    assert not records.problems


@pytest.mark.parametrize("data", [b"\xff\xfe0\0", b"\x80\x81\x82", b"0 0.5\0 0.5"])
def test_a_label_file_that_is_no_text_takes_its_image_out(tmp_path: Path, data: bytes):
    picture(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(data)
    records = read_folder(tmp_path)
    assert len(records) == 0
    (problem,) = records.problems
    assert problem.kind == "unreadable labels"
    assert problem.where.endswith("a.txt")


def test_an_unreadable_image_is_named_and_left_out(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"nothing like an image")
    records = read_folder(tmp_path)
    (problem,) = records.problems
    assert (len(records), problem.kind) == (0, "unreadable image")


def test_the_size_is_that_of_the_picture_as_it_is_shown(tmp_path: Path):
    picture(tmp_path / "images/a.png", (50, 30))
    label(tmp_path / "labels/a.txt", GOOD)
    records = read_folder(tmp_path)
    assert records.size(0) == (50, 30)
    assert records.boxes[0].tolist() == [12, 15, 18, 35]
    assert records.areas[0] == pytest.approx(0.53 * 6 * 20)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2)), min_size=3, max_size=3))
def test_every_keypoint_inside_the_image_is_read_as_written(points: list[tuple[float, float, int]]):
    line = "0 0.5 0.5 0.2 0.4 " + " ".join(f"{x!r} {y!r} {v}" for x, y, v in points)
    (row,), problems = read(line)
    assert not problems
    assert row.points == pytest.approx(np.array(points) * (200, 100, 1))


@given(st.text(max_size=60))
def test_no_text_is_read_without_a_word_and_none_crashes(line: str):
    problems: list[Problem] = []
    found = list(rows(line, "a.txt", SIZE, WANTED, problems))
    assert bool(found or problems) == bool(line.split())


def test_pixels_equal_those_of_the_original_reader(shared: Path):
    """The fixture's labels with the original's box and keypoints in pixels of a 640 x 427 image, shifted down."""
    found = np.load(shared / "fixtures/yolo_pose/public/data_ops.npz")
    normalised = found["labels_norm_cls_xywh_kpts"]
    expected = found["xywhn2xyxy_0_w640_h427_padw0_padh106.5"]
    count = (normalised.shape[1] - 5) // 2
    lines = [" ".join(f"{value:.12g}" for value in [int(row[0]), *row[1:]]) for row in normalised]
    problems: list[Problem] = []
    persons = list(rows("\n".join(lines), "a.txt", (427, 640), Wanted(("person",), count), problems))
    for person, theirs, ours in zip(persons, expected, normalised, strict=True):
        assert person.box == pytest.approx(theirs[1:5] - (0, 106.5, 0, 106.5), abs=1e-6)
        known = ours[5:].reshape(count, 2).any(1)
        assert (person.points[:, 2] > 0).tolist() == known.tolist()
        points = theirs[5:].reshape(count, 2) - (0, 106.5)
        assert person.points[known, :2] == pytest.approx(points[known], abs=1e-6)


@pytest.mark.parametrize(
    ("fixture", "annotations", "keypoints"),
    [
        ("labels_mmpose_coco", "coco_four/test_coco.json", "coco_kpts.yaml"),
        ("labels_mmpose_crowdpose", "crowdpose_sample/test_crowdpose.json", "crowdpose.yaml"),
    ],
)
def test_person_rows_of_kapao_labels_are_the_annotated_persons(
    shared: Path, fixture: str, annotations: str, keypoints: str
):
    """KAPAO's label files also have rows for single keypoints, with classes of their own; those are named, not read."""
    schema = KeypointSchema.read(keypoints)
    files = json.loads(gzip.decompress((shared / f"fixtures/kapao/public/{fixture}.json.gz").read_bytes()))["files"]
    truth = json.loads((shared / "data" / annotations).read_text())
    for image in truth["images"]:
        stem = image["file_name"].rpartition(".")[0]
        text = next(text for name, text in files.items() if name.endswith(f"{stem}.txt"))
        size, problems = (image["height"], image["width"]), []
        persons = list(rows(text, "a.txt", size, Wanted(("person",), schema.count), problems))
        theirs = [person for person in truth["annotations"] if person["image_id"] == image["id"]]
        assert len(persons) == len(theirs)
        assert {problem.kind for problem in problems} <= {"unknown class", "duplicate row"}
        for person, their in zip(persons, theirs, strict=True):
            points = np.array(their["keypoints"], float).reshape(schema.count, 3)
            assert person.points == pytest.approx(points, abs=1e-3)
            left, top, width, height = their["bbox"]
            assert person.box == pytest.approx([left, top, left + width, top + height], abs=2e-3)
