"""How many scenes one core draws per second: python -m benchmarks.people [--size 320] [--count 100] [--rounds 5]

Prints one line per figure and difficulty: the median over several rounds, each of which draws the same scenes. It is
processor time that is counted, so that a machine with other work to do gives nearly the same answer.
"""

import argparse
import statistics
import time

import cv2

from utils.data.people import CROWDINGS, FIGURES, SceneSettings, draw


def scenes_per_second(settings: SceneSettings, count: int) -> float:
    """How many scenes one core draws in a second of its own time."""
    start = time.process_time()
    for index in range(count):
        draw(0, index, settings)
    return count / (time.process_time() - start)


def main() -> None:
    """Measure every kind of scene on one core."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=main.__doc__)
    parser.add_argument("--size", type=int, default=320, help="width and height in pixels")
    parser.add_argument("--count", type=int, default=100, help="scenes per round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for figure in FIGURES:
        for difficulty in CROWDINGS:
            settings = SceneSettings((args.size, args.size), figure, difficulty)
            draw(0, 0, settings)
            median = statistics.median(scenes_per_second(settings, args.count) for _ in range(args.rounds))
            print(f"{figure:8} {difficulty:9} {args.size:4} px {median:6.0f} scenes/s")


if __name__ == "__main__":
    main()
