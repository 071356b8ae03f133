"""Two thousand damaged labels and images: no crash, nothing dropped in silence, every one named once."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.makers import HAND, txt_folder
from utils.data.annotations import DataSpec, without_missing
from utils.data.checking.findings import person_problems, placer
from utils.data.checking.pictures import look_at_images
from utils.data.records import Wanted

GOOD = "0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.45 0.6 2 0.55 0.5 1"
LABELS, PICTURES = 1400, 600


def damaged_label(rng: np.random.Generator) -> tuple[bytes, int, int]:
    """A label file, how many usable rows it has, and how many problems must be named."""
    words = GOOD.split()
    place = int(rng.integers(1, len(words)))

    def put(word: str) -> bytes:
        return " ".join([*words[:place], word, *words[place + 1 :]]).encode()

    good = GOOD.encode()
    kinds = [
        (b" ".join(good.split()[: rng.integers(1, 14)]), 0, 1),  # too few columns (11 would be x y pairs: see below)
        (good + b" 0.5" * int(rng.integers(1, 30)), 0, 1),
        (put("nan"), 0, 1),
        (put("-inf"), 0, 1),
        (put("0,5"), 0, 1),
        (put("1e400"), 0, 1),
        (b"0 -0.5 0.5 0.2 0.4 " + b" ".join(good.split()[5:]), 0, 1),
        (b"0 0.5 1.5 0.2 0.4 " + b" ".join(good.split()[5:]), 0, 1),
        (b"0 0.5 0.5 0.2 0 " + b" ".join(good.split()[5:]), 0, 1),
        (b"0 320 240 40 60 " + b" ".join(good.split()[5:]), 0, 1),
        (b"7 " + good[2:], 0, 1),
        (good[:-1] + b"5", 0, 1),
        (good[:-10] + b"1.5 0.5 1", 1, 1),  # a keypoint outside: the person stays
        (good + b"\n" + good, 1, 1),
        (b"\xff\xfe" + good, 0, 1),
        (bytes(rng.integers(128, 192, 80, dtype=np.uint8)), 0, 1),
        (b"\0" * int(rng.integers(1, 40)), 0, 1),
        # not damaged, only odd
        (b"\xef\xbb\xbf" + good + b"\r\n", 1, 0),
        (b"\r\n\r\n" + good + b"\r\r", 1, 0),
        (b"", 0, 0),
        (b"  \n\t\n", 0, 0),
    ]
    data, usable, problems = kinds[int(rng.integers(len(kinds)))]
    return (data, usable, problems) if len(data.split()) != 11 else (b"0 1", 0, 1)


def damaged_picture(rng: np.random.Generator, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """An image file that no decoder can read to its end."""
    suffix = str(rng.choice(sorted(whole)))
    data = whole[suffix]
    kinds = [
        data[: int(rng.integers(0, len(data) - 20))],
        b"",
        bytes(rng.integers(0, 256, 200, dtype=np.uint8)),
        b"<html>404 not found</html>",
        b"\0" * 500,
        data[:2] + bytes(len(data) - 2),
    ]
    return suffix, kinds[int(rng.integers(len(kinds)))]


@pytest.fixture(scope="module")
def encoded() -> dict[str, bytes]:
    picture = np.random.default_rng(1).integers(0, 255, (100, 200, 3), np.uint8)
    return {suffix: cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".jpg", ".png")}


def test_two_thousand_damaged_files_are_each_named_once(tmp_path: Path, encoded: dict[str, bytes]):
    rng = np.random.default_rng(2026)
    txt_folder(tmp_path)
    images, labels = tmp_path / "images/train", tmp_path / "labels/train"
    expected: Counter[str] = Counter()
    usable_rows = 0
    for number in range(LABELS):
        data, usable, problems = damaged_label(rng)
        # Every picture differs in its last byte, so that none of them is a double.
        (images / f"{number}.png").write_bytes(encoded[".png"] + number.to_bytes(2, "big"))
        (labels / f"{number}.txt").write_bytes(data)
        usable_rows += usable
        if problems:
            expected[str(labels / f"{number}.txt")] += problems
    for number in range(LABELS, LABELS + PICTURES):
        suffix, data = damaged_picture(rng, encoded)
        (images / f"{number}{suffix}").write_bytes(data)
        (labels / f"{number}.txt").write_text(GOOD)
        expected[str(images / f"{number}{suffix}")] += 1

    data = DataSpec.read(tmp_path)
    records = without_missing(data.readable_records("train"))
    found = list(records.problems)
    found += [look.problem for look in look_at_images(records, quick=False) if look.problem]
    found += person_problems(records, data.schema, placer(records, None, Wanted(data.classes, HAND.count)))

    named = Counter(_file(problem.where) for problem in found)
    assert named == expected
    whole = {str(images / f"{number}.png") for number in range(LABELS)}
    rows = sum(len(records.persons(i)) for i in range(len(records)) if records.path(i) in whole)
    assert rows == usable_rows
    assert all(problem.found and problem.expected for problem in found)


def _file(where: str) -> str:
    """The file of `file:line`."""
    head, _, line = where.rpartition(":")
    return head if line.isdigit() else where


def test_noise_in_a_label_file_never_crashes(tmp_path: Path, encoded: dict[str, bytes]):
    """Bytes exchanged, cut out and doubled in a good file: whatever is left is read or named."""
    rng = np.random.default_rng(7)
    txt_folder(tmp_path)
    good = (GOOD + "\n" + GOOD.replace("0.2", "0.3") + "\n").encode()
    for number in range(300):
        data = bytearray(good)
        for _ in range(int(rng.integers(1, 6))):
            place = int(rng.integers(len(data)))
            data[place : place + int(rng.integers(0, 4))] = bytes(
                rng.integers(0, 256, int(rng.integers(0, 4)), np.uint8)
            )
        (tmp_path / f"images/train/{number}.png").write_bytes(encoded[".png"])
        (tmp_path / f"labels/train/{number}.txt").write_bytes(data)
    records = DataSpec.read(tmp_path).readable_records("train")
    assert len(records) + sum(problem.kind == "unreadable labels" for problem in records.problems) == 301
    assert np.isfinite(records.boxes).all()
    assert np.isfinite(records.keypoints).all()
