"""Evolution of a recipe: a child of one of the best so far is tried, and what came of it is one more row."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.core import checkpoint, config

# What may change, and between which values. A value of 0 stays 0: what a recipe leaves out is not invented.
RANGES = {
    "lr0": (1e-5, 0.1), "lrf": (0.01, 1.0), "momentum": (0.6, 0.98), "weight_decay": (0.0, 0.001),
    "warmup_epochs": (0.0, 5.0), "warmup_momentum": (0.0, 0.95), "warmup_bias_lr": (0.0, 0.2),
    "box": (0.005, 0.5), "cls": (0.05, 4.0), "obj": (0.1, 4.0), "kpt": (0.005, 1.0), "kp": (0.002, 0.5),
    "cls_pw": (0.5, 2.0), "obj_pw": (0.5, 2.0), "anchor_t": (2.0, 8.0), "fl_gamma": (0.0, 2.0),
    "kpt_sharpness": (0.5, 4.0), "kpt_tail": (0.0, 0.9),
    "hsv_h": (0.0, 0.1), "hsv_s": (0.0, 0.9), "hsv_v": (0.0, 0.9), "degrees": (0.0, 45.0), "translate": (0.0, 0.9),
    "scale": (0.0, 0.9), "shear": (0.0, 10.0), "perspective": (0.0, 0.001), "flipud": (0.0, 1.0),
    "fliplr": (0.0, 1.0), "mosaic": (0.0, 1.0), "mixup": (0.0, 1.0),
}  # fmt: skip
PARENTS = 5  # of which one is drawn, the better the likelier
CHANCE, SPREAD = 0.8, 0.2  # that a value changes, and by how much
LEAST, MOST = 0.3, 3.0  # times the parent's value


class Evolution:
    """evolve.csv in a folder: one row for each recipe that was tried. What stands there already is gone on from."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any], *, fitness: str = "AP", seed: int = 0) -> None:
        self.folder, self.recipe, self.fitness, self.seed = folder, dict(recipe), fitness, seed
        self.keys = [key for key in RANGES if isinstance(recipe.get(key), (int, float))]
        if not self.keys:
            raise ValueError(f"--evolve: the recipe has none of {', '.join(RANGES)}; give one with numbers to change")
        self.rows = self._read()

    def __len__(self) -> int:
        """Recipes that were tried."""
        return len(self.rows)

    def next(self) -> dict[str, Any]:
        """The recipe to try: first the given one, then children."""
        if not self.rows:
            return dict(self.recipe)
        rng = np.random.default_rng((self.seed, len(self.rows)))
        best = sorted(self.rows, key=lambda row: -row["fitness"])[:PARENTS]
        weights = np.array([row["fitness"] for row in best]) - best[-1]["fitness"] + 1e-6
        parent = best[int(rng.choice(len(best), p=weights / weights.sum()))]
        return self.recipe | mutated({key: parent[key] for key in self.keys}, rng)

    def add(self, recipe: Mapping[str, Any], fitness: float) -> None:
        """What a recipe was worth; the best so far is in hyp_evolved.yaml."""
        self.rows.append({"fitness": float(fitness), **{key: float(recipe[key]) for key in self.keys}})
        text = io.StringIO()
        table = csv.DictWriter(text, ["generation", "fitness", *self.keys], lineterminator="\n")
        table.writeheader()
        table.writerows({"generation": number, **row} for number, row in enumerate(self.rows))
        _write(self.folder / "evolve.csv", text.getvalue())
        number, best = max(enumerate(self.rows), key=lambda entry: entry[1]["fitness"])
        values = self.recipe | {key: best[key] for key in self.keys}
        title = f"# The best of {len(self.rows)} recipes, number {number}: {self.fitness} {best['fitness']:.4f}\n"
        _write(self.folder / "hyp_evolved.yaml", title + config.to_yaml(values))

    def _read(self) -> list[dict[str, float]]:
        path = self.folder / "evolve.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        missing = [key for key in ("fitness", *self.keys) if rows and key not in rows[0]]
        if missing:
            raise ValueError(f"{path}: no column '{missing[0]}'; it belongs to another recipe, choose another --name")
        return [{key: float(row[key]) for key in ("fitness", *self.keys)} for row in rows]


def mutated(values: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """A child: most values times something near 1, inside their ranges; at least one that can change does."""
    free = np.array([value != 0 for value in values.values()])
    factors = np.ones(len(values))
    while free.any() and not (factors[free] != 1).any():
        changed = free & (rng.random(len(values)) < CHANCE)
        factors = np.where(changed, 1 + rng.normal(0, SPREAD, len(values)), 1.0).clip(LEAST, MOST)
    pairs = zip(values.items(), factors, strict=True)
    return {key: round(float(np.clip(value * factor, *RANGES[key])), 6) for (key, value), factor in pairs}


def _write(path: Path, text: str) -> None:
    checkpoint.write_whole(path, lambda target: Path(target).write_text(text, encoding="utf-8"))
