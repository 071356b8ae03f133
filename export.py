"""python export.py --weights FILE: a model as files that run without torch, compared with the model first."""

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core import flags
from utils.core.command import Parser, run
from utils.core.console import log

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    import torch

    from utils.core.contract import PoseModel
    from utils.data.annotations import DataSpec
    from utils.data.loader import EvaluationLoader

FORMATS = ("onnx", "torchscript", "ti")
COMPARED_ON = 16  # pictures


def parse() -> argparse.Namespace:
    parser = Parser("Write a model as ONNX with its selection inside, as TorchScript, or for TI's accelerators.")
    flags.add_model_flags(parser, published=flags.PUBLISHED, half="fp16 inside the file; input and output stay fp32")
    parser.add_argument("--include", nargs="+", default=["onnx"], choices=FORMATS, help="which files to write")
    parser.add_argument("--out", metavar="DIR", help="where to; default: beside the weights")
    flags.add_image_flags(parser, batch=1)
    group = parser.add_argument_group("the graph")
    layout = group.add_mutually_exclusive_group()
    layout.add_argument(
        "--nms", "--export-nms", dest="layout", action="store_const", const="fixed",
        help="selection inside, (B, max_det, 6 + 3K); this is the default",
    )  # fmt: skip
    layout.add_argument(
        "--rows", dest="layout", action="store_const", const="rows", help="selection inside, (n, 6 + 3K)"
    )
    layout.add_argument("--raw", dest="layout", action="store_const", const="raw", help="the network's maps only")
    group.add_argument(
        "--dynamic", nargs="*", choices=("batch", "size"), metavar="WHAT", help="batch, size; alone: both are free"
    )
    group.add_argument("--opset", type=int, metavar="N", help="13 to 20; default: 16")
    group.add_argument("--simplify", action="store_true", help="fold constants, merge doubles")
    flags.add_select_flags(parser)
    parser.add_argument("--topk-all", dest="max_det", type=int, metavar="N", help="--max-det")
    group = parser.add_argument_group("checks and int8")
    group.add_argument("--no-check", action="store_true", help="do not compare the files with the model")
    group.add_argument("--data", metavar="D", help="pictures to compare on, to calibrate with and to count AP on")
    group.add_argument("--int8", action="store_true", help="an int8 ONNX file too, with its AP; needs --data")
    group.add_argument("--calibrate", type=int, default=100, metavar="N", help="pictures that int8 is calibrated on")
    return parser.parse_args()


def batches_of(model: "PoseModel", data: "DataSpec", split: str) -> "EvaluationLoader":
    from utils.data.loader import Loading, evaluation_loader

    return evaluation_loader(data.records(split), model.spec, Loading(1, 0), fit=model.letterbox, coding=model.coding)


def drawn_people(model: "PoseModel") -> Iterator["torch.Tensor"]:
    """Pictures without a data set."""
    from utils.core.images import fit, stack
    from utils.data.people import SceneSettings, draw

    for index in range(COMPARED_ON):
        image, _ = fit(draw(0, index, SceneSettings()).image, model.spec.input_size, model.letterbox)
        yield stack([image])


def evaluated(model: "PoseModel", data: "DataSpec") -> float:
    """AP on the validation images, as val.py counts it."""
    from utils.evaluation.evaluator import Evaluator
    from utils.inference.predictor import OneStage

    batches, truth = batches_of(model, data, "val"), data.ground_truth("val")
    ids = data.category_ids("val")
    evaluator = Evaluator(batches, truth, schema=data.schema, category_ids=ids, rivals=model.rivals)
    return evaluator(OneStage(model).poses_of).ap


def main() -> None:
    args = parse()
    if args.int8 and not args.data:
        raise ValueError("--int8: needs pictures to calibrate with and to count AP on; give them with --data")
    from models.build import load, rebuilt, resized
    from models.layers import fused
    from utils.core.distributed import choose_device
    from utils.core.weights import is_address, located
    from utils.data.annotations import DataSpec
    from utils.export import files
    from utils.export.layout import Export
    from utils.export.ti import Limits

    data = DataSpec.read(args.data) if args.data else None
    model = load(args.weights, args.cfg, data and data.schema, select=flags.selection(args))
    model = resized(model, flags.image_size(args.img) or model.spec.input_size)
    lean = fused(model).to(choose_device(args.device))
    dynamic = {"batch", "size"} if args.dynamic == [] else set(args.dynamic or ())
    export = Export(
        model.spec.input_size, args.batch_size, args.layout or "fixed", "batch" in dynamic, "size" in dynamic,
        half=args.half, simplify=args.simplify, **({"opset": args.opset} if args.opset else {}),
    )  # fmt: skip
    source = located(typed := args.weights or args.cfg)
    elsewhere = source.suffix in (".yaml", ".yml") or is_address(typed)
    stem = Path(args.out or ("." if elsewhere else source.parent)) / source.stem
    pictures = (batch.images for batch in batches_of(model, data, "val")) if data else drawn_people(model)
    compared = [] if args.no_check else list(islice(pictures, COMPARED_ON))
    job = files.Job(lean, export, stem, {"command": " ".join(sys.argv), "weights": source.name}, compared)
    if args.no_check:
        log.warning("--no-check: nobody has looked whether the files give what the model gives")
    if "onnx" in args.include:
        files.export_onnx(job)
    if "torchscript" in args.include:
        files.export_torchscript(job)
    if "ti" in args.include:
        files.export_ti(job, Limits(people=args.max_det) if args.max_det else Limits())
    if args.int8:
        usual = {name: v for name, v in flags.THOROUGH.items() if name in model.select_type.__dataclass_fields__}
        thorough = fused(rebuilt(model, model.spec.with_settings(select=usual)))
        split = "train" if "train" in data.splits else "val"
        calibration = [batch.images for batch in islice(batches_of(model, data, split), args.calibrate)]
        print(files.export_int8(job, calibration, thorough, lambda twin: evaluated(twin, data)))


if __name__ == "__main__":
    run(main)
