"""python detect.py --weights FILE --source WHAT: people drawn onto pictures, videos and streams; txt, JSON and CSV."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core import flags
from utils.core.command import Parser, run
from utils.core.config import ROOT
from utils.core.console import log
from utils.core.flags import EXAMPLE, EXAMPLE_WEIGHTS

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.core.contract import ModelSpec
    from utils.inference.outputs import Output
    from utils.inference.run import Alter, Predict

DRAWN, WEAK = 0.25, 0.1  # scores of people who are drawn, and whom a tracker still uses


def parse() -> argparse.Namespace:
    parser = Parser("People and their keypoints in pictures, videos and streams. Without flags: an example.")
    what = "file, folder, 'pattern*', list.txt, http or rtsp address, webcam number, or screen"
    parser.add_argument("--source", default=EXAMPLE, metavar="S", help=what)
    flags.add_model_flags(parser, weights=EXAMPLE_WEIGHTS)
    parser.add_argument("--det-model", metavar="FILE", help="two stages: who finds people, for --pose-model")
    parser.add_argument("--pose-model", metavar="FILE", help="two stages: who finds the keypoints of each")
    flags.add_image_flags(parser, batch=1)
    parser.add_argument("--vid-stride", type=int, default=1, metavar="N", help="every Nth frame of a video")
    flags.add_select_flags(parser)
    parser.add_argument("--classes", type=int, nargs="+", metavar="C", help="only these classes, by number")
    parser.add_argument("--agnostic-nms", action="store_true", help="people of different classes are rivals too")
    flags.add_view_flags(parser)
    flags.add_tracking_flags(parser)
    flags.add_drawing_flags(parser)
    flags.add_result_flags(parser)
    flags.add_run_flags(parser, project="runs/detect")
    return parser.parse_args()


def predictor_of(args: argparse.Namespace) -> "tuple[Predict, ModelSpec]":
    """Images in, people out: by one network, by two, or by an exported file."""
    from models.build import load
    from models.layers import fused
    from utils.core.distributed import choose_device
    from utils.core.tta import read_views
    from utils.core.weights import located, suffix_of
    from utils.inference.onnx_model import OnnxModel
    from utils.inference.predictor import OneStage
    from utils.inference.two_stage import TwoStage

    device, views = choose_device(args.device), read_views(args.scales, args.flips)
    select, own = flags.selections(args)
    shape = {"size": flags.image_size(args.img), "batch_size": args.batch_size}
    if bool(args.det_model) != bool(args.pose_model):
        raise ValueError("--det-model and --pose-model belong together: one finds people, one their keypoints")
    if suffix_of(args.weights or "") == ".onnx" and not args.det_model:
        if args.cfg or args.half or not all(view.is_plain for view in views) or set(select) - {"conf"}:
            raise ValueError(f"{args.weights}: thresholds, views and precision are part of it; export it with others")
        exported = OnnxModel(located(args.weights), cuda=device.type == "cuda", conf=args.conf_thres, **shape)
        return exported, exported.spec
    if args.weights == EXAMPLE_WEIGHTS and not (args.det_model or args.cfg):
        if not (ROOT / EXAMPLE_WEIGHTS).exists():
            raise ValueError(f"{EXAMPLE_WEIGHTS}: not in this copy of the repository; give a model with --weights")
        log.info("%s: a small network that has only ever seen drawn people", EXAMPLE_WEIGHTS)
    usual = {"conf": WEAK if args.track or args.smooth else DRAWN}
    model = load(args.det_model or args.weights, args.cfg, select=select, usual=usual)
    one = {"device": device, "half": args.half, **shape}
    if not args.pose_model:
        return OneStage(fused(model), views=views, **one), model.spec
    poser = load(args.pose_model, select=own)
    return TwoStage(OneStage(fused(model), **one), fused(poser), half=args.half, views=views), poser.spec


def outputs_of(args: argparse.Namespace, folder: Path, spec: "ModelSpec") -> "list[Output]":
    from utils.inference.outputs import CocoResults, Crops, Labels, Pictures, Table

    outputs: list[Output] = [] if args.nosave else [Pictures(folder, gif=args.save_gif)]
    outputs += [Labels(folder / "labels", scores=args.save_conf)] if args.save_txt else []
    outputs += [CocoResults(folder / "results.json")] if args.save_json else []
    outputs += [Table(folder / "results.csv", spec.schema, spec.classes)] if args.save_csv else []
    outputs += [Crops(folder / "crops", spec.classes)] if args.save_crop else []
    return outputs


def changes_of(args: argparse.Namespace, spec: "ModelSpec") -> "list[Alter]":
    """What happens to people between the model and the drawing."""
    from utils.inference.following import Following
    from utils.inference.run import only_classes
    from utils.inference.track import TrackSettings

    changes: list[Alter] = [only_classes(args.classes, spec.classes)] if args.classes else []
    follow = Following(spec.schema, TrackSettings(bridge=args.bridge), smooth=bool(args.smooth))
    return [*changes, follow] if args.track or args.smooth else changes


def main() -> int:
    args = parse()
    if args.source == EXAMPLE:
        args.source = str(ROOT / EXAMPLE)
        log.info("%s: a drawn picture, to try things out; your own with --source", EXAMPLE)
    from utils.core.runs import run_folder
    from utils.inference.draw import Style, draw_poses
    from utils.inference.media.files import quiet_decoders
    from utils.inference.media.memory import keep_freed_memory
    from utils.inference.media.sources import Source
    from utils.inference.media.window import Window
    from utils.inference.run import Delivery, process

    quiet_decoders()
    keep_freed_memory()
    source = Source(args.source, stride=args.vid_stride)
    predict, spec = predictor_of(args)
    window = Window.open("detect") if args.view_img else None
    style = Style(
        labels=not args.hide_labels, scores=not args.hide_conf, classes=spec.classes,
        keypoint_threshold=args.kpt_thres, line_width=args.line_thickness,
    )  # fmt: skip
    draw = (lambda image, poses: draw_poses(image, poses, spec.schema, style)) if window or not args.nosave else None
    with run_folder(args.project, args.name, exist_ok=args.exist_ok) as folder:
        delivery, alter = Delivery(outputs_of(args, folder, spec), draw), changes_of(args, spec)
        tally = process(source, predict, delivery, batch_size=args.batch_size, alter=alter, window=window)
        if written := bool(delivery.outputs and tally.frames):
            tally.write(folder / "summary.json")
    print(tally.lines, *([f"results in {folder}"] if written else []), sep="\n")
    return 1 if (args.strict and tally.faults) or not tally.frames else 0


if __name__ == "__main__":
    run(main)
