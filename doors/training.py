"""The parts of a training run, introduced to each other: for train.py, once or generation after generation."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doors.evaluation import data_of, evaluator_of, last_look
from doors.pictures import save_labels
from models.autoanchor import fitted
from models.build import family_of, load, rebuilt, resized, save
from models.layers import fused
from utils.core import config, flags
from utils.core.console import is_main_process, log
from utils.core.contract import PoseModel
from utils.core.distributed import choose_device, gather, rank, wait_for_all, world_size
from utils.core.runs import new_run
from utils.core.tta import read_views
from utils.data.checking.pages import save_statistics
from utils.data.loader import Loading, training_loader
from utils.data.recipe import Augment
from utils.data.records import Records
from utils.evaluation.evaluator import Evaluation
from utils.inference.predictor import OneStage
from utils.training.autobatch import fitting_batch_size
from utils.training.evolve import Evolution
from utils.training.log import RunLog, newest_state
from utils.training.report import Report, write_report
from utils.training.settings import TrainSettings, share_out
from utils.training.state import seed_generators
from utils.training.trainer import Evaluate, Outcome, Trainer

CACHES = {"": "none", "ram": "memory", "disk": "disk"}
NOT_KEPT = ("resume", "device")  # a run that goes on takes these from its own command line
SHOWN = {
    "train_batch0.jpg": "a training batch with its labels", "val_batch0_labels.jpg": "validation: labels",
    "val_batch0_pred.jpg": "validation: what was found", "worst.jpg": "the worst met people, by OKS",
    "best.jpg": "the best met", "errors.png": "keypoints, and what their errors cost",
    "people.png": "people who are found", "precision_recall.png": "precision by recall", "labels.jpg": "the labels",
}  # fmt: skip


def resumed(args: argparse.Namespace) -> tuple[argparse.Namespace, Path]:
    """The options that a run was started with, and the state that it left."""
    state = newest_state(args.project) if args.resume == "newest" else config.find(args.resume)
    folder = state.absolute().parents[1]
    own = {name: getattr(args, name) for name in (*NOT_KEPT, *(["epochs"] if args.epochs else []))}
    options = {**vars(args), **config.read_yaml(config.find(folder / "opt.yaml")), **own}
    return argparse.Namespace(**options | {"hyp": str(folder / "hyp.yaml")}), state


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe with the flags that were typed; a family has its own for those who name none."""
    args.hyp = args.hyp or family_of(args.weights, args.cfg).usual_recipe
    recipe = config.read_yaml(config.find(args.hyp))
    names = (*(name for name in vars(args) if name in TrainSettings.__dataclass_fields__), "label_smoothing")
    typed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return recipe | typed | ({"precision": "fp16"} if args.half else {})


def train(args: argparse.Namespace, recipe: Mapping[str, Any], state: Path | None = None) -> Outcome:
    """One run, or the rest of one: its folder holds everything that came of it."""
    made = Parts(args, recipe)
    # The folder after the parts: what is wrong with them should not leave an empty one.
    folder = state.absolute().parents[1] if state else new_run(args.project, args.name, exist_ok=args.exist_ok)
    trainer = made.trainer(RunLog(folder, tensorboard=args.tensorboard))
    if state:
        trainer.resume(state)
    else:
        options = {name: value for name, value in vars(args).items() if name not in NOT_KEPT}
        measured = {"batch_size": made.fit.batch_size} if recipe.get("batch_size") == -1 else {}
        trainer.run.write_settings(options | measured, {**recipe, **measured})
        if is_main_process():
            save_statistics(made.records, made.model.spec.schema, folder / "labels.jpg")
    outcome = trainer.fit()
    if outcome.reason in ("finished", "patience"):
        made.conclude(trainer.run, outcome)
    return outcome


class Parts:
    """What a run is made of, from its options and its recipe."""

    def __init__(self, args: argparse.Namespace, recipe: Mapping[str, Any]) -> None:
        self.args, self.device = args, choose_device(args.device)
        self.data = data_of(args.data, single_class=args.single_cls)
        self.views = read_views(args.val_scales, args.val_flips)
        seed_generators(recipe.get("seed", 0))  # before the weights are drawn
        model = load(args.weights, args.cfg, self.data.schema, classes=self.data.classes, recipe=recipe)
        settings, _, augment = share_out(recipe, args.hyp, (TrainSettings, type(model).gains_type, Augment))
        self.augment = Augment.from_values(augment, args.hyp)
        self.records = self.data.records("train")
        self.model = resized(model, flags.image_size(args.img) or model.spec.input_size)
        if args.autoanchor:
            shapes, labelled = shapes_of(self.records, max(self.model.spec.input_size))
            self.model = fitted(self.model, shapes, labelled)
        self.fit = self._fit(settings)
        share = self.fit.share_of(world_size())
        self.loading = Loading(share, args.workers, self.fit.seed, rank(), world_size(), CACHES[args.cache])
        self.evaluator = evaluator_of(self.data, "val", self._judged(self.model), self.loading)

    def _fit(self, values: Mapping[str, Any]) -> TrainSettings:
        """The settings, with a batch that fits where -1 was asked for."""
        wanted = values.get("batch_size")
        settings = TrainSettings.from_values({**values, "batch_size": 1} if wanted == -1 else values, self.args.hyp)
        if wanted != -1:
            return settings
        least = min(gather(fitting_batch_size(self.model, settings, self.device)))
        return replace(settings, batch_size=least * world_size())

    def _judged(self, model: PoseModel) -> PoseModel:
        """The model with the thresholds that AP is counted with."""
        usual = {
            name: value for name, value in flags.THOROUGH.items() if name in model.select_type.__dataclass_fields__
        }
        return rebuilt(model, model.spec.with_settings(select=usual))

    def trainer(self, run: RunLog) -> Trainer:
        made = {"command": " ".join(sys.argv), "seed": self.fit.seed}
        batches = training_loader(
            self.records, self.model.spec, self.augment, self.loading,
            plain_from=self.fit.epochs - self.fit.plain_epochs if self.fit.plain_epochs else None,
            by_class=self.args.image_weights, coding=self.model.coding,
        )  # fmt: skip
        return Trainer(
            self.model, batches, self.fit, run, device=self.device, evaluate=self._evaluate(), made=made,
            save=lambda path, model, metrics: save(path, model, made=made, metrics=metrics),
            show=lambda path, batch: save_labels(path, batch, self.model.spec.schema),
        )  # fmt: skip

    def _evaluate(self) -> Evaluate:
        """AP of the averaged weights on the validation images, as val.py counts it."""

        def numbers(averaged: PoseModel) -> Mapping[str, float]:
            judged = OneStage(fused(self._judged(averaged)), device=self.device, views=self.views)
            return self.evaluator(judged.poses_of).numbers

        return numbers

    def conclude(self, run: RunLog, outcome: Outcome) -> None:
        """The best weights once more, with pictures, and the page that shows everything."""
        wait_for_all()  # for the first process to have written them
        found = None
        kept = [run.weights / f"{name}.safetensors" for name in ("best", "last")]
        path = next((path for path in kept if path.is_file()), None)
        if path is not None:  # the disk may have been full
            title = f"{run.folder.name}, {path.stem}"
            model = self._judged(load(path))
            found = last_look(model, self.evaluator, run.folder, device=self.device, views=self.views, title=title)
        if is_main_process():
            facts = {"model": self.args.cfg or self.args.weights, "data": self.args.data,
                     "best epoch": outcome.best_epoch, "command": " ".join(sys.argv)}  # fmt: skip
            pictures = [(run.folder / name, text) for name, text in SHOWN.items() if (run.folder / name).is_file()]
            metrics = found.numbers if found else run.best()
            page = Report(run.folder.name, run.rows, metrics, keypoints_of(found), facts, pictures)
            write_report(run.folder / "report.html", page)


def shapes_of(records: Records, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of everybody with a labelled keypoint, in pixels of the input (N, 2); how many of each (K)."""
    known = ~records.crowd & (records.visibility > 0).any(1)
    scale = longest / records.sizes.max(1)[records.image_of_person()]  # (P)
    shapes = ((records.boxes[:, 2:] - records.boxes[:, :2]) * scale[:, None])[known].astype(np.float64)
    return shapes, (records.visibility[known] > 0).sum(0)


def keypoints_of(found: Evaluation | None) -> dict[str, float]:
    """OKS by keypoint, of the people who were found."""
    if found is None:
        return {}
    pairs = zip(found.keypoints.names, found.keypoints.oks, strict=True)
    return {name: float(value) for name, value in pairs if np.isfinite(value)}


def evolve(args: argparse.Namespace, recipe: Mapping[str, Any]) -> None:
    """Short runs, each with a child of the best recipes so far; goes on where evolve.csv ends with --exist-ok."""
    folder = new_run(args.project, args.name, exist_ok=args.exist_ok)
    evolution = Evolution(folder, recipe, seed=recipe.get("seed", 0))
    while len(evolution) < args.evolve:
        tried = gather(evolution.next())[0]
        own = {"project": str(folder), "name": "newest", "exist_ok": True, "resume": None}
        outcome = train(argparse.Namespace(**vars(args) | own), {**tried, "checkpoints": "end"})
        if outcome.reason not in ("finished", "patience"):
            return
        if is_main_process():
            evolution.add(tried, outcome.best)
        wait_for_all()
        evolution.rows = gather(evolution.rows)[0]
        log.info("recipe %d of %d: %.4f; hyp_evolved.yaml holds the best, %.4f", len(evolution), args.evolve,
                 outcome.best, max(row["fitness"] for row in evolution.rows))  # fmt: skip
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
