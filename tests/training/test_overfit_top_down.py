"""Top-down families learn eight drawn people by heart: from files through crops and losses to AP."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from models.build import load
from models.layers import fused
from utils.core.config import ROOT, read_yaml, write_yaml
from utils.core.images import to_unit
from utils.data.annotations import DataSpec
from utils.data.loader import Loading, evaluation_loader, training_loader
from utils.data.recipe import Augment
from utils.evaluation.evaluator import RIVALS, Evaluator
from utils.inference.predictor import OneStage

PEOPLE = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """As many drawn images as show eight people."""
    folder = tmp_path_factory.mktemp("drawn")
    for count in range(2, 9):
        command = [sys.executable, "-m", "utils.data.people", "--out", str(folder / str(count)), "--count", str(count)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        values = read_yaml(ROOT / "data" / "people.yaml")
        [annotations] = (folder / str(count)).glob("*.json")
        split = {"images": annotations.stem, "annotations": annotations.name}
        values |= {"path": str(folder / str(count)), "train": split, "val": split}
        write_yaml(folder / "people.yaml", {key: value for key, value in values.items() if key != "fetch"})
        spec = DataSpec.read(folder / "people.yaml")
        if len(spec.records("train").boxes) >= PEOPLE:
            return spec
    raise AssertionError("eight drawn images show fewer than eight people")


@pytest.mark.slow
@pytest.mark.parametrize(("cfg", "rate"), [("hrnet_w8_128x96.yaml", 0.005), ("simdr_w8_128x96.yaml", 0.002)])
def test_eight_drawn_people_are_learned_to_an_ap_of_one(data: DataSpec, cfg: str, rate: float) -> None:
    torch.manual_seed(0)
    model = load(cfg, schema=data.schema).train()
    records = data.records("train")
    loader = training_loader(records, model.spec, Augment(rotation_chance=0.0), Loading(len(records.boxes), workers=0))
    [batch] = loader.epoch(0)
    evaluator = Evaluator(
        evaluation_loader(records, model.spec, Loading(8, workers=0)),
        data.ground_truth("train"), schema=data.schema, category_ids=data.category_ids("train"), rivals=RIVALS,
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scores: list[float] = []
    for step in range(1, 601):
        for group in optimizer.param_groups:
            group["lr"] = rate if step < 450 else rate / 10
        optimizer.zero_grad()
        torch.stack(list(model.loss(model(to_unit(batch.images)), batch.targets, 0.0).values())).sum().backward()
        optimizer.step()
        if step % 50 == 0:
            scores.append(evaluator(OneStage(fused(model)).poses_of).ap)
            model.train()
            if scores[-1] == pytest.approx(1.0):
                break
    assert scores[-1] == pytest.approx(1.0), np.round(scores, 3)
