"""Dense families learn drawn people from few samples about as well as YOLO-Pose: the same pictures, as many of them.

A further family is one line in FAMILIES. `python -m benchmarks.learning` compares on more pictures and more seeds.
"""

import sys
from pathlib import Path

import pytest
import torch

import train as door
from utils.data.drawing.files import write_split
from utils.data.people import SceneSettings, draw
from utils.training.log import read_results

SIDE, PICTURES, HELD_OUT, EPOCHS = 128, 4000, 300, 3
SLACK = 0.05  # AP that a family may stay behind
FIRST = ("yolov5n6_kpts.yaml", "hyp.people.yaml")
FAMILIES = {  # the smallest network, and a recipe for drawn people
    "kapao": ("kapao_n.yaml", "hyp.people.yaml"),
    "yolox_pose": ("yolox_pose_nano.yaml", "hyp.yolox_pose_people.yaml"),
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one or two large people each, as `python -m utils.data.people --difficulty easy` draws them."""
    folder = tmp_path_factory.mktemp("easy")
    settings = SceneSettings((SIDE, SIDE), "person", "easy")
    for seed, split, count in ((7, "train", PICTURES), (8, "val", HELD_OUT)):
        write_split(folder, split=split, scenes=(draw(seed, i, settings) for i in range(count)), figure="person")
    return folder


@pytest.fixture(scope="module")
def first(people: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    return learned(*FIRST, people, tmp_path_factory.mktemp("first"))


def learned(cfg: str, hyp: str, people: Path, folder: Path) -> float:
    """AP on the held-out pictures after so many epochs of train.py, in this process and on one thread."""
    words = f"--cfg {cfg} --hyp {hyp} --img {SIDE} --batch-size 16 --epochs {EPOCHS} --noval --workers 0 --device cpu"
    threads, typed = torch.get_num_threads(), sys.argv
    torch.set_num_threads(1)
    sys.argv = ["train.py", *words.split(), "--cache", "--data", str(people), "--project", str(folder)]
    try:
        door.main()
    finally:
        torch.set_num_threads(threads)
        sys.argv = typed
    return read_results(folder / "exp" / "results.csv")[-1]["metrics/AP"]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_drawn_people_about_as_well_as_yolo_pose(
    family: str, people: Path, first: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = learned(*FAMILIES[family], people, tmp_path)
    with capsys.disabled():
        print(f"\nAP after {EPOCHS * PICTURES} samples: yolo_pose {first:.3f}, {family} {found:.3f}")
    assert first > SLACK  # or nobody could stay behind
    assert found >= first - SLACK
