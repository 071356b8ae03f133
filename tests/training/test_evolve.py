"""Recipes that evolve: what may change, by how much, and that a stopped evolution goes on."""

from pathlib import Path

import numpy as np
import pytest

from utils.core.config import find, read_yaml
from utils.training.evolve import LEAST, MOST, RANGES, Evolution, mutated

RECIPE = {"lr0": 0.01, "momentum": 0.9, "mosaic": 1.0, "degrees": 0.0, "optimizer": "SGD"}


def worth(recipe: dict[str, float]) -> float:
    """The nearer the first rate is to 0.02, the better."""
    return 1 - abs(recipe["lr0"] - 0.02)


def generations(folder: Path, count: int) -> Evolution:
    evolution = Evolution(folder, RECIPE, seed=3)
    while len(evolution) < count:
        recipe = evolution.next()
        evolution.add(recipe, worth(recipe))
    return evolution


def test_the_first_recipe_is_the_given_one_and_later_ones_are_better(tmp_path: Path) -> None:
    evolution = generations(tmp_path, 40)
    assert evolution.rows[0]["lr0"] == RECIPE["lr0"]
    best = read_yaml(tmp_path / "hyp_evolved.yaml")
    assert worth(best) > worth(RECIPE) + 0.005
    assert best["optimizer"] == "SGD" and best["degrees"] == 0.0
    title = (tmp_path / "hyp_evolved.yaml").read_text().splitlines()[0]
    assert title.startswith("# The best of 40 recipes, number ")


def test_an_evolution_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole = generations(tmp_path / "whole", 8)
    generations(tmp_path / "parts", 3)
    parts = generations(tmp_path / "parts", 8)
    assert parts.rows == whole.rows
    assert (tmp_path / "parts" / "evolve.csv").read_text() == (tmp_path / "whole" / "evolve.csv").read_text()


def test_children_stay_near_their_parent_and_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    parent = {key: float(value) for key, value in read_yaml(find("hyp.scratch.yaml")).items() if key in RANGES}
    for _ in range(200):
        child = mutated(parent, rng)
        assert child != parent
        for key, value in child.items():
            low, high = RANGES[key]
            assert low <= value <= high and (parent[key] == 0) <= (value == 0)
            assert value == pytest.approx(np.clip(value, LEAST * parent[key], MOST * parent[key]), abs=1e-6)


def test_an_evolution_of_another_recipe_is_not_gone_on_from(tmp_path: Path) -> None:
    generations(tmp_path, 2)
    with pytest.raises(ValueError, match="no column 'box'; it belongs to another recipe"):
        Evolution(tmp_path, RECIPE | {"box": 0.05})
    with pytest.raises(ValueError, match="--evolve: the recipe has none of lr0"):
        Evolution(tmp_path, {"optimizer": "SGD"})
