"""python demos/image.py --bbox --pose --face: people on one picture, drawn step by step as in KAPAO's demo."""

import argparse
from pathlib import Path


def parse() -> argparse.Namespace:
    from demos.shared import add_model_flags, add_point_flags
    from utils.core import flags
    from utils.core.command import Parser

    parser = Parser("People on one picture, as much of them as you ask for. Without -p: an example.")
    parser.add_argument("-p", "--img-path", default=flags.EXAMPLE, metavar="FILE")
    parser.add_argument("--bbox", action="store_true", help="boxes of people")
    parser.add_argument("--kp-bbox", action="store_true", help="boxes of keypoint objects")
    parser.add_argument("--pose", action="store_true", help="limbs")
    parser.add_argument("--face", action="store_true", help="faces")
    parser.add_argument("--kp-obj", action="store_true", help="only keypoints that were found as objects")
    parser.add_argument("--color-pose", type=int, nargs=3, metavar=("B", "G", "R"), help="default: by side")
    parser.add_argument("--color-kp", type=int, nargs=3, metavar=("B", "G", "R"), help="default: as limbs")
    add_point_flags(parser)
    add_model_flags(parser, conf=0.7)
    return parser.parse_args()


def main() -> int:
    args = parse()
    from demos.shared import SURE, bgr, model_of, radius_of, refuse_objects
    from utils.core import flags, images
    from utils.core.config import ROOT
    from utils.inference.look import Look, check_face, show, show_keypoint_objects

    path = ROOT / args.img_path if args.img_path == flags.EXAMPLE else Path(args.img_path)
    image = images.read(path)
    predictor = model_of(args)
    refuse_objects(args, predictor, ("kp_bbox", "kp_obj"))
    schema, fuses = predictor.model.spec.schema, predictor.model.fuses
    if args.face:
        check_face(schema)
    [poses] = predictor(image)
    look = Look(
        boxes=args.bbox, limbs=args.pose, face=args.face, dots=args.pose and not args.no_kp_dets,
        fused_only=args.kp_obj, colour=bgr(args.color_pose) if args.color_pose else None,
        point_colour=bgr(args.color_kp) if args.color_kp else None, radius=radius_of(args),
        line_width=args.line_thick, threshold=0.0 if fuses else SURE,
    )  # fmt: skip
    drawn = show(image, poses, schema, look)
    if args.kp_bbox:
        drawn = show_keypoint_objects(drawn, predictor.keypoint_objects(image), schema, args.line_thick)
    shown = {"bbox": args.bbox, "pose": args.pose, "face": args.face, "kpbbox": args.kp_bbox}
    shown["kp_obj"] = fuses and not args.no_kp_dets
    parts = [path.stem, Path(args.weights or args.cfg).stem, *(name for name, wanted in shown.items() if wanted)]
    target = Path("_".join(parts) + ".png")
    images.write(target, drawn)
    print(f"{len(poses)} people: {target}")
    return 0


if __name__ == "__main__":
    if not __package__:  # as typed: python demos/image.py
        import _root

        _root.reach_the_house()
    from utils.core.command import run

    run(main)
