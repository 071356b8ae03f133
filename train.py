"""python train.py --cfg MODEL --data DATA --hyp RECIPE: teach a model, from nothing or from weights."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core import config, flags
from utils.core.console import is_main_process

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.core.contract import PoseModel
    from utils.data.annotations import DataSpec
    from utils.data.loader import Loading
    from utils.training.trainer import Evaluate, Trainer

CACHES = {"": "none", "ram": "memory", "disk": "disk"}
NOT_KEPT = ("resume", "device")  # a run that goes on takes these from its own command line


def parse() -> argparse.Namespace:
    parser = flags.Parser("Train a model. Flags have the last word over the recipe, the recipe over the defaults.")
    parser.add_argument("--data", default="coco_kpts.yaml", metavar="D", help="data YAML, folder or COCO JSON")
    parser.add_argument("--hyp", default="hyp.scratch.yaml", metavar="YAML", help="recipe: rates, loss, augmentation")
    parser.add_argument("--resume", nargs="?", const="newest", metavar="PT", help="go on: weights/last.pt of a run")
    flags.add_model_flags(parser)
    flags.add_image_flags(parser, batch=None)
    flags.add_run_flags(parser, project="runs/train")
    flags.add_recipe_flags(parser)
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes that load images")
    parser.add_argument("--cache", nargs="?", default="", const="ram", choices=CACHES, help="keep decoded images")
    parser.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard too")
    return parser.parse_args()


def resumed(args: argparse.Namespace) -> tuple[argparse.Namespace, Path]:
    """The options that a run was started with, and the state that it left."""
    from utils.training.log import newest_state

    state = newest_state(args.project) if args.resume == "newest" else config.find(args.resume)
    folder = state.absolute().parents[1]
    own = {name: getattr(args, name) for name in (*NOT_KEPT, *(["epochs"] if args.epochs else []))}
    options = {**vars(args), **config.read_yaml(config.find(folder / "opt.yaml")), **own}
    return argparse.Namespace(**options | {"hyp": str(folder / "hyp.yaml")}), state


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe with the flags that were typed."""
    from utils.training.settings import TrainSettings

    recipe = config.read_yaml(config.find(args.hyp))
    names = (*(name for name in vars(args) if name in TrainSettings.__dataclass_fields__), "label_smoothing")
    typed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return recipe | typed | ({"precision": "fp16"} if args.half else {})


def trainer_of(args: argparse.Namespace, recipe: Mapping[str, Any], state: Path | None) -> "Trainer":
    """All parts of a run, introduced to each other."""
    from models.build import load, resized, save
    from utils.core.distributed import choose_device, rank, world_size
    from utils.core.runs import new_run
    from utils.data.annotations import DataSpec
    from utils.data.loader import Loading, training_loader
    from utils.data.recipe import Augment
    from utils.training.log import RunLog
    from utils.training.settings import TrainSettings, share_out
    from utils.training.state import seed_generators
    from utils.training.trainer import Trainer

    data, device = DataSpec.read(args.data), choose_device(args.device)
    seed_generators(recipe.get("seed", 0))  # before the weights are drawn
    model = load(args.weights, args.cfg, data.schema, classes=data.classes, recipe=recipe)
    model = resized(model, flags.image_size(args.img) or model.spec.input_size)
    settings, _, augment = share_out(recipe, args.hyp, (TrainSettings, type(model).gains_type, Augment))
    fit, augment = TrainSettings.from_values(settings, args.hyp), Augment.from_values(augment, args.hyp)
    loading = Loading(fit.share_of(world_size()), args.workers, fit.seed, rank(), world_size(), CACHES[args.cache])
    made = {"command": " ".join(sys.argv), "seed": fit.seed}
    plain_from = fit.epochs - fit.plain_epochs if fit.plain_epochs else None
    batches = training_loader(data.records("train"), model.spec, augment, loading, plain_from=plain_from)
    evaluate = evaluator_of(data, model, loading, device)
    # The folder last: what is wrong with the parts should not leave an empty one.
    folder = state.absolute().parents[1] if state else new_run(args.project, args.name, exist_ok=args.exist_ok)
    return Trainer(
        model, batches, fit, RunLog(folder, tensorboard=args.tensorboard), device=device, evaluate=evaluate, made=made,
        save=lambda path, model, metrics: save(path, model, made=made, metrics=metrics),
    )  # fmt: skip


def evaluator_of(data: "DataSpec", model: "PoseModel", loading: "Loading", device: Any) -> "Evaluate":
    """AP of the averaged weights on the validation images, as val.py counts it."""
    from models.build import rebuilt
    from models.layers import fused
    from utils.data.loader import evaluation_loader
    from utils.evaluation.evaluator import RIVALS, Evaluator
    from utils.inference.predictor import OneStage

    usual = {name: value for name, value in flags.THOROUGH.items() if name in model.select_type.__dataclass_fields__}
    spec = model.spec.with_settings(select=usual)
    batches = evaluation_loader(data.records("val"), spec, loading, fit=model.letterbox)
    rivals = RIVALS if spec.view == "person" else None
    truth, ids = data.ground_truth("val"), data.category_ids("val")
    evaluator = Evaluator(batches, truth, schema=data.schema, category_ids=ids, rivals=rivals)
    return lambda averaged: evaluator(OneStage(fused(rebuilt(averaged, spec)), device=device).poses_of).numbers


def main() -> None:
    args = parse()
    from utils.core.distributed import choose_device, join_processes, leave_processes
    from utils.training.report import Report, write_report

    args, state = resumed(args) if args.resume else (args, None)
    recipe = recipe_of(args)
    join_processes(choose_device(args.device))
    trainer = trainer_of(args, recipe, state)
    run = trainer.run
    if state:
        trainer.resume(state)
    else:
        run.write_settings({name: value for name, value in vars(args).items() if name not in NOT_KEPT}, recipe)
    outcome = trainer.fit()
    facts = {"model": args.cfg or args.weights, "data": args.data, "best epoch": outcome.best_epoch}
    if is_main_process():
        write_report(run.folder / "report.html", Report(run.folder.name, run.rows, run.best(), facts=facts))
    leave_processes()


if __name__ == "__main__":
    flags.run(main)
