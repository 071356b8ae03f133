"""The figures of the top-down models, as their projects published them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import families
from models.build import load, read_model_yaml
from models.summary import summarise

YAMLS = {"PoseHRNet": "hrnet_w32_256x192.yaml", "SimDR": "simdr_w32_256x192.yaml"}
TABLE = ("PoseHRNet-w32-256x192", "PoseHRNet-w48-256x192", "SimDR-w32-256x192", "SimDR-w48-256x192")
MORE = (
    *(f"PoseHRNet-w{width}-{size}" for width in (8, 18) for size in ("256x192", "384x288")),
    *("PoseHRNet-w32-384x288", "PoseHRNet-w48-384x288", "SimDR-w8-256x192"),
)


def test_the_published_table_is_the_recorded_one_in_round_numbers(shared: Path) -> None:
    """Millions of parameters, and billions of multiply-adds that count 2 to the 30th."""
    recorded = json.loads((shared / "fixtures/topdown/public/stats.json").read_text())
    found = [(round(recorded[name]["params"] / 1e6), round(recorded[name]["gmacs_gi"])) for name in TABLE]
    assert found == [(29, 7), (64, 15), (31, 7), (66, 15)]


def test_attention_in_all_blocks_makes_it_the_size_of_the_published_row() -> None:
    found = summarise(load("udp_psa_w48_256x192.yaml"))
    assert round(found.params / 1e6) == 70 and round(found.gmacs * 1e9 / 2**30) == 16


@pytest.mark.parametrize("recorded", [*TABLE, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_parameters_and_multiply_adds_are_the_originals_to_the_last_one(shared: Path, recorded: str) -> None:
    """Ours are of the fused network: each normalisation is a bias there, and one more addition for each value."""
    facts = json.loads((shared / "fixtures/topdown/public/stats.json").read_text())[recorded]
    kind, width, size = recorded.split("-")
    spec = read_model_yaml(YAMLS[kind])
    height, across = (int(side) for side in size.split("x"))
    head = {**spec.head, "width": int(width[1:])}
    with torch.device("meta"):  # shapes without numbers
        model = families.find(spec.family)(replace(spec, head=head, input_size=(height, across))).eval()
        found = summarise(model)
    biases = facts["bn_flops"] // 2 + spec.schema.count * (height // 4) * (across // 4)
    assert found.params == facts["params"]
    assert round(found.gmacs * 1e9) == facts["conv_macs"] + facts["linear_macs"] + biases
    assert len(model.state_dict()) == facts["tensors"]
