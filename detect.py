"""python detect.py --weights FILE --source WHAT: people drawn onto pictures, videos and streams; txt, JSON and CSV."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core import flags
from utils.core.config import ROOT
from utils.core.console import log

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.core.contract import ModelSpec
    from utils.core.poses import Poses
    from utils.inference.media.frames import Frame
    from utils.inference.outputs import Output
    from utils.inference.run import Alter, Predict

EXAMPLE, EXAMPLE_WEIGHTS = "data/example.jpg", "weights/yolov5n6_kpts_people.safetensors"
AUGMENT = {"scales": [1.0, 0.83, 0.67], "flips": [-1, 3, -1]}  # YOLOv5's three looks


def parse() -> argparse.Namespace:
    parser = flags.Parser("People and their keypoints in pictures, videos and streams. Without flags: an example.")
    parser.add_argument("--source", default=EXAMPLE, metavar="S", help="file, folder, 'pattern*', list.txt, http(s) or "
                        "rtsp address, webcam number, or screen")  # fmt: skip
    flags.add_model_flags(parser, weights=EXAMPLE_WEIGHTS)
    parser.add_argument("--det-model", metavar="FILE", help="two stages: who finds people, for --pose-model")
    parser.add_argument("--pose-model", metavar="FILE", help="two stages: who finds the keypoints of each")
    flags.add_image_flags(parser, batch=1)
    parser.add_argument("--vid-stride", type=int, default=1, metavar="N", help="every Nth frame of a video")
    flags.add_select_flags(parser)
    parser.add_argument("--classes", type=int, nargs="+", metavar="C", help="only these classes, by number")
    parser.add_argument("--agnostic-nms", action="store_true", help="people of different classes are rivals too")
    flags.add_view_flags(parser)
    parser.add_argument("--augment", action="store_true", help="three scales, one of them mirrored")
    group = parser.add_argument_group("results")
    group.add_argument("--view-img", action="store_true", help="show pictures in a window; q ends")
    group.add_argument("--nosave", action="store_true", help="write no pictures and videos")
    group.add_argument("--save-txt", action="store_true", help="labels/NAME.txt for every frame, as YOLO-pose")
    group.add_argument("--save-conf", action="store_true", help="with each person's score at the end of its row")
    group.add_argument("--save-json", action="store_true", help="results.json, as COCO")
    group.add_argument("--save-csv", action="store_true", help="results.csv, a row for every person")
    group.add_argument("--save-crop", action="store_true", help="crops/CLASS/NAME.jpg of everybody")
    group.add_argument("--save-gif", action="store_true", help="a GIF beside every video")
    group.add_argument("--kpt-thres", type=float, default=0.3, metavar="P", help="draw keypoints from this score on")
    group.add_argument("--line-thickness", type=int, metavar="PX", help="default: by the size of the picture")
    group.add_argument("--hide-labels", action="store_true", help="no classes and ids")
    group.add_argument("--hide-conf", action="store_true", help="no scores")
    flags.add_run_flags(parser, project="runs/detect")
    return parser.parse_args()


def predictor_of(args: argparse.Namespace) -> "tuple[Predict, ModelSpec]":
    """Images in, people out: by one network, by two, or by an exported file."""
    from models.build import load
    from models.layers import fused
    from utils.core.distributed import choose_device
    from utils.core.tta import read_views
    from utils.inference.predictor import OneStage

    select = flags.selection(args) | ({"agnostic": True} if args.agnostic_nms else {})
    looks = AUGMENT if args.augment else {"scales": args.scales, "flips": args.flips}
    settings = {"device": choose_device(args.device), "half": args.half, "batch_size": args.batch_size}
    model = load(args.weights, args.cfg, select=select)
    views, size = read_views(**looks), flags.image_size(args.img)
    return OneStage(fused(model), views=views, size=size, **settings), model.spec


def outputs_of(args: argparse.Namespace, folder: Path, spec: "ModelSpec") -> "list[Output]":
    from utils.inference.outputs import CocoResults, Crops, Labels, Pictures, Table

    outputs: list[Output] = [] if args.nosave else [Pictures(folder, gif=args.save_gif)]
    outputs += [Labels(folder / "labels", scores=args.save_conf)] if args.save_txt else []
    outputs += [CocoResults(folder / "results.json")] if args.save_json else []
    outputs += [Table(folder / "results.csv", spec.schema, spec.classes)] if args.save_csv else []
    outputs += [Crops(folder / "crops", spec.classes)] if args.save_crop else []
    return outputs


def changes_of(args: argparse.Namespace) -> "list[Alter]":
    """What happens to people between the model and the drawing."""
    import numpy as np

    def chosen(_: "Frame", poses: "Poses") -> "Poses":
        return poses[np.isin(poses.classes, args.classes)]

    return [chosen] if args.classes else []


def main() -> int:
    args = parse()
    is_example = args.source == EXAMPLE and args.weights == EXAMPLE_WEIGHTS and not args.pose_model
    if is_example:
        args.source = str(ROOT / EXAMPLE)
        log.info("an example: a drawn picture, and a small network that has only ever seen drawn people")
    from utils.core.runs import new_run
    from utils.inference.draw import Style, draw_poses
    from utils.inference.media.files import quiet_decoders
    from utils.inference.media.sources import Source
    from utils.inference.media.window import Window
    from utils.inference.run import Delivery, process

    quiet_decoders()
    source = Source(args.source, stride=args.vid_stride)
    predict, spec = predictor_of(args)
    window = Window.open("detect") if args.view_img else None
    style = Style(
        labels=not args.hide_labels, scores=not args.hide_conf, classes=spec.classes,
        keypoint_threshold=args.kpt_thres, line_width=args.line_thickness,
    )  # fmt: skip
    folder = new_run(args.project, args.name, exist_ok=args.exist_ok)
    needs_drawing = window is not None or not args.nosave
    draw = (lambda image, poses: draw_poses(image, poses, spec.schema, style)) if needs_drawing else None
    delivery = Delivery(outputs_of(args, folder, spec), draw)
    tally = process(source, predict, delivery, batch_size=args.batch_size, alter=changes_of(args), window=window)
    print(tally.line)
    if str(source.faults):
        print(f"skipped: {source.faults}")
    if delivery.outputs:
        print(f"results in {folder}")
    return 0 if tally.frames else 1


if __name__ == "__main__":
    flags.run(main)
