"""The four families of single persons learn from drawn people, and find people whom they have never seen.

    python -m pytest -s -m slow tests/training/test_learn_top_down.py

prints the table of docs/top_down.md. Each training takes minutes of one core.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.core.config import ROOT, find, read_yaml, to_yaml
from utils.core.flags import EXAMPLE_WEIGHTS

IMAGES, HELD_OUT = 1000, 200
# AP in annotated boxes that each must reach; docs/top_down.md has what they did.
LEAST = {"hrnet_w18": 0.15, "simdr_w8": 0.03}

pytestmark = pytest.mark.slow


def command(*words: object) -> str:
    made = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `python -m utils.data.people --count 1000 --held-out 200` writes it."""
    folder = tmp_path_factory.mktemp("people")
    command("-m", "utils.data.people", "--count", IMAGES, "--held-out", HELD_OUT, "--out", folder)
    own = {key: value for key, value in read_yaml(find("people.yaml")).items() if key not in ("path", "fetch")}
    (folder / "people.yaml").write_text(to_yaml(own))
    return folder / "people.yaml"


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Weights of a family, trained when somebody asks for the first time."""
    folder = tmp_path_factory.mktemp("runs")

    def weights(name: str) -> Path:
        best = folder / name / "weights" / "best.safetensors"
        if not best.exists():
            recipe = ("--hyp", "hyp.people_crops.yaml", "--cache", "--workers", 0, "--device", "cpu")
            words = ("--cfg", f"{name}_128x96.yaml", "--data", data, *recipe, "--project", folder, "--name", name)
            command("train.py", *words)
        return best

    return weights


def numbers(folder: Path, *words: object) -> dict[str, float]:
    """What val.py writes of its official numbers."""
    common = ("--workers", 0, "--device", "cpu", "--no-plots", "--project", folder, "--name", "look", "--exist-ok")
    command("val.py", *words, *common)
    return json.loads((folder / "look" / "metrics.json").read_text())["numbers"]


def line(what: str, found: dict[str, float]) -> str:
    return f"{what:<40} " + " ".join(f"{name} {found[name]:.3f}" for name in ("AP", "AP50", "AP75", "AR"))


@pytest.mark.parametrize("name", LEAST)
def test_people_who_were_never_seen_are_found_in_their_boxes(
    name: str, data: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    found = numbers(tmp_path, "--weights", trained(name), "--data", data)
    print("\n" + line(f"{name}, annotated boxes", found))
    assert found["AP"] >= LEAST[name]


def test_two_stages_find_them_from_pixels(data: Path, trained: Callable[[str], Path], tmp_path: Path) -> None:
    """The embedded detector's boxes through val.py, as a detection file; and both networks behind detect.py."""
    detector = ("--weights", ROOT / EXAMPLE_WEIGHTS, "--data", data, "--img", 256, "--conf-thres", 0.1)
    print("\n" + line("detector, its own keypoints", numbers(tmp_path / "detector", *detector, "--save-json")))
    boxes = tmp_path / "detector" / "look" / "boxes_val.json"
    second = ("--weights", trained("hrnet_w18"), "--data", data, "--det-file", boxes)
    found = {}
    for how, flags in (("", ()), (", soft rivals", ("--soft-rivals",)), (", in the mirror too", ("--flips", -1, 3))):
        extra = (*flags, *(("--scales", 1, 1) if "--flips" in flags else ()))
        found[how] = numbers(tmp_path / "second", *second, *extra)
        print(line(f"hrnet in the detector's boxes{how}", found[how]))
    assert found[""]["AP"] >= 0.8 * LEAST["hrnet_w18"]
    words = ("--det-model", ROOT / EXAMPLE_WEIGHTS, "--pose-model", trained("hrnet_w18"), "--img-size", 256)
    said = command("detect.py", "--source", data.parent / "val", *words, "--project", tmp_path, "--name", "drawn")
    assert f"on {HELD_OUT} frames" in said
