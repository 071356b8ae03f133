"""The figures of the top-down models, as their projects published them."""

import json
from pathlib import Path

import pytest

from models.build import load
from models.summary import summarise

GI = 2**30 / 1e9  # the published "GFLOPs" count multiply-adds by 2 to the 30th


@pytest.mark.parametrize(
    ("yaml", "recorded", "millions", "billions"),
    [
        ("hrnet_w32_256x192.yaml", "PoseHRNet-w32-256x192", 29, 7),
        ("hrnet_w48_256x192.yaml", "PoseHRNet-w48-256x192", 64, 15),
        ("simdr_w32_256x192.yaml", "SimDR-w32-256x192", 31, 7),
        ("simdr_w48_256x192.yaml", "SimDR-w48-256x192", 66, 15),
        ("udp_psa_w48_256x192.yaml", None, 70, 16),
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(
    shared: Path, yaml: str, recorded: str | None, millions: int, billions: int
) -> None:
    found = summarise(load(yaml))
    assert round(found.params / 1e6) == millions
    assert round(found.gmacs / GI) == billions
    if recorded is not None:
        facts = json.loads((shared / "fixtures/topdown/public/stats.json").read_text())[recorded]
        assert found.params == facts["params"]
        assert found.gmacs == pytest.approx(facts["gmacs"], rel=0.005)  # ours counts added biases too
