"""The figures of the top-down models, as their projects published them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models import families
from models.build import load, read_model_yaml
from models.summary import summarise

GI = 2**30 / 1e9  # the published "GFLOPs" count multiply-adds by 2 to the 30th
YAMLS = {"PoseHRNet": "hrnet_w32_256x192.yaml", "SimDR": "simdr_w32_256x192.yaml"}
RECORDED = (
    *(f"PoseHRNet-w{width}-{size}" for width in (8, 18, 32, 48) for size in ("256x192", "384x288")),
    *(f"SimDR-w{width}-256x192" for width in (8, 32, 48)),
)


@pytest.mark.parametrize(
    ("yaml", "millions", "billions"),
    [
        ("hrnet_w32_256x192.yaml", 29, 7),
        ("hrnet_w48_256x192.yaml", 64, 15),
        ("simdr_w32_256x192.yaml", 31, 7),
        ("simdr_w48_256x192.yaml", 66, 15),
        ("udp_psa_w48_256x192.yaml", 70, 16),
    ],
)
def test_parameters_and_multiply_adds_are_those_of_the_published_table(yaml: str, millions: int, billions: int) -> None:
    found = summarise(load(yaml))
    assert round(found.params / 1e6) == millions
    assert round(found.gmacs / GI) == billions


@pytest.mark.parametrize("recorded", RECORDED)
def test_parameters_and_multiply_adds_are_the_originals_to_the_last_one(shared: Path, recorded: str) -> None:
    """Ours are of the fused network: each normalisation is a bias there, and one more addition for each value."""
    facts = json.loads((shared / "fixtures/topdown/public/stats.json").read_text())[recorded]
    kind, width, size = recorded.split("-")
    spec = read_model_yaml(YAMLS[kind])
    height, across = (int(side) for side in size.split("x"))
    head = {**spec.head, "width": int(width[1:])}
    model = families.find(spec.family)(replace(spec, head=head, input_size=(height, across))).eval()
    found = summarise(model)
    biases = facts["bn_flops"] // 2 + spec.schema.count * (height // 4) * (across // 4)
    assert found.params == facts["params"]
    assert round(found.gmacs * 1e9) == facts["conv_macs"] + facts["linear_macs"] + biases
    assert len(model.state_dict()) == facts["tensors"]
