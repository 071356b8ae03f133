"""5, labels: every mistake is named with file and line, odd files are read as meant, and no byte changes unnoticed."""

import os
from pathlib import Path

import pytest

from tests.data.makers import picture, txt_folder
from utils.data.annotations import DataSpec

GOOD = "0 0.5 0.5 0.2 0.4 0.5 0.4 2 0 0 0 0.6 0.5 1"
OTHER = GOOD.replace("0.2 0.4", "0.3 0.4")
MISTAKES = {  # a second row, and what stands in the report about it
    "NaN": (GOOD.replace("0.2", "nan"), "'nan' in column 4"),
    "infinite": (GOOD.replace("0.2", "-inf"), "'-inf' in column 4"),
    "negative": (GOOD.replace("0 0.5", "0 -0.5", 1), "box -0.5 0.5"),
    "above one": (GOOD.replace("0 0.5 0.5", "0 0.5 1.5", 1), "box 0.5 1.5"),
    "no extent": (GOOD.replace("0.2 0.4", "0 0.4"), "box of 0 x 0.4"),
    "pixels": (GOOD.replace("0 0.5 0.5 0.2 0.4", "0 320 240 40 60"), "coordinates up to 320"),
    "too few columns": (" ".join(GOOD.split()[:9]), "9 columns"),
    "too many columns": (f"{GOOD} 0.5", "15 columns"),
    "another number of keypoints": (f"{GOOD} 0.5 0.5 2", "17 columns"),
    "unknown class": (f"7{GOOD[1:]}", "class 7; expected 0 to 0"),
    "a word": (GOOD.replace("0.2", "wide"), "'wide'; expected numbers only"),
    "the same row again": (GOOD, "the same as line 1"),
    "a keypoint outside": (OTHER.replace("0.6 0.5 1", "1.6 0.5 1"), "1 labelled keypoints outside the image"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    txt_folder(tmp_path / "data", GOOD)
    return tmp_path / "data"


def put(folder: Path, name: str, data: bytes) -> Path:
    picture(folder / "images" / "train" / f"{name}.png")
    path = folder / "labels" / "train" / f"{name}.txt"
    path.write_bytes(data)
    return path


def test_every_mistake_is_named_with_its_file_and_line(folder: Path) -> None:
    expected = {}
    for number, (row, _) in enumerate(MISTAKES.values()):
        expected[f"{put(folder, f'{number:02d}', f'{GOOD}{chr(10)}{row}{chr(10)}'.encode())}:2"] = number
    problems = DataSpec.read(folder).readable_records("train").problems
    assert sorted(problem.where for problem in problems) == sorted(expected)
    kinds = {expected[problem.where]: str(problem) for problem in problems}
    for number, (name, (_, word)) in enumerate(MISTAKES.items()):
        assert word in kinds[number], name


@pytest.mark.parametrize(
    ("data", "people"),
    [
        (b"", 0), (b"\n \r\n\t\n", 0), (f"{GOOD}\r\n{OTHER}\r\n".encode(), 2), (f"\ufeff{GOOD}\n{OTHER}".encode(), 2),
        (f"{GOOD}\r{OTHER}\r".encode(), 2), (f"\ufeff{GOOD}\r\n\r\n".encode(), 1),
    ],
    ids=["empty", "blank", "crlf", "byte order mark", "cr", "mark and crlf"],
)  # fmt: skip
def test_odd_files_are_read_as_they_are_meant(folder: Path, data: bytes, people: int) -> None:
    put(folder, "odd", data)
    records = DataSpec.read(folder).readable_records("train")
    index = next(i for i in range(len(records)) if records.name(i).endswith("odd.png"))
    assert not records.problems and len(records.persons(index)) == people


def test_no_byte_of_a_label_changes_unnoticed_whatever_the_clock_says(folder: Path) -> None:
    """The size and the time of the file stay as they were; only its content differs."""
    path = folder / "labels" / "train" / "a.txt"
    whole = path.read_bytes()
    for other in (folder / "images", folder / "labels"):  # older than the clock's tick, so that times are believed
        for file in other.rglob("*.*"):
            os.utime(file, (1_700_000_000, 1_700_000_000))

    def read() -> tuple[object, ...]:
        records = DataSpec.read(folder).readable_records("train")
        return (records.boxes.tolist(), records.keypoints.tolist(), records.visibility.tolist(),
                records.classes.tolist(), [str(problem) for problem in records.problems])  # fmt: skip

    first = read()
    for place in range(len(whole) - 1):
        changed = bytearray(whole)
        changed[place] = ord("7") if changed[place] != ord("7") else ord("3")
        path.write_bytes(changed)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert read() != first, f"byte {place} of {bytes(changed)!r}"
    path.write_bytes(whole)
    assert read() == first
