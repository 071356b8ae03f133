"""python val.py, as users run it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.core.config import ROOT

VARIABLES = {"WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}


def command(*arguments: object, door: str = "val.py", **environment: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    words = [sys.executable, door, *map(str, arguments)]
    return subprocess.Popen(
        words, cwd=ROOT, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*arguments: object, door: str = "val.py") -> tuple[int, str, str]:
    """Status, what was printed, and what was logged."""
    process = command(*arguments, door=door)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six photographs that come first in a set, as a data set of their own with val and test."""
    source = shared / "data" / "coco_people"
    values = json.loads((source / "annotations" / "val.json").read_text())
    chosen = values["images"][:6]
    ids = {image["id"] for image in chosen}
    own = [annotation for annotation in values["annotations"] if annotation["image_id"] in ids]
    folder = tmp_path_factory.mktemp("six photographs")
    (folder / "val.json").write_text(json.dumps(values | {"images": chosen, "annotations": own}))
    (folder / "test.json").write_text(json.dumps(values | {"images": chosen, "annotations": []}))
    yaml = (ROOT / "data" / "coco_kpts.yaml").read_text().partition("classes:")
    images = json.dumps(str(source / "val"))
    splits = f"val: {{images: {images}, annotations: val.json}}\ntest: {{images: {images}, annotations: test.json}}\n"
    (folder / "six.yaml").write_text(splits + "".join(yaml[1:]))
    return folder / "six.yaml"


@pytest.fixture(scope="module")
def arguments(shared: Path, data: Path) -> tuple[object, ...]:
    weights = shared / "fixtures" / "yolo_pose" / "public" / "ckpt" / "tiny_s6_last.pt"
    small = ("--img", 128, "--batch-size", 4, "--workers", 0, "--device", "cpu", "--max-det", 20)
    return ("--weights", weights, "--data", data, *small)


def test_the_numbers_are_printed_and_everything_else_lies_in_the_run_folder(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    wanted = ("--project", tmp_path, "--save-json", "--save-txt", "--verbose", "--kpt-label")
    status, out, err = run(*arguments, *wanted)
    assert status == 0, err
    assert out.split()[:10] == [
        "AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large"
    ]  # fmt: skip
    assert "6 images" in out and "ms per image" in out and "left_wrist" in out
    assert "--kpt-label is no longer needed" in err and "Traceback" not in err
    folder = tmp_path / "exp"
    for name in ("metrics.json", "poses_val.json", "errors.png", "people.png", "precision_recall.png"):
        assert (folder / name).stat().st_size > 100
    assert {tuple(row) for row in json.loads((folder / "boxes_val.json").read_text())} == {
        ("image_id", "category_id", "bbox", "score")
    }
    assert len(list((folder / "labels").glob("*.txt"))) == 6
    assert json.loads((folder / "metrics.json").read_text())["counts"]["poses"] == 120
    assert {len(row["keypoints"]) for row in json.loads((folder / "poses_val.json").read_text())} == {3 * 17}


def test_two_processes_and_the_reference_give_what_one_gives(arguments: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*arguments, "--project", tmp_path / "one", "--save-json", "--no-plots")[0] == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    wanted = ("--project", tmp_path / "two", "--save-json", "--no-plots", "--evaluator", "reference")
    started = [command(*arguments, *wanted, RANK=str(rank), **meeting) for rank in range(2)]
    printed = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], printed
    assert printed[1][0] == ""  # the second process keeps quiet
    one, two = (json.loads((tmp_path / name / "exp" / "metrics.json").read_text()) for name in ("one", "two"))
    assert one["numbers"] == pytest.approx(two["numbers"], abs=1e-9)
    assert one["counts"] == two["counts"] and one["keypoints"] == two["keypoints"]
    rows = [(tmp_path / name / "exp" / "poses_val.json").read_text() for name in ("one", "two")]
    assert rows[0] == rows[1]


def test_the_task_test_writes_a_results_file_and_evaluates_nothing(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    status, out, err = run(*arguments, "--project", tmp_path, "--task", "test", door="test.py")
    assert status == 0, err
    assert out == ""
    names = {path.name for path in (tmp_path / "exp").iterdir()}
    # No labels: a server has them. The boxes are for --det-file.
    assert names == {"poses_test.json", "boxes_test.json", "val_batch0_pred.jpg", "val_batch1_pred.jpg"}


def test_custom_sigmas_views_and_one_class_change_what_is_counted(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    plain = run(*arguments, "--project", tmp_path, "--name", "plain", "--no-plots")
    wide = run(*arguments, "--project", tmp_path, "--name", "wide", "--sigmas", 3, "--augment", "--single-cls")
    assert plain[0] == wide[0] == 0, wide[2]
    found = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "wide")]
    ap = [values["numbers"]["AP50"] for values in found]
    assert ap[1] > ap[0] + 0.1  # with such tolerance nearly everything is found
    assert (tmp_path / "wide" / "val_batch1_pred.jpg").exists() and not list((tmp_path / "plain").glob("*.jpg"))


def test_the_task_speed_prints_milliseconds(arguments: tuple[object, ...], tmp_path: Path) -> None:
    status, out, err = run(*arguments, "--project", tmp_path, "--task", "speed", "--rect")
    assert status == 0, err
    assert out.startswith("ms per image: loading") and "(6 images)" in out
    assert not list(tmp_path.iterdir())


def test_the_task_study_prints_a_line_for_every_size(arguments: tuple[object, ...], tmp_path: Path) -> None:
    status, out, err = run(*arguments, "--task", "study", "--scales", 1, 0.5, "--flips", 3, -1)
    assert status == 0, err
    assert [line.split(":")[0] for line in out.splitlines()] == ["64 x 64", "128 x 128", "192 x 192"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (("--evaluator", "hotcooc"), "evaluator 'hotcooc' found; expected fast or reference"),
        (("--img", "100"), "input size (100, 100): both sides must be multiples of 64"),
        (("--task", "train"), "no split 'train' (val, test)"),
        (("--sigmas", "0.1", "0.2"), "--sigmas: found 2; expected 1 or 17 numbers above 0"),
        (("--flips", "3", "3"), "--flips: 2 values but 1 --scales; give one flip for each scale"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(
    arguments: tuple[object, ...], tmp_path: Path, wanted: tuple[str, ...], sentence: str
) -> None:
    status, out, err = run(*arguments, "--project", tmp_path, *wanted)
    assert status == 2 and out == ""
    assert sentence in err.splitlines()[-1] and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_help_answers_at_once() -> None:
    start = time.monotonic()
    status, out, _ = run("--help")
    assert status == 0 and "--conf-thres" in out and "--flips" in out
    assert time.monotonic() - start < 2  # importing torch alone takes as long
