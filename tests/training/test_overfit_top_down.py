"""Top-down families learn four drawn images with eight people by heart: from files through crops and losses to AP."""

import pytest
import torch

from models.build import load
from models.layers import fused
from utils.core.config import find, read_yaml, to_yaml
from utils.core.images import to_unit
from utils.data.annotations import DataSpec
from utils.data.drawing.files import write_split
from utils.data.loader import Loading, evaluation_loader, training_loader
from utils.data.people import SceneSettings, draw
from utils.data.recipe import Augment
from utils.evaluation.evaluator import Evaluator
from utils.inference.predictor import OneStage

IMAGES, PEOPLE = 4, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """Four pictures of two people each."""
    folder = tmp_path_factory.mktemp("drawn")
    scenes = (draw(0, number, SceneSettings()) for number in range(100))
    chosen = [scene for scene in scenes if len(scene.boxes) == PEOPLE // IMAGES][:IMAGES]
    write_split(folder, split="train", scenes=iter(chosen), figure="person")
    split = {"images": "train", "annotations": "train.json"}
    own = {key: value for key, value in read_yaml(find("people.yaml")).items() if key not in ("path", "fetch")}
    (folder / "people.yaml").write_text(to_yaml(own | {"train": split, "val": split}))
    return DataSpec.read(folder / "people.yaml")


@pytest.mark.parametrize(
    ("cfg", "rate", "steps"),
    [
        ("simdr_w8_128x96.yaml", 0.004, 120),
        pytest.param("hrnet_w18_128x96.yaml", 0.01, 120, marks=pytest.mark.slow),
        pytest.param("udp_w18_128x96.yaml", 0.01, 150, marks=pytest.mark.slow),
        pytest.param("rle_w8_128x96.yaml", 0.01, 400, marks=pytest.mark.slow),
    ],
)
def test_eight_drawn_people_are_learned_to_an_ap_of_one(data: DataSpec, cfg: str, rate: float, steps: int) -> None:
    torch.manual_seed(0)
    model = load(cfg, schema=data.schema).train()
    records, coding = data.records("train"), model.coding
    still = Augment(rotation_chance=0.0)
    [batch] = training_loader(records, model.spec, still, Loading(PEOPLE, workers=0), coding=coding).epoch(0)
    assert len(records) == IMAGES and len(batch.origins) == PEOPLE
    evaluator = Evaluator(
        evaluation_loader(records, model.spec, Loading(PEOPLE, workers=0), coding=coding),
        data.ground_truth("train"), schema=data.schema, category_ids=data.category_ids("train"), rivals=model.rivals,
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1, final_div_factor=1000)
    # At the end the weights hardly move, so that the statistics of the one batch are those that evaluation uses.
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack(list(model.loss(model(to_unit(batch.images)), batch.targets, 0.0).values())).sum().backward()
        optimizer.step()
        schedule.step()
    assert evaluator(OneStage(fused(model.eval())).poses_of).ap == pytest.approx(1.0)
