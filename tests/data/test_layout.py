"""Data YAMLs: ours and Ultralytics', paths that move, and what is said about mistakes."""

from pathlib import Path

import pytest

from tests.data.makers import coco_folder, label, picture
from utils.core.schema import KeypointSchema
from utils.data.annotations import DataSpec

KEYPOINTS = "keypoints: [left_hand, right_hand, head]\n"


def write(root: Path, text: str) -> Path:
    path = root / "data.yaml"
    path.write_text(text)
    return path


def test_our_yaml_names_images_annotations_and_keypoints(tmp_path: Path):
    coco_folder(tmp_path / "set")
    text = "path: set\ntrain: {images: train, annotations: annotations/train.json}\nclasses: [person]\n" + KEYPOINTS
    data = DataSpec.read(write(tmp_path, text))
    assert data.root == tmp_path / "set"
    assert data.schema.swap == (1, 0, 2)
    assert data.records("train").person_count == 1


@pytest.mark.parametrize("name", ["coco_kpts.yaml", "coco_kpts", "crowdpose"])
def test_the_sets_in_data_are_found_by_bare_name(name: str):
    data = DataSpec.read(name)
    assert data.classes == ("person",)
    assert data.splits["val"].annotations.name.endswith(".json")


def test_crowdpose_has_its_official_sigmas_and_mirror_images():
    schema = KeypointSchema.read("crowdpose.yaml")
    assert [round(10 * sigma, 2) for sigma in schema.sigmas] == [
        0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79,
    ]  # fmt: skip
    assert schema.swap == (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13)
    assert schema.names[-2:] == ("head", "neck")


def test_ultralytics_keys_are_read_and_their_other_keys_passed_over(tmp_path: Path):
    picture(tmp_path / "images/train/a.png")
    label(tmp_path / "labels/train/a.txt", "1 0.5 0.5 0.2 0.4 0.5 0.25 0.6 0.5")
    text = """
path: /the/folder/of/another/machine
train: images/train
val: images/train
names: {0: cat, 1: dog}
kpt_shape: [2, 2]
flip_idx: [1, 0]
download: https://example.org/set.zip
roboflow: {license: CC}
"""
    data = DataSpec.read(write(tmp_path, text))
    assert data.root == tmp_path
    assert data.classes == ("cat", "dog")
    records = data.records("train")
    assert records.classes.tolist() == [1]
    assert records.keypoints[0].tolist() == [[100, 25], [120, 50]]


def test_a_yaml_in_the_data_folder_of_an_old_clone_is_read_as_it_was_there(tmp_path: Path):
    """TI's says ../coco_kpts and means the folder beside the clone."""
    picture(tmp_path / "coco_kpts" / "images" / "val" / "a.jpg")
    label(tmp_path / "coco_kpts" / "labels" / "val" / "a.txt", "0 0.5 0.5 0.5 0.5 0.5 0.5 2 0.6 0.6 2")
    (tmp_path / "coco_kpts" / "val.txt").write_text("./images/val/a.jpg\n")
    yaml = tmp_path / "clone" / "data" / "coco_kpts.yaml"
    yaml.parent.mkdir(parents=True)
    yaml.write_text("val: ../coco_kpts/val.txt\nnc: 1\nnames: [ 'person' ]\n")
    data = DataSpec.read(yaml)
    assert (len(data.records("val")), data.schema.count) == (1, 2)


def test_roboflows_way_of_writing_paths_is_understood(tmp_path: Path):
    picture(tmp_path / "train/images/a.png")
    label(tmp_path / "train/labels/a.txt", "0 0.5 0.5 0.2 0.4 0.5 0.25 2")
    text = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['p']\nkpt_shape: [1, 3]\n"
    data = DataSpec.read(write(tmp_path, text))
    assert data.records("train").person_count == 1


@pytest.mark.parametrize("line", ["./images/a b.png", "images/a b.png", "{root}/images/a b.png"])
def test_a_list_file_names_images_with_spaces_from_anywhere(tmp_path: Path, line: str):
    picture(tmp_path / "images/a b.png")
    label(tmp_path / "labels/a b.txt", "0 0.5 0.5 0.2 0.4 0.5 0.25 2")
    (tmp_path / "train.txt").write_text(line.format(root=tmp_path) + "\r\n\r\n")
    data = DataSpec.read(write(tmp_path, "train: train.txt\nnames: [person]\nkpt_shape: [1, 3]\n"))
    records = data.records("train")
    assert records.name(0) == "images/a b.png"
    assert records.person_count == 1


def test_several_folders_make_one_split(tmp_path: Path):
    for folder in ("one", "two"):
        picture(tmp_path / folder / "images/a.png")
        label(tmp_path / folder / "labels/a.txt", "0 0.5 0.5 0.2 0.4 0.5 0.25 2")
    data = DataSpec.read(write(tmp_path, "train: [one/images, two/images]\nnames: [person]\nkpt_shape: [1, 3]\n"))
    records = data.records("train")
    assert [records.name(i) for i in range(2)] == ["one/images/a.png", "two/images/a.png"]


def test_keypoints_are_counted_in_the_labels_where_the_yaml_has_none(tmp_path: Path):
    """The YAML of the published COCO labels says neither how many keypoints there are nor how they are called."""
    coco = KeypointSchema.read("coco_kpts.yaml")
    picture(tmp_path / "images/train/a.png")
    label(tmp_path / "labels/train/a.txt", "0 0.5 0.5 0.2 0.4 " + "0.5 0.5 2.000000 " * coco.count)
    data = DataSpec.read(write(tmp_path, "train: images/train\nnc: 1\nnames: [person]\n"))
    assert data.schema == coco
    label(tmp_path / "labels/train/a.txt", "0 0.5 0.5 0.2 0.4 " + "0.5 0.5 2 " * 5)
    assert DataSpec.read(tmp_path / "data.yaml").schema == KeypointSchema.unnamed(5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: images\n" + KEYPOINTS, r"data\.yaml: no key 'trian' .*did you mean 'train'"),
        (KEYPOINTS, r"data\.yaml: no split found"),
        ("train: {images: a, anotations: b}\n" + KEYPOINTS, r"data\.yaml: train: no key 'anotations'"),
        ("train: {annotations: b}\n" + KEYPOINTS, r"data\.yaml: train: 'images' is missing"),
        ("train: []\n" + KEYPOINTS, r"data\.yaml: no split found"),
        ("train: {images: [a, b], annotations: c}\n" + KEYPOINTS, r"2 image folders for one annotation file"),
        ("train: 5\n" + KEYPOINTS, r"data\.yaml: train: images: found 5"),
        ("train: a.txt\nnc: 4\nnum_coords: 6\nkp_bbox: 0.05\n", r"a data YAML of KAPAO.*docs/migration\.md"),
        ("train: images\nnames: [a, b]\nnc: 3\nkpt_shape: [1, 3]\n", r"nc is 3 but there are 2 names"),
        ("train: images\nnames: {1: a}\nkpt_shape: [1, 3]\n", r"names are numbered \[1\]; expected 0 to 0"),
        ("train: images\nclasses: person\n" + KEYPOINTS, r"found 'person' as the classes"),
        ("train: images\n", r"data\.yaml: no 'keypoints' and no label to count them in"),
    ],
)
def test_a_mistake_in_the_yaml_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        DataSpec.read(write(tmp_path, text))


def test_a_split_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path):
    data = DataSpec.read(write(tmp_path, "train: images\nval: images\n" + KEYPOINTS))
    with pytest.raises(ValueError, match=r"no split 'vla' \(train, val\); did you mean 'val'"):
        data.records("vla")


def test_a_missing_folder_is_named(tmp_path: Path):
    data = DataSpec.read(write(tmp_path, "train: images\n" + KEYPOINTS))
    with pytest.raises(ValueError, match=r"images: not there, the data set .data. is missing"):
        data.records("train")


def test_linked_folders_are_followed_and_circles_are_not(tmp_path: Path):
    picture(tmp_path / "elsewhere/a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "images")
    label(tmp_path / "labels/train/a.txt", "0 0.5 0.5 0.2 0.4 0.5 0.25 2")
    data = DataSpec.read(write(tmp_path, "train: images\nnames: [person]\nkpt_shape: [1, 3]\n"))
    records = data.records("train")
    assert [records.name(i) for i in range(len(records))] == ["images/train/a.png"]


def test_file_names_that_are_no_utf8_are_read_and_can_be_printed(tmp_path: Path):
    good = picture(tmp_path / "images/a.png")
    odd = tmp_path.joinpath("images", b"b\xff.png".decode("utf-8", "surrogateescape"))
    try:
        odd.write_bytes(good.read_bytes())
    except OSError:
        pytest.skip("this file system knows only UTF-8 names")
    label(tmp_path / "labels" / (odd.stem + ".txt"), "0 0.5 0.5 0.2 0.4 0.5 0.25 2", "bad")
    data = DataSpec.read(write(tmp_path, "train: images\nnames: [person]\nkpt_shape: [1, 3]\n"))
    for _ in range(2):
        records = data.records("train")
        assert Path(records.path(1)) == odd
        assert str(records.problems[0]).encode("utf-8")
