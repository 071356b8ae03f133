"""Parameters and GMACs of the published table, printed by the summary."""

import json
import subprocess
import sys

import pytest

from models.build import load
from models.summary import as_text, summarise
from utils.core.config import ROOT

# GMACs as published by TI; parameters as counted in the original networks.
PUBLISHED = [
    ("yolov5s6_kpts", 640, 10.2, 15_114_860),
    ("yolov5s6_kpts", 960, 22.8, 15_114_860),
    ("yolov5m6_kpts", 960, 66.3, 41_430_924),
    ("yolov5l6_kpts", 960, 145.6, 87_072_812),
    ("yolov5s6_kpts_ti_lite", 640, 8.6, 12_560_328),
    ("yolov5s6_kpts_ti_lite", 960, 19.3, 12_560_328),
    ("yolov5s6_kpts_ti_lite", 1280, 34.4, 12_560_328),
    ("yolov5m6_kpts_ti_lite", 640, 26.1, 35_755_752),
    ("yolov5m6_kpts_ti_lite", 960, 58.7, 35_755_752),
]


@pytest.mark.parametrize(("name", "side", "gmacs", "params"), PUBLISHED)
def test_gmacs_are_the_published_ones_within_seven_in_a_thousand(
    name: str, side: int, gmacs: float, params: int
) -> None:
    summary = summarise(load(name), (side, side))
    assert summary.gmacs == pytest.approx(gmacs, rel=0.007)
    assert summary.params == params


def test_the_parts_add_up_to_the_whole() -> None:
    summary = summarise(load("yolov5n6_kpts"), (384, 640))
    assert sum(part.params for part in summary.parts) == summary.params
    assert sum(part.gmacs for part in summary.parts) == pytest.approx(summary.gmacs)
    assert summary.parts[0].shapes == ((16, 192, 320),)
    assert summary.parts[-1].shapes == tuple((171, 384 // s, 640 // s) for s in (8, 16, 32, 64))


def test_the_table_says_which_activation_and_which_stem() -> None:
    lite = load("yolov5n6_kpts_ti_lite")
    text = as_text("lite", lite, summarise(lite))
    assert "ConvFocus [16, 3] relu" in text and "SPP [256, [3, 5, 7]] silu" in text
    assert "17 keypoints, 1 class (person)" in text and "keypoint_depth=0" in text


def test_the_command_prints_one_json_object(shared) -> None:
    command = [sys.executable, "-m", "models.summary", "yolov5n6_kpts.yaml", "--img", "320", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    assert facts["params"] == summarise(load("yolov5n6_kpts")).params
    assert facts["gmacs"] == pytest.approx(summarise(load("yolov5n6_kpts"), (320, 320)).gmacs)


def test_a_side_that_does_not_fit_the_strides_is_one_line_and_status_2() -> None:
    command = [sys.executable, "-m", "models.summary", "yolov5n6_kpts.yaml", "--img", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --img 300 300: both sides must be multiples of 64\n"
