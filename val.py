"""python val.py --weights FILE --data DATA: what a model is worth, counted as COCO and CrowdPose count it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core import flags
from utils.core.command import Parser, run
from utils.core.console import is_main_process, log

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.data.one_class import Data
    from utils.evaluation.evaluator import Evaluator
    from utils.inference.predictor import OneStage

Size = tuple[int, int]  # (height, width)
TASKS = ("train", "val", "test", "speed", "study")
STUDY = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the input size


def parse() -> argparse.Namespace:
    parser = Parser("AP and AR of a model as COCO and CrowdPose count them, by keypoint and by kind of error.")
    parser.refuse({"--save-hybrid": "labels and predictions are not mixed here; --save-txt writes the predictions"})
    flags.add_data_flag(parser)
    parser.add_argument("--task", default="val", choices=TASKS, help="a split (test: results only), speed, AP by size")
    flags.add_model_flags(parser, published=flags.PUBLISHED)
    flags.add_image_flags(parser, batch=32)
    parser.add_argument("--rect", action="store_true", help="batches as flat as their images")
    parser.add_argument("--pad", type=float, default=0.0, metavar="S", help="with --rect: strides of extra room")
    parser.add_argument("--single-cls", action="store_true", help="all classes as one")
    parser.add_argument("--sigmas", type=float, nargs="+", metavar="S", help="of OKS: one for all, or one each")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes that load images")
    parser.add_argument("--detections", "--det-file", metavar="JSON", help="boxes for models of single persons")
    flags.add_select_flags(parser)
    flags.add_fusion_flags(parser)
    flags.add_view_flags(parser)
    flags.add_run_flags(parser, project="runs/val")
    parser.add_argument("--save-json", "--save-json-kpt", action="store_true", help="a COCO results file, boxes too")
    parser.add_argument("--save-txt", "--save-conf", action="store_true", help="a text file for each, with scores")
    parser.add_argument("--no-plots", action="store_true", help="no pictures")
    parser.add_argument("--verbose", action="store_true", help="print the tables by keypoint, size, crowding, error")
    parser.add_argument("--evaluator", default="fast", help="fast (hotcoco), or reference (pycocotools)")
    return parser.parse_args()


def predictor_of(args: argparse.Namespace, data: "Data") -> "OneStage":
    """The model on its device, with the thresholds and views that were asked for."""
    from models.build import load
    from models.layers import fused
    from utils.core.distributed import choose_device, join_processes
    from utils.core.tta import read_views
    from utils.inference.predictor import OneStage

    device, views = choose_device(args.device), read_views(args.scales, args.flips)
    join_processes(device)
    usual = {} if args.task == "speed" else flags.THOROUGH  # or as in use
    model = load(args.weights, args.cfg, data.schema, classes=data.classes, select=flags.selection(args), usual=usual)
    flags.check_fusion(args, model.spec.family, fuses=model.fuses)
    return OneStage(fused(model), device=device, half=args.half, views=views, size=flags.image_size(args.img))


def evaluator_of(args: argparse.Namespace, data: "Data", predictor: "OneStage", size: Size) -> "Evaluator":
    """The images of the task's split, as they were asked for."""
    from doors import evaluation
    from utils.core.distributed import rank, world_size
    from utils.data.loader import Loading

    shapes = {"rectangular": args.rect, "stride": predictor.model.stride, "pad": args.pad}
    loading = Loading(args.batch_size, args.workers, rank=rank(), world=world_size(), **shapes)
    split = args.task if args.task in ("train", "test") else "val"
    more = {"size": size, "detections": args.detections, "tool": args.evaluator}
    return evaluation.evaluator_of(data, split, predictor.model, loading, **more)


def evaluate(args: argparse.Namespace, data: "Data") -> None:
    """The numbers of a split, and what stands behind them in the run's folder."""
    from doors.pictures import Pictured
    from utils.core.runs import new_run
    from utils.evaluation.report import tables, write_report
    from utils.evaluation.stopwatch import Stopwatch

    predictor = predictor_of(args, data)
    evaluator = evaluator_of(args, data, predictor, predictor.size)
    watch = Stopwatch(predictor.model)
    folder = new_run(args.project, args.name, exist_ok=args.exist_ok)
    pictured = Pictured(predictor.poses_of, folder, data.schema, labels=args.task != "test")
    results = evaluator.look(predictor.poses_of if args.no_plots else pictured, watch)
    found = None if args.task == "test" else evaluator.judge(results, watch)  # test: a server has the annotations
    if not is_main_process():
        return
    if args.count_fused:
        print(results.fused_line(data.schema.names))
    if args.save_json or not found:
        results.save_files(folder, args.task)
    if args.save_txt:
        results.save_txt(folder / "labels", evaluator.category_ids)
    if found:
        title = f"{Path(args.weights or args.cfg).stem} on {data.name}, {args.task}, AP {100 * found.ap:.1f}"
        diagnosis = write_report(found, folder, title=title, pictures=not args.no_plots, tool=evaluator.tool)
        print(found.table(), found.seconds.line, *([tables(found, diagnosis)] if args.verbose else []), sep="\n\n")
    log.info("results in %s", folder)


def speed(args: argparse.Namespace, data: "Data") -> None:
    predictor = predictor_of(args, data)
    print(evaluator_of(args, data, predictor, predictor.size).pace(predictor.poses_of, predictor.model).line)


def study(args: argparse.Namespace, data: "Data") -> None:
    """AP and speed by input size."""
    stride = (predictor := predictor_of(args, data)).model.stride
    for size in dict.fromkeys(tuple(max(round(n * s / stride), 1) * stride for n in predictor.size) for s in STUDY):
        found = evaluator_of(args, data, predictor, size)(predictor.poses_of, predictor.model)
        if is_main_process():
            numbers = ", ".join(f"{name} {found.numbers[name]:.4f}" for name in ("AP", "AP50", "AR"))
            print(f"{size[0]} x {size[1]}: {numbers}, {found.seconds.milliseconds:.1f} ms per image", flush=True)


def main() -> None:
    args = parse()
    from doors.evaluation import data_of
    from utils.core.distributed import leave_processes

    data = data_of(args.data, single_class=args.single_cls, sigmas=args.sigmas)
    {"speed": speed, "study": study}.get(args.task, evaluate)(args, data)
    leave_processes()


if __name__ == "__main__":
    run(main)
