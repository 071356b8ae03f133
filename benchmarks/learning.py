"""python -m benchmarks.learning: how much models learn from the same drawn samples, recipe by recipe, seed by seed.

Every run is a train.py of its own on the same files, so its folder explains itself; finished ones are not run again.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import families
from utils.core.command import run
from utils.core.config import ROOT, find, read_yaml, write_yaml
from utils.data.recipe import Augment
from utils.training.settings import TrainSettings, share_out


@dataclass(frozen=True)
class Entrant:
    """A model YAML, changed where its head is to be another one, and a recipe or the changes that make it one."""

    cfg: str
    hyp: str
    layout: str | None = None
    changes: Mapping[str, Any] | None = None  # of a recipe for another family: its loss is left to the family


ENTRANTS = {
    "published": Entrant("yolov5n6_kpts.yaml", "hyp.scratch.yaml", layout="published"),
    "limber": Entrant("yolov5n6_kpts.yaml", "hyp.limber.yaml"),
    "people": Entrant("yolov5n6_kpts.yaml", "hyp.people.yaml"),
    "kapao": Entrant("kapao_n.yaml", "hyp.people.yaml"),
    "yolox": Entrant("yolox_pose_nano.yaml", "hyp.people.yaml", changes={"gradients": "mean"}),
}
RECIPES = ("published", "limber", "people")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", default=list(RECIPES), choices=list(ENTRANTS), metavar="NAME",
                        help=f"who takes part, of {', '.join(ENTRANTS)}")  # fmt: skip
    parser.add_argument("--images", type=int, default=2000, help="drawn images to learn from")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--img", type=int, default=192, help="side of the network's input")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/learning"))
    parser.add_argument("--threads", type=int, help="of torch")
    return parser.parse_args()


def data(args: argparse.Namespace) -> Path:
    """The drawn people that all learn from, and 500 that nobody has seen."""
    folder = args.folder / f"people_{args.images}"
    if not (folder / "val.json").exists():
        command = f"-m utils.data.people --size 256 --count {args.images} --held-out 500 --out"
        subprocess.run([sys.executable, *command.split(), str(folder)], check=True, cwd=ROOT)
    return folder


def learn(name: str, seed: int, args: argparse.Namespace, people: Path) -> dict[str, float]:
    """The numbers after the last epoch of one run."""
    entrant = ENTRANTS[name]
    folder = args.folder / f"{name}_{args.images}x{args.epochs}_{args.img}px_seed{seed}"
    results = folder / "results.csv"
    if not results.exists() or len(results.read_text().splitlines()) <= args.epochs:
        command = (
            f"train.py --cfg {_cfg(entrant, args.folder)} --hyp {_hyp(name, args.folder)} --data {people} "
            f"--img {args.img} --batch-size {args.batch_size} --epochs {args.epochs} --seed {seed} "
            f"--workers 1 --noval --precision bf16 --device cpu "
            f"--project {folder.parent} --name {folder.name} --exist-ok"
        )
        threads = {"OMP_NUM_THREADS": str(args.threads)} if args.threads else {}
        with (args.folder / f"{folder.name}.log").open("w") as log:
            subprocess.run([sys.executable, *command.split()], check=True, cwd=ROOT, stdout=log, stderr=log,
                           env={**os.environ, **threads})  # fmt: skip
    with results.open() as file:
        last = list(csv.DictReader(file))[-1]
    return {key.removeprefix("metrics/"): float(value) for key, value in last.items() if key.startswith("metrics/")}


def _cfg(entrant: Entrant, folder: Path) -> str:
    if entrant.layout is None:
        return entrant.cfg
    values = read_yaml(find(entrant.cfg))
    values["head"]["layout"] = entrant.layout
    path = folder / f"{entrant.layout}_{entrant.cfg}"
    write_yaml(path, values)
    return str(path)


def _hyp(name: str, folder: Path) -> str:
    """The recipe; for another family without the weights of YOLO-Pose's loss."""
    entrant = ENTRANTS[name]
    if entrant.changes is None:
        return entrant.hyp
    values = read_yaml(find(entrant.hyp))
    settings, _, augment = share_out(
        values, entrant.hyp, (TrainSettings, families.find("yolo_pose").gains_type, Augment)
    )
    path = folder / f"hyp.{name}.yaml"
    write_yaml(path, {**settings, **augment, **entrant.changes})
    return str(path)


def main() -> None:
    args = parse()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    people = data(args)
    print(f"{args.images} drawn images, {args.epochs} epochs, {args.img} px, batches of {args.batch_size}; "
          "AP and AP50 on 500 held-out images")  # fmt: skip
    print(f"{'':<12}{'AP, mean':>10}{'AP50':>8}   AP of each seed")
    for name in args.names:
        found = [learn(name, seed, args, people) for seed in args.seeds]
        each = ", ".join(f"{numbers['AP']:.3f}" for numbers in found)
        ap, ap50 = (statistics.mean(numbers[key] for numbers in found) for key in ("AP", "AP50"))
        print(f"{name:<12}{ap:10.3f}{ap50:8.3f}   {each}", flush=True)


if __name__ == "__main__":
    run(main)
