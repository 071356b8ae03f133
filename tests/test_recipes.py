"""Every recipe in data/hyps: it says how it is used and where it comes from, and all of it is read by somebody."""

import re
from pathlib import Path

import pytest

from models import families
from models.build import read_model_yaml
from utils.core.config import ROOT, read_yaml
from utils.data.recipe import Augment
from utils.training.settings import TrainSettings, share_out

RECIPES = sorted((ROOT / "data" / "hyps").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_begins_with_its_command_its_source_and_what_to_expect(path: Path) -> None:
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert header[0].startswith("# python train.py ") and f"--hyp {path.name}" in header[0]
    assert header[1].startswith("# From: ")
    assert re.search(r"AP|[Ee]xpect", " ".join(header[1:]))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_key_of_a_recipe_is_read_by_the_training_the_data_or_the_family_of_its_command(path: Path) -> None:
    cfg = re.search(r"--cfg (\S+)", path.read_text().splitlines()[0])
    family = families.find(read_model_yaml(cfg[1]).family if cfg else "yolo_pose")
    settings, gains, augment = share_out(read_yaml(path), path.name, (TrainSettings, family.gains_type, Augment))
    TrainSettings.from_values(settings, path.name)
    Augment.from_values(augment, path.name)
    assert family.gains_type(**gains) is not None


@pytest.mark.parametrize("family", families.names())
def test_the_recipe_that_a_family_uses_for_those_who_name_none_is_there(family: str) -> None:
    assert families.find(family).usual_recipe in {path.name for path in RECIPES}
