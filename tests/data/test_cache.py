"""The cache is believed when nothing changed, and never otherwise."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.makers import annotation, coco, coco_folder, picture, txt_folder
from utils.data.annotations import DataSpec, Records
from utils.data.reading import cache
from utils.data.reading.sources import JsonSource, LabelSource

ROW = "0 0.5 0.5 0.2 0.4 0.5 0.25 2 0 0 0 0.6 0.5 1"
LONG_AGO = time.time() - 1000


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every reading that did not come from the cache."""
    made: list[str] = []
    for source in (JsonSource, LabelSource):
        parse = source.parse

        def counted(self, parse=parse):
            made.append(type(self).__name__)
            return parse(self)

        monkeypatch.setattr(source, "parse", counted)
    return made


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every look at the sources' bytes."""
    made: list[str] = []
    for source in (JsonSource, LabelSource):
        digest = source.digest

        def counted(self, digest=digest):
            made.append(type(self).__name__)
            return digest(self)

        monkeypatch.setattr(source, "digest", counted)
    return made


def read(root: Path) -> Records:
    return DataSpec.read(root).readable_records("train")


def same(one: Records, other: Records) -> bool:
    arrays = [name for name, value in vars(one).items() if isinstance(value, np.ndarray)]
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and (one.root, one.problems) == (other.root, other.problems)


def make_trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock be fine enough for files that a test has just written."""
    monkeypatch.setattr(cache, "TOO_FRESH", -(10**18))


@pytest.mark.parametrize("kind", ["json", "txt"])
def test_what_comes_from_the_cache_is_what_was_read(tmp_path: Path, parses: list[str], kind: str):
    _ = coco_folder(tmp_path) if kind == "json" else txt_folder(tmp_path, ROW, "one bad row")
    first, second = read(tmp_path), read(tmp_path)
    assert len(parses) == 1
    assert same(first, second)
    assert first.person_count == 1


def test_files_as_young_as_the_clocks_tick_are_hashed(tmp_path: Path, hashes: list[str]):
    coco_folder(tmp_path)
    read(tmp_path)
    read(tmp_path)
    assert len(hashes) == 1


def test_unchanged_files_are_not_read_again(tmp_path: Path, hashes: list[str], monkeypatch: pytest.MonkeyPatch):
    make_trusting(monkeypatch)
    txt_folder(tmp_path, ROW)
    read(tmp_path)
    read(tmp_path)
    assert not hashes


@pytest.mark.parametrize("kind", ["json", "txt"])
def test_any_changed_byte_is_noticed_even_under_the_old_size_and_time(tmp_path: Path, parses: list[str], kind: str):
    path = coco_folder(tmp_path) if kind == "json" else txt_folder(tmp_path, ROW)
    os.utime(path, (LONG_AGO, LONG_AGO))
    before = read(tmp_path)
    data = path.read_bytes()
    changed = data.replace(b"[10, 20, 40, 60]", b"[10, 20, 40, 61]") if kind == "json" else data.replace(b"0.4", b"0.6")
    assert len(changed) == len(data)
    path.write_bytes(changed)
    os.utime(path, (LONG_AGO, LONG_AGO))
    after = read(tmp_path)
    assert len(parses) == 2
    assert after.boxes[0, 3] > before.boxes[0, 3]


def test_every_single_byte_of_a_label_file_counts(tmp_path: Path, parses: list[str]):
    path = txt_folder(tmp_path, ROW)
    data = path.read_bytes()
    read(tmp_path)
    for place in range(0, len(data), 5):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        before = len(parses)
        read(tmp_path)
        assert len(parses) == before + 1, f"byte {place}"


def test_a_touched_or_copied_file_is_hashed_and_not_read_again(tmp_path: Path, parses: list[str], hashes: list[str]):
    path = coco_folder(tmp_path / "one")
    read(tmp_path / "one")
    os.utime(path, (LONG_AGO, LONG_AGO))
    read(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    moved = read(tmp_path / "two")
    assert (len(parses), len(hashes)) == (1, 2)
    assert Path(moved.path(0)) == tmp_path / "two/train/a.png"


def test_problems_move_with_the_data_set(tmp_path: Path, parses: list[str]):
    txt_folder(tmp_path / "one", "one bad row")
    read(tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    (problem,) = read(tmp_path / "two").problems
    assert problem.where == f"{tmp_path}/two/labels/train/a.txt:1"
    assert len(parses) == 1


def test_a_new_picture_or_one_of_another_size_is_noticed(tmp_path: Path, parses: list[str]):
    txt_folder(tmp_path, ROW)
    read(tmp_path)
    picture(tmp_path / "images/train/b.png")
    assert len(read(tmp_path)) == 2
    picture(tmp_path / "images/train/a.png", (200, 200))
    assert read(tmp_path).size(0) == (200, 200)
    (tmp_path / "images/train/b.png").unlink()
    assert len(read(tmp_path)) == 1
    assert len(parses) == 4


def test_other_settings_do_not_share_a_cache(tmp_path: Path, parses: list[str]):
    txt_folder(tmp_path, ROW)
    assert read(tmp_path).person_count == 1
    yaml = tmp_path / "data.yaml"
    yaml.write_text(yaml.read_text().replace("[3, 3]", "[2, 3]").replace(", head", ""))
    assert read(tmp_path).problems[0].kind == "wrong columns"
    assert len(parses) == 2


def test_a_cache_of_another_version_is_refused(tmp_path: Path, parses: list[str], monkeypatch: pytest.MonkeyPatch):
    coco_folder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "VERSION", cache.VERSION + 1)
        read(tmp_path)
    read(tmp_path)
    assert len(parses) == 2


def test_a_damaged_cache_is_refused_wherever_the_damage_is(tmp_path: Path, parses: list[str]):
    coco_folder(tmp_path)
    expected = read(tmp_path)
    home = tmp_path / "annotations/train.json.limber.cache"
    whole = home.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 20, 60, *rng.integers(0, len(whole), 40).tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        home.write_bytes(damaged)
        parses.clear()
        assert same(read(tmp_path), expected)
        assert len(parses) == 1
    for cut in (0, 1, 50, len(whole) // 2, len(whole) - 1):
        home.write_bytes(whole[:cut])
        assert same(read(tmp_path), expected)


def test_a_cache_whose_arrays_contradict_each_other_is_refused(tmp_path: Path, parses: list[str]):
    coco_folder(tmp_path)
    expected = read(tmp_path)
    home = tmp_path / "annotations/train.json.limber.cache"
    _, head, payload = home.read_bytes().split(b"\n", 2)
    about = json.loads(head)
    for name, shape in (("boxes", [0, 4]), ("person_ends", [3]), ("keypoints", [1, 4, 2]), ("stamps", [9**9, 4])):
        wrong = about | {"shapes": about["shapes"] | {name: shape}}
        body = json.dumps(wrong).encode() + b"\n" + payload
        home.write_bytes(cache.MAGIC + cache.digest_of(body).encode() + b"\n" + body)
        parses.clear()
        assert same(read(tmp_path), expected)
        assert len(parses) == 1


def test_a_pickle_in_the_caches_place_is_not_opened(tmp_path: Path, parses: list[str]):
    coco_folder(tmp_path)
    (tmp_path / "annotations/train.json.limber.cache").write_bytes(b"\x80\x04c__builtin__\neval\n.")
    assert read(tmp_path).person_count == 1
    assert len(parses) == 1


def test_a_read_only_data_set_is_cached_elsewhere(tmp_path: Path, parses: list[str], own_cache_folder: Path):
    path = coco_folder(tmp_path)
    path.parent.chmod(0o555)
    try:
        read(tmp_path)
        read(tmp_path)
    finally:
        path.parent.chmod(0o755)
    assert len(parses) == 1
    assert [file.name for file in path.parent.iterdir()] == ["train.json"]
    assert len(list((own_cache_folder / "limber").iterdir())) == 1


def test_nowhere_to_write_is_no_error(tmp_path: Path, parses: list[str], monkeypatch: pytest.MonkeyPatch):
    path = coco_folder(tmp_path)
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    path.parent.chmod(0o555)
    try:
        assert read(tmp_path).person_count == read(tmp_path).person_count == 1
    finally:
        path.parent.chmod(0o755)
    assert len(parses) == 2


def test_nothing_is_kept_of_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = coco_folder(tmp_path)
    parse = JsonSource.parse

    def interrupted(self):
        found = parse(self)
        path.write_text(json.dumps(coco([annotation(), annotation(2)])))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(JsonSource, "parse", interrupted)
        assert read(tmp_path).person_count == 1
    assert not list(path.parent.glob("*.cache"))
    assert read(tmp_path).person_count == 2


def test_sizes_that_came_from_the_images_are_not_kept(tmp_path: Path):
    path = coco_folder(tmp_path, images_=None)
    values = json.loads(path.read_text())
    del values["images"][0]["height"]
    path.write_text(json.dumps(values))
    assert read(tmp_path).size(0) == (100, 200)
    picture(tmp_path / "train/a.png", (50, 60))
    assert read(tmp_path).size(0) == (50, 60)
