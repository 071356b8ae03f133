"""python -m benchmarks.video: a run over a video beside the slower of decoding and model, and what drawing costs."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import machine, medians
from models.build import load
from models.layers import fused
from utils.core import images
from utils.core.config import ROOT
from utils.core.poses import Poses
from utils.inference.draw import draw_poses
from utils.inference.media.memory import keep_freed_memory
from utils.inference.media.sources import Source
from utils.inference.media.writing import VideoFile
from utils.inference.predictor import OneStage
from utils.inference.run import Delivery, process

PEOPLE = 6  # drawn on every frame


def film(path: Path, size: tuple[int, int], count: int) -> Path:
    """The example picture, wandering sideways."""
    still = images.resize(images.read(ROOT / "data" / "example.jpg"), size)
    video = VideoFile(path, size, 30)
    for index in range(count):
        video.write(np.ascontiguousarray(np.roll(still, 4 * index, axis=1)))
    video.close()
    return path


def people(count: int, keypoints: int, size: tuple[int, int]) -> Poses:
    """So many people anywhere, a fifth of their keypoints doubtful."""
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 0.6, (count, 1, 2))
    points = (corner + generator.uniform(0, 0.4, (count, keypoints, 2))) * size[::-1]
    scores = np.where(generator.random((count, keypoints)) < 0.2, 0.5, 0.95)
    boxes = np.concatenate((points.min(1), points.max(1)), -1)
    return Poses(boxes, np.full(count, 0.9), np.zeros(count, int), points, scores)


def measure(title: str, video: Path, predict: OneStage, count: int, repeats: int) -> None:
    """Each stage alone and all together, taking turns."""
    frames = [frame.image for frame in Source(str(video))]
    size, schema = frames[0].shape[:2], predict.model.spec.schema
    crowd = people(PEOPLE, schema.count, size)

    def decode() -> None:
        assert sum(1 for _ in Source(str(video))) == count

    def look() -> None:
        for frame in frames:
            predict([frame])

    def drawing() -> None:
        for frame in frames:
            draw_poses(frame, crowd, schema)

    def run(delivery: Callable[[], Delivery]) -> Callable[[], object]:
        return lambda: process(Source(str(video)), predict, delivery())

    cases = {
        "decoding alone": decode,
        "model alone": look,
        "drawing alone": drawing,
        "run": run(lambda: Delivery([], None)),
        "run that draws": run(lambda: Delivery([], lambda image, _: draw_poses(image, crowd, schema))),
    }
    taken = medians(cases, repeats=repeats, warm_up=1)
    slower = max(taken["decoding alone"], taken["model alone"])
    both = taken["decoding alone"] + taken["model alone"]
    print(f"{title}: {size[1]} x {size[0]}, input {predict.size[1]} x {predict.size[0]}, ms per frame")
    for name, milliseconds in taken.items():
        print(f"  {name:<16} {milliseconds / count:8.2f}")
    print(f"  of the slower stage: {slower / taken['run']:.2f} (goal: 0.9; one after another: {slower / both:.2f})")
    print(f"  drawing {PEOPLE} people adds {100 * (taken['run that draws'] / taken['run'] - 1):.1f}% (goal: under 10%)")


def measure_waiting(times: float, video: Path, count: int, repeats: int) -> None:
    """A network on a device of its own, for which the processor only waits, so many times as long as for decoding."""

    def decode() -> None:
        assert sum(1 for _ in Source(str(video))) == count

    pause = medians({"decoding": decode}, repeats=repeats, warm_up=1)["decoding"] / count / 1000 * times
    nobody = people(0, 1, (1, 1))

    def wait(pictures: Sequence[np.ndarray]) -> list[Poses]:
        time.sleep(pause)
        return [nobody for _ in pictures]

    def look() -> None:
        for _ in range(count):
            wait([])

    def run() -> None:
        process(Source(str(video)), wait, Delivery([], None))

    taken = medians({"decoding alone": decode, "waiting alone": look, "run": run}, repeats=repeats, warm_up=1)
    slower, both = (
        max(taken["decoding alone"], taken["waiting alone"]),
        taken["decoding alone"] + taken["waiting alone"],
    )
    print(f"a network on a device of its own, {times:g} times as slow as decoding: ms per frame")
    for name, milliseconds in taken.items():
        print(f"  {name:<16} {milliseconds / count:8.2f}")
    print(f"  of the slower stage: {slower / taken['run']:.2f} (goal: 0.9; one after another: {slower / both:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of a run over a video, stage by stage.")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--weights", default="yolov5n6_kpts.yaml")
    parser.add_argument("--waiting", action="store_true", help="only the network that is waited for")
    args = parser.parse_args()
    keep_freed_memory()  # as detect.py does
    print(machine(), time.strftime("%Y-%m-%d"))
    model = fused(load(args.weights, select={"conf": 0.5}))
    with tempfile.TemporaryDirectory() as folder:
        large = film(Path(folder) / "large.mp4", (2160, 3840), args.frames)  # that decoding it takes its time
        for times in (2.0, 0.5):
            measure_waiting(times, large, args.frames, args.repeats)
        video = film(Path(folder) / "film.mp4", (720, 1280), args.frames)
        if not args.waiting:
            measure(
                "a nano network on the processor", video, OneStage(model, size=(320, 320)), args.frames, args.repeats
            )


if __name__ == "__main__":
    main()
