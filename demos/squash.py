"""python demos/squash.py -p FILE --fps: two players told apart, spectators in grey, as in KAPAO's demo."""

import argparse
from pathlib import Path


def parse() -> argparse.Namespace:
    from demos.shared import add_model_flags, add_video_flags
    from utils.core.command import Parser

    parser = Parser("Two squash players in their colours. Without -p: a film of drawn people.")
    add_video_flags(parser, video="Dy62-eTNvY4", tag=137)
    parser.add_argument("--fps", action="store_true", help="frames per second in the corner")
    parser.add_argument(
        "--tracker", default="players", choices=("players", "everybody"),
        help="players: the demo's own, for two; everybody: ids as in detect.py",
    )  # fmt: skip
    parser.add_argument("--player-size", type=float, default=0.417, metavar="H",
                        help="least diagonal of a player's box in picture heights")  # fmt: skip
    add_model_flags(parser, conf=0.5)
    return parser.parse_args()


def main() -> int:
    args = parse()
    import numpy as np

    from demos.shared import SURE, model_of, run_video, video_of
    from utils.core.poses import Poses
    from utils.inference.demo_outputs import Film
    from utils.inference.look import FrameRate, Look, show
    from utils.inference.players import Court
    from utils.inference.track import Tracker

    predictor = model_of(args)
    source = video_of(args)
    schema, threshold = predictor.model.spec.schema, 0.0 if predictor.model.fuses else SURE
    rate, tracker = FrameRate(1.6 if args.fps else 0.0), Tracker(schema)
    court = Court(schema, least_diagonal=args.player_size, threshold=threshold)
    everybody = Look(boxes=True, threshold=threshold, opacity=0.7)

    def draw(image: np.ndarray, poses: Poses) -> np.ndarray:
        if args.tracker == "players":
            drawn = court.draw(image, poses)
        else:
            drawn = show(image, tracker.update(poses), schema, everybody)
        rate.write(drawn)
        return drawn

    path = Path(f"squash_inference_{Path(args.weights or args.cfg).stem}")
    film = Film(path.with_suffix(".gif"), share=0.25) if args.gif else Film(path.with_suffix(".mp4"))
    return run_video(args, source, predictor, draw, [] if args.display else [film])


if __name__ == "__main__":
    if not __package__:  # as typed: python demos/squash.py
        import _root

        _root.reach_the_house()
    from utils.core.command import run

    run(main)
