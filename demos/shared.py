"""What image.py, video.py and squash.py have in common: flags, the model, and where a video comes from."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core import flags
from utils.core.config import ROOT
from utils.core.console import log

if TYPE_CHECKING:  # imported where they are used: --help answers at once
    from utils.inference.draw import Colour
    from utils.inference.media.excerpt import Excerpt
    from utils.inference.outputs import Output
    from utils.inference.predictor import OneStage
    from utils.inference.run import Draw

SURE = 0.3  # keypoint score from which something is drawn, where there are no keypoint objects


def add_model_flags(parser: argparse.ArgumentParser, *, conf: float) -> None:
    """The options that KAPAO's demos share; its thresholds go to families that have them."""
    flags.add_model_flags(parser, weights=flags.EXAMPLE_WEIGHTS, published=flags.PUBLISHED_DEMO)
    flags.add_image_flags(parser, batch=1)
    flags.add_select_flags(parser)
    parser.set_defaults(usual={"conf": conf, "iou": 0.45, "conf_thres_kp": conf, "iou_thres_kp": 0.45})
    parser.add_argument("--data", metavar="YAML", help="keypoints of the model, where its file does not know them")
    flags.add_view_flags(parser)


def add_point_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kp-size", type=int, metavar="PX", help="radius of keypoints; default: by size")
    parser.add_argument("--kp-thick", type=int, default=2, metavar="PX", help="of the line round that radius")
    parser.add_argument("--line-thick", type=int, metavar="PX", help="of limbs; default: by size")


def radius_of(args: argparse.Namespace) -> float | None:
    """A circle that the published demos draw with a thick line is a disc of this radius here."""
    return args.kp_size + args.kp_thick / 2 if args.kp_size is not None else None


def model_of(args: argparse.Namespace) -> "OneStage":
    """The model with the thresholds that were typed, and the demo's for the rest."""
    from models.build import load
    from models.layers import fused
    from utils.core.distributed import choose_device
    from utils.core.schema import KeypointSchema
    from utils.core.tta import read_views
    from utils.inference.predictor import OneStage

    weights = args.weights
    if weights == flags.EXAMPLE_WEIGHTS and not args.cfg:
        weights = str(ROOT / weights)
        if not Path(weights).exists():
            raise ValueError(f"{flags.EXAMPLE_WEIGHTS}: not in this copy of the repository; name a model: --weights")
        log.info("%s: a small network that has only ever seen drawn people", flags.EXAMPLE_WEIGHTS)
    select = flags.selection(args)
    left_out = {"no_kp_dets": True} if select.pop("no_kp_dets", False) else {}  # other families have none anyway
    schema = KeypointSchema.read(args.data) if args.data else None
    model = load(weights, args.cfg, schema, select=select, usual=args.usual | left_out)
    if args.no_kp_dets and not model.fuses:
        log.info("--no-kp-dets: family %s has no keypoint objects to leave out", model.spec.family)
    if model.spec.view == "person":
        raise ValueError(f"{args.weights}: looks at one person at a time; detect.py has --det-model and --pose-model")
    device, views = choose_device(args.device), read_views(args.scales, args.flips)
    return OneStage(fused(model), device=device, half=args.half, views=views, size=flags.image_size(args.img))


def refuse_objects(args: argparse.Namespace, predictor: "OneStage", names: Sequence[str]) -> None:
    """Flags that show keypoint objects need a family that has them."""
    for name in names:
        if getattr(args, name) and not predictor.model.fuses:
            family = predictor.model.spec.family
            raise ValueError(f"--{name.replace('_', '-')}: family {family} has no keypoint objects; KAPAO has")
        if getattr(args, name) and args.no_kp_dets and name == "kp_obj":
            raise ValueError("--kp-obj and --no-kp-dets: found both; expected one of them")


def add_video_flags(parser: argparse.ArgumentParser, *, video: str, tag: int) -> None:
    group = parser.add_argument_group("video")
    what = "a video; default: that of the published demo where it is here, else a film of drawn people"
    group.add_argument("-p", "--video-path", metavar="FILE", help=what)
    group.add_argument("--yt-id", metavar="ID", help=f"a YouTube video, by yt-dlp; the published demo's is {video}")
    parser.set_defaults(published_video=video)
    group.add_argument("--tag", type=int, default=tag, help="its format: 135 480p, 136 720p, 137 1080p")
    group.add_argument("--start", type=float, default=0.0, metavar="S", help="begin at this second")
    group.add_argument("--end", type=float, default=-1.0, metavar="S", help="end at this second; -1: to the end")
    group.add_argument("--display", action="store_true", help="show it instead of writing it")
    group.add_argument("--gif", action="store_true", help="write a GIF instead of an mp4")


def video_of(args: argparse.Namespace) -> "Excerpt":
    """The video that was named, the one that yt-dlp fetches, the published demo's, or a film of drawn people."""
    from utils.inference.media.excerpt import Excerpt, fetched, place_of

    if args.video_path and args.yt_id:
        raise ValueError("-p and --yt-id: found both; expected one of them")
    published = place_of(args.published_video, args.tag)
    usual = str(published) if published.exists() else None
    path = args.video_path or (str(fetched(args.yt_id, args.tag)) if args.yt_id else usual or drawn_film())
    return Excerpt(path, start=args.start, end=args.end)


def drawn_film() -> str:
    """Four seconds of drawn people who walk about, written once into the working directory."""
    from utils.data.film import FilmSettings, film
    from utils.inference.media.writing import VideoFile

    path, settings = Path("drawn_people.mp4"), FilmSettings(frames=100, people=4)
    if not path.exists():
        log.info("no video named: drawing one, %s", path)
        video = VideoFile(path, settings.size, settings.rate)
        for frame in film(0, settings):
            video.write(frame.image)
        video.close()
    return str(path)


def bgr(values: Sequence[int]) -> "Colour":
    """Three numbers in OpenCV's order, as the published demos take them."""
    blue, green, red = values
    return red, green, blue


def run_video(
    args: argparse.Namespace, source: "Excerpt", predictor: "OneStage", draw: "Draw", outputs: "list[Output]"
) -> int:
    """Look at a video frame by frame, and show or write what was drawn."""
    from utils.inference.media.files import quiet_decoders
    from utils.inference.media.window import Window
    from utils.inference.run import Delivery, process

    quiet_decoders()
    window = Window.open("Limber", "--display") if args.display else None
    tally = process(source, predictor, Delivery(outputs, draw), batch_size=1, window=window)
    print(tally.lines)
    return 0 if tally.frames else 1
