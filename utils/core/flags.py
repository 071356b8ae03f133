"""The flags that several doors share, and the old spellings that stay accepted.

Imports neither torch nor OpenCV: `--help` answers at once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.core.console import log

# What commands show when nothing is named: a drawn picture, and a small network that has only ever seen drawn people.
EXAMPLE, EXAMPLE_WEIGHTS = "data/example.jpg", "weights/yolov5n6_kpts_people.safetensors"

# What the originals called the data files that are here under one name.
OLD_DATA = {"coco-kp.yaml": "coco_kpts.yaml"}

# Published checkpoints that the originals' commands mean when they name none: the first of them that is here.
PUBLISHED = ("yolov5s6_kpts.pt", "kapao_s_coco.pt", "xpose_l_coco.pt", "kpao_s_coco.pt")
PUBLISHED_DEMO = ("kapao_l_coco.pt", "xpose_l_coco.pt", "kpao_s_coco.pt")

# KAPAO's checkpoints under its older name, and under that of XPOSE, whose letters go the other way.
OLD_WEIGHTS = {"kpao_": "kapao_", "xpose_l_": "kapao_s_", "xpose_p_": "kapao_m_", "xpose_m_": "kapao_l_"}

# Thresholds for counting AP, as the published figures were: doubtful people cost little there and win recall.
THOROUGH = {"conf": 0.001, "iou": 0.65}


# Thresholds of families that find keypoints as objects, and of those of single persons, as flags and as settings.
KEYPOINT_OBJECTS = ("conf_thres_kp", "iou_thres_kp", "conf_thres_kp_person", "overwrite_tol", "no_kp_dets")
SINGLE_PERSONS = ("visible_from", "oks", "soft_oks")


class _Freeze(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.freeze = int(values[0]) if len(values) == 1 and values[0].isdecimal() else tuple(values)


class _Views(argparse.Action):
    """Views that have a name: those of YOLOv5's `--augment`, and as it is with its mirror image."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.scales, namespace.flips = (list(each) for each in self.const)


def add_model_flags(
    parser: argparse.ArgumentParser,
    *,
    weights: str | None = None,
    published: Sequence[str] = (),
    half: str = "half precision, on a GPU",
) -> None:
    """Without `--weights`: the first of the published ones that is here, else `weights`."""
    group = parser.add_argument_group("model")
    here = next((name for name in published if Path(name).is_file()), weights)

    def named(name: str) -> str | None:
        if name is here and name != weights:  # argparse hands in the default itself; what is typed is another object
            log.info("--weights: none named; %s is here", name)
        return _weights_file(name) if name else None  # '' is how YOLOv5's users ask for one that starts from nothing

    told = "checkpoint, ours or published: file or URL; '' for none"
    if published and here is None:
        told += f"; default: {', '.join(published[:-1])} or {published[-1]} where it is here"
    group.add_argument("--weights", type=named, default=here, metavar="FILE", help=told)
    group.add_argument("--cfg", metavar="YAML", help="model YAML, to build a new model (weights fill in what fits)")
    group.add_argument("--device", default="", metavar="D", help="cpu, mps, a GPU number, or 0,1; default: the best")
    group.add_argument("--half", action="store_true", help=half)


def add_image_flags(parser: argparse.ArgumentParser, *, batch: int | None) -> None:
    group = parser.add_argument_group("images")
    group.add_argument(
        "--img", "--img-size", "--imgsz", dest="img", type=int, nargs="+", metavar="PX",
        help="input size: one side, or height and width; default: the model's own",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", "--batch", dest="batch_size", type=int, default=batch, metavar="N",
        help="images at a time" if batch else "images at a time, of all GPUs together; -1: what fits",
    )  # fmt: skip


def add_data_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=_data_file, default="coco_kpts.yaml", metavar="D", help="data YAML, folder or COCO JSON"
    )


def _data_file(name: str) -> str:
    """The file as typed, or the one that has an older file's place."""
    return name if Path(name).exists() else OLD_DATA.get(Path(name).name, name)


def _weights_file(name: str) -> str | None:
    """The file as typed, or the one of the same network under its other name; '' is none, as YOLOv5 has it."""
    path = Path(name)
    for old, new in OLD_WEIGHTS.items():
        if path.name.startswith(old) and not path.is_file():
            other = path.with_name(path.name.replace(old, new, 1))
            if other.is_file():
                log.info("%s: not here; %s is the same network", name, other)
                return str(other)
    return name or None


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """How training images come."""
    group = parser.add_argument_group("data")
    group.add_argument("--workers", type=int, default=4, metavar="N", help="processes that load images")
    group.add_argument(
        "--cache", "--cache-images", nargs="?", default="", const="ram", choices=("ram", "disk"),
        help="keep decoded images",
    )  # fmt: skip
    group.add_argument("--single-cls", action="store_true", help="all classes as one")
    group.add_argument("--image-weights", action="store_true", help="images with many people, of rare classes, often")
    group.add_argument(
        "--noautoanchor", dest="autoanchor", action="store_false", help="leave anchors alone that fit the data badly"
    )


def add_validation_flags(parser: argparse.ArgumentParser) -> None:
    """How a training looks at its validation images, and what it keeps."""
    group = parser.add_argument_group("validation and checkpoints")
    group.add_argument("--noval", "--notest", dest="evaluate_every", action="store_const", const=0,
                       help="validate after the last epoch only")  # fmt: skip
    group.add_argument("--val-scales", type=float, nargs="+", default=[1.0], metavar="S", help="as val.py's --scales")
    group.add_argument("--val-flips", type=int, nargs="+", default=[], metavar="F", help="as val.py's --flips")
    group.add_argument("--nosave", dest="checkpoints", action="store_const", const="end",
                       help="write weights when the run ends only")  # fmt: skip
    group.add_argument(
        "--save-period", "--save_period", type=int, metavar="N", help="keep the weights of every Nth epoch"
    )


def add_select_flags(parser: argparse.ArgumentParser) -> None:
    """Thresholds; a flag that is not given leaves the model's own value alone."""
    group = parser.add_argument_group("selection")
    group.add_argument(
        "--conf-thres",
        "--conf",
        dest="conf_thres",
        type=float,
        metavar="P",
        help="keep people with at least this score",
    )
    group.add_argument(
        "--iou-thres",
        "--iou",
        dest="iou_thres",
        type=float,
        metavar="P",
        help="of people that overlap more than this, keep the best",
    )
    group.add_argument("--max-det", type=int, metavar="N", help="at most this many people per image")
    group.add_argument("--oks-thres", dest="oks", type=float, metavar="P", help="of people with a higher OKS, keep one")
    group = parser.add_argument_group("selection, for families with keypoint objects")
    group.add_argument("--conf-thres-kp", type=float, metavar="P", help="keep keypoint objects with this score")
    group.add_argument("--iou-thres-kp", type=float, metavar="P", help="of those that overlap more, keep the best")
    group.add_argument("--conf-thres-kp-person", type=float, metavar="P", help="only people with this score get them")
    group.add_argument("--overwrite-tol", type=float, metavar="PX", help="only keypoints this near are replaced")
    group.add_argument("--no-kp-dets", action="store_const", const=True, help="replace no keypoints")
    group = parser.add_argument_group("selection, for models of single persons")
    group.add_argument("--visible-from", type=float, metavar="P", help="a pose's score: the mean of keypoints above P")
    group.add_argument("--soft-oks", action="store_const", const=True, help="or weaken the others, and keep 20")


def add_fusion_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fusion, for families with keypoint objects")
    group.add_argument("--count-fused", action="store_true", help="print how often each keypoint was replaced")
    group.add_argument("--two-stage", action="store_true", help=argparse.SUPPRESS)


def check_fusion(args: argparse.Namespace, family: str, *, fuses: bool) -> None:
    """Refuse what a family cannot do before any image is looked at."""
    if args.two_stage:
        raise ValueError(
            "--two-stage: found, but it has never run, in KAPAO's own val.py neither, and nothing says what it should "
            "do; leave it out. To look at each person once more: detect.py --det-model and --pose-model, or --scales"
        )
    if args.count_fused and not fuses:
        raise ValueError(f"--count-fused: family {family} has no keypoint objects; leave it out")


def add_view_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("test-time augmentation")
    group.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], metavar="S", help="look at each image at these scales"
    )
    group.add_argument(
        "--flips", type=int, nargs="+", default=[], metavar="F",
        help="one for each scale: -1 as it is, 3 left and right exchanged, 2 upside down",
    )  # fmt: skip
    usual, mirrored = ((1.0, 0.83, 0.67), (-1, 3, -1)), ((1.0, 1.0), (-1, 3))
    group.add_argument("--augment", action=_Views, nargs=0, const=usual, help="--scales 1 0.83 0.67 --flips -1 3 -1")
    group.add_argument("--flip-test", action=_Views, nargs=0, const=mirrored, help="--scales 1 1 --flips -1 3")


def add_run_flags(parser: argparse.ArgumentParser, *, project: str) -> None:
    group = parser.add_argument_group("where results go")
    group.add_argument("--project", default=project, metavar="DIR", help="folder of all runs")
    group.add_argument("--name", default="exp", help="this run's folder; numbered when it exists")
    group.add_argument("--exist-ok", action="store_true", help="write into an existing run folder")


def add_tracking_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tracking")
    group.add_argument("--track", action="store_true", help="ids for the people of videos and streams")
    group.add_argument("--bridge", type=int, default=1, metavar="N", help="with ids: who is missed stays N frames (1)")
    group.add_argument("--smooth", nargs="?", const="oneeuro", choices=["oneeuro"], help="with ids, and less tremble")


def add_drawing_flags(parser: argparse.ArgumentParser) -> None:
    """How people are drawn, and whether anybody sees it."""
    group = parser.add_argument_group("drawing")
    group.add_argument("--view-img", action="store_true", help="show pictures in a window; q ends")
    group.add_argument("--kpt-thres", type=float, default=0.3, metavar="P", help="draw keypoints from this score on")
    group.add_argument("--line-thickness", type=int, metavar="PX", help="default: by the size of the picture")
    group.add_argument("--hide-labels", action="store_true", help="no classes and ids")
    group.add_argument("--hide-conf", action="store_true", help="no scores")


def add_result_flags(parser: argparse.ArgumentParser) -> None:
    """What is written about the people that were found."""
    group = parser.add_argument_group("results")
    group.add_argument("--nosave", action="store_true", help="write no pictures and videos")
    group.add_argument("--save-txt", action="store_true", help="labels/NAME.txt for every frame, as YOLO-pose")
    group.add_argument("--save-conf", action="store_true", help="with each person's score at the end of its row")
    group.add_argument("--save-json", action="store_true", help="results.json, as COCO")
    group.add_argument("--save-csv", action="store_true", help="results.csv, a row for every person")
    group.add_argument("--save-crop", action="store_true", help="crops/CLASS/NAME.jpg of everybody")
    group.add_argument("--save-gif", action="store_true", help="a GIF beside every video")
    group.add_argument("--strict", action="store_true", help="status 1 when anything could not be read")


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """What overrules a recipe; a flag that is not given leaves the recipe alone. Their names are its keys."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--epochs", type=int, metavar="N", help="default: the recipe's, else 300")
    group.add_argument("--optimizer", choices=("SGD", "Adam", "AdamW"))
    group.add_argument("--adam", dest="optimizer", action="store_const", const="Adam", help="--optimizer Adam")
    group.add_argument("--cos-lr", dest="schedule", action="store_const", const="cosine", help="the usual decay")
    group.add_argument("--linear-lr", dest="schedule", action="store_const", const="linear", help="a straight line")
    group.add_argument("--multi-scale", action="store_const", const=(0.5, 1.5), help="another size for every batch")
    group.add_argument("--label-smoothing", type=float, metavar="P")
    group.add_argument("--freeze", nargs="+", action=_Freeze, metavar="N",
                       help="leave the first N layers as they are; or several numbers or names: those")  # fmt: skip
    group.add_argument("--patience", type=int, metavar="N", help="stop after so many epochs without a better AP")
    group.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"))
    group.add_argument("--sync-bn", action="store_const", const=True, help="batch statistics of all GPUs together")
    group.add_argument("--compile", action="store_const", const=True, help="torch.compile")
    group.add_argument("--seed", type=int, metavar="N")


def selection(args: argparse.Namespace) -> dict[str, Any]:
    """The thresholds that were typed, under the names that families give them."""
    typed = {"conf": args.conf_thres, "iou": args.iou_thres, "max_poses": args.max_det}
    typed |= {name: getattr(args, name) for name in (*KEYPOINT_OBJECTS, *SINGLE_PERSONS)}
    return {name: value for name, value in typed.items() if value is not None}


def selections(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The thresholds of the first stage, and those of the second, the model of single persons, if there is one."""
    typed = selection(args)
    second = SINGLE_PERSONS if args.pose_model else ()
    first = {name: value for name, value in typed.items() if name not in second}
    first |= {"agnostic": True} if args.agnostic_nms else {}
    return first, {name: value for name, value in typed.items() if name in second}


def image_size(values: Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) from `--img 640` or `--img 384 640`; None leaves the model's own."""
    if values is None:
        return None
    if len(values) > 2 or min(values) < 1:
        raise ValueError(f"--img: found {' '.join(map(str, values))}; expected one side, or height and width")
    return values[0], values[-1]
