"""Parameters and GMACs of the published table, printed by the summary."""

import json
import subprocess
import sys

import pytest
import torch

from models.build import load
from models.layers import fused
from models.summary import as_text, summarise
from utils.core.config import ROOT
from utils.core.schema import KeypointSchema

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


# GMACs of the convolutions alone at 1280, parameters, and those with the normalisations folded in, as counted in the
# original KAPAO for COCO; then GMACs and parameters for CrowdPose.
KAPAO = [
    ("kapao_s", "xpose_l", 34.161, 12_559_980, 12_545_740, 34.007, 12_525_312),
    ("kapao_m", "xpose_p", 103.820, 35_755_404, 35_727_996, 103.588, 35_703_456),
    ("kapao_l", "xpose_m", 234.090, 77_047_852, 77_003_244, 233.780, 76_978_624),
]


@pytest.mark.parametrize(("name", "alias", "gmacs", "params", "folded", "crowd_gmacs", "crowd_params"), KAPAO)
def test_kapao_has_the_parameters_and_the_convolutions_of_the_original(
    name: str, alias: str, gmacs: float, params: int, folded: int, crowd_gmacs: float, crowd_params: int
) -> None:
    with torch.device("meta"):  # shapes without numbers
        network, other = load(name), load(alias)
        crowd = load(name, schema=KeypointSchema.read("crowdpose.yaml"), classes=("person",))
        assert [count(model) for model in (network, other, crowd)] == [params, params, crowd_params]
        assert count(fused(network)) == folded
        assert multiplies(network) / 1e9 == pytest.approx(gmacs, abs=5e-4)
        assert multiplies(crowd) / 1e9 == pytest.approx(crowd_gmacs, abs=5e-4)


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def multiplies(model: torch.nn.Module) -> int:
    """Of all convolutions, for one input of 1280 x 1280."""
    seen: list[int] = []
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(lambda conv, _, output: seen.append(output.numel() * conv.weight[0].numel()))
    model(torch.empty(1, 3, 1280, 1280, device="meta"))
    return sum(seen)


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
