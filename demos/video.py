"""python demos/video.py -p FILE --face --gif: people on a video, also on depth images, as in KAPAO's demo."""

import argparse
from pathlib import Path


def parse() -> argparse.Namespace:
    from demos.shared import add_model_flags, add_point_flags, add_video_flags
    from utils.core.command import Parser

    parser = Parser("People on a video, written beside you as mp4 or GIF. Without -p: a film of drawn people.")
    add_video_flags(parser, video="yBZ0Y2t0ceo", tag=135)
    parser.add_argument("--gif-size", type=int, nargs=2, default=[480, 270], metavar=("W", "H"))
    parser.add_argument("--color", type=int, nargs=3, metavar=("B", "G", "R"), help="of limbs; default: by side")
    parser.add_argument("--face", action="store_true", help="faces")
    parser.add_argument("--kp-obj", action="store_true", help="only keypoints that were found as objects")
    parser.add_argument("--csv", action="store_true", help="a row of x, y, score for every frame")
    parser.add_argument("--fps-size", "--fps", type=float, nargs="?", const=1.0, default=1.0, metavar="S",
                        help="of the frames per second in the corner; 0: none")  # fmt: skip
    add_point_flags(parser)
    parser.add_argument("--alpha", type=float, default=0.4, help="how much of the video shows through")
    add_model_flags(parser, conf=0.5)
    return parser.parse_args()


def main() -> int:
    args = parse()
    import numpy as np

    from demos.shared import SURE, bgr, model_of, radius_of, refuse_objects, run_video, video_of
    from utils.core.poses import Poses
    from utils.inference.demo_outputs import Coordinates, Film
    from utils.inference.look import FrameRate, Look, check_face, show

    predictor = model_of(args)
    refuse_objects(args, predictor, ("kp_obj",))
    schema, fuses = predictor.model.spec.schema, predictor.model.fuses
    if args.face:
        check_face(schema)
    if not 0 <= args.alpha < 1:
        raise ValueError(f"--alpha {args.alpha}: expected 0 (only drawing) to less than 1")
    source = video_of(args)
    look = Look(
        boxes=True, face=args.face, dots=args.kp_obj, fused_only=args.kp_obj, line_width=args.line_thick,
        radius=radius_of(args), colour=bgr(args.color) if args.color else None,
        threshold=0.0 if fuses else SURE, opacity=1 - args.alpha,
    )  # fmt: skip
    rate = FrameRate(args.fps_size)

    def draw(image: np.ndarray, poses: Poses) -> np.ndarray:
        drawn = show(image, poses, schema, look)
        rate.write(drawn)
        return drawn

    device = "cpu" if predictor.device.type == "cpu" else "gpu"
    name = f"{Path(source.where).stem}_{Path(args.weights or args.cfg).stem}_{device}"
    outputs = [Coordinates(Path(f"{name}.csv"))] if args.csv else []
    if not args.display:
        width, height = args.gif_size
        outputs.append(Film(Path(f"{name}.gif"), (height, width)) if args.gif else Film(Path(f"{name}.mp4")))
    return run_video(args, source, predictor, draw, outputs)


if __name__ == "__main__":
    if not __package__:  # as typed: python demos/video.py
        import _root

        _root.reach_the_house()
    from utils.core.command import run

    run(main)
