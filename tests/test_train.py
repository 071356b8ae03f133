"""python train.py, as users run it."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.build import load
from tests.test_val import command, run
from utils.core.checkpoint import load_state
from utils.core.config import ROOT, read_yaml, write_yaml
from utils.training.log import read_results

QUICK = ("--cfg", "yolov5n6_kpts.yaml", "--img", 64, "--batch-size", 4, "--workers", 0, "--device", "cpu")

FILES = (
    "opt.yaml", "hyp.yaml", "results.csv", "results.png", "report.html", "labels.jpg", "train_batch0.jpg",
    "train_batch1.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg", "metrics.json", "errors.png", "people.png",
    "precision_recall.png", "worst.jpg", "best.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photographs to learn from and four to judge by."""
    source, folder = shared / "data" / "coco_people", tmp_path_factory.mktemp("people")
    for split, count in (("train", 8), ("val", 4)):
        values = json.loads((source / "annotations" / f"{split}.json").read_text())
        values["images"] = values["images"][:count]
        ids = {image["id"] for image in values["images"]}
        values["annotations"] = [one for one in values["annotations"] if one["image_id"] in ids]
        (folder / f"{split}.json").write_text(json.dumps(values))
    coco = read_yaml(ROOT / "data" / "coco_kpts.yaml")
    own = {split: {"images": str(source / split), "annotations": f"{split}.json"} for split in ("train", "val")}
    keypoints = {name: coco[name] for name in ("classes", "keypoints", "skeleton")}
    write_yaml(folder / "people.yaml", {"path": str(folder), **own, **keypoints})
    return folder / "people.yaml"


def train(*arguments: object, door: str = "train.py") -> tuple[int, str, str]:
    return run(*arguments, door=door)


def test_a_model_is_trained_and_its_folder_says_how(data: Path, tmp_path: Path) -> None:
    status, _, log = train(*QUICK, "--data", data, "--epochs", 2, "--seed", 3, "--project", tmp_path)
    assert status == 0, log
    folder = tmp_path / "exp"
    assert set(FILES) <= {path.name for path in folder.iterdir()}
    page = (folder / "report.html").read_text()
    assert page.count("data:image/") == page.count("<figure><img") >= 8 and "the worst met people" in page
    assert read_yaml(folder / "hyp.yaml")["seed"] == 3 and read_yaml(folder / "opt.yaml")["data"] == str(data)
    rows = read_results(folder / "results.csv")
    assert [row["epoch"] for row in rows] == [0, 1] and {"train/keypoint", "metrics/AP"} <= set(rows[0])
    assert load(folder / "weights" / "best.safetensors").spec.input_size == (64, 64)
    assert "epoch 1/1  loss" in log and "waiting for data" in log


def test_a_run_that_is_told_to_stop_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    options = (*QUICK, "--data", data, "--epochs", 3, "--project", tmp_path)
    assert train(*options, "--name", "whole")[0] == 0
    process = command(*options, "--name", "parts", door="train.py")
    deadline = time.monotonic() + 120
    while not (tmp_path / "parts" / "results.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    status, _, log = train("--resume", tmp_path / "parts" / "weights" / "last.pt", "--device", "cpu")
    assert status == 0, log
    whole, parts = (load_state(tmp_path / name / "weights" / "last.pt") for name in ("whole", "parts"))
    for kind in ("model", "ema"):
        assert all((whole[kind][name] == parts[kind][name]).all() for name in whole[kind])
    assert len(read_results(tmp_path / "parts" / "results.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cfg", "yolov5n7_kpts.yaml"), "did you mean 'yolov5n6_kpts.yaml'?"),
        (("--freeze", 99), "freeze: 99 found; this network has 33 layers"),
        (("--precision", "fp16"), "precision: fp16 needs a GPU"),
        (("--resume", "no.pt"), "no.pt: no such file"),
        (("--batch-size", -1), "--batch-size -1: found the device cpu; what fits can only be measured on a GPU"),
        (("--rect",), "--rect: mosaics are square, and so are training batches; val.py has --rect"),
        (("--val-flips", 3, 3), "--flips: 2 values but 1 --scales"),
    ],
)
def test_a_mistake_is_one_line(data: Path, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    status, _, log = train(*QUICK, "--data", data, "--project", tmp_path, *arguments)
    assert status == 2 and message in log and "Traceback" not in log
    assert not any(tmp_path.glob("exp/weights/*.safetensors"))


def test_a_recipe_with_a_misspelt_key_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("lr0: 0.01\nmosaics: 1.0\n")
    status, _, log = train(*QUICK, "--data", data, "--project", tmp_path, "--hyp", tmp_path / "my.yaml")
    assert status == 2 and "no key 'mosaics'; did you mean 'mosaic'?" in log


def test_help_answers_without_loading_torch() -> None:
    program = (
        "import sys; sys.argv = ['train.py', '--help']\ntry: import train; train.parse()\nexcept SystemExit: pass\n"
    )
    program += "assert 'torch' not in sys.modules and 'cv2' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--freeze N" in done.stdout and "--linear-lr" in done.stdout


def test_two_processes_train_one_run(data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--epochs", 1, "--project", tmp_path, "--name", "both")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ("--master_port", free.getsockname()[1])
    status, _, log = train(
        "torch.distributed.run", "--nproc_per_node", 2, *place, "train.py", *QUICK, *options, door="-m"
    )
    assert status == 0, log
    assert [path.name for path in tmp_path.iterdir()] == ["both"]
    assert set(FILES) - {"train_batch1.jpg"} <= {path.name for path in (tmp_path / "both").iterdir()}
    assert len(read_results(tmp_path / "both" / "results.csv")) == 1
    assert len(load_state(tmp_path / "both" / "weights" / "last.pt")["ranks"]) == 2


@pytest.mark.slow
def test_recipes_evolve_in_short_runs_and_a_stopped_evolution_goes_on(data: Path, tmp_path: Path) -> None:
    options = (*QUICK, "--data", data, "--epochs", 1, "--project", tmp_path, "--exist-ok", "--nosave", "--notest")
    assert train(*options, "--evolve", 1)[0] == 0
    status, _, log = train(*options, "--evolve", 2)
    assert status == 0, log
    assert "recipe 2 of 2" in log and "recipe 1 of" not in log
    rows = (tmp_path / "exp" / "evolve.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("generation,fitness,lr0,")
    assert read_yaml(tmp_path / "exp" / "hyp_evolved.yaml")["mosaic"] > 0
