"""python -m benchmarks.top_down: what cropping people costs beside the network that looks at them."""

import argparse

import numpy as np
import torch

from benchmarks.timing import machine, medians
from models.build import load
from models.layers import fused
from utils.core.poses import Batch, Poses
from utils.inference.predictor import OneStage
from utils.inference.two_stage import TwoStage

PEOPLE, CROWD = 8, 30


def crowd(height: int, width: int, count: int = PEOPLE) -> Poses:
    """People of all sizes, as a detector finds them."""
    rng = np.random.default_rng(0)
    low = rng.uniform((0, 0), (width * 0.7, height * 0.5), (count, 2))
    boxes = np.concatenate((low, low + rng.uniform(0.1, 0.4, (count, 1)) * (0.5 * height, height)), 1)
    return Poses(
        boxes=boxes.astype(np.float32),
        scores=np.full(count, 0.9, np.float32),
        classes=np.zeros(count, np.int64),
        keypoints=np.zeros((count, 0, 2), np.float32),
        keypoint_scores=np.zeros((count, 0), np.float32),
    )


def cropping(name: str, height: int, width: int, repeats: int) -> None:
    """Eight crops and their batch, and the network, its decoding and the way back."""
    stages = TwoStage(OneStage(load("yolov5n6_kpts.yaml")), fused(load(name)))
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    people, wanted = crowd(height, width), [(0, number) for number in range(PEOPLE)]

    def crops() -> Batch:
        return stages.crops([("image", image)], [people], wanted)

    batch = crops()
    found = medians({"crops": crops, "network": lambda: stages.poser.poses_of(batch)}, repeats=repeats, warm_up=1)
    share = 100 * found["crops"] / found["network"]
    print(f"  {PEOPLE} crops of {width} x {height}: {found['crops']:.1f} ms; {name} on them: {found['network']:.0f} ms")
    print(f"  cropping costs {share:.1f}% of the network (goal: under 10%)")


def batching(name: str, repeats: int) -> None:
    """A crowd's crops, network and way back: all people in one batch, and each in one of their own."""
    detector, model = OneStage(load("yolov5n6_kpts.yaml")), fused(load(name))
    image, people = np.random.default_rng(1).integers(0, 255, (425, 640, 3), dtype=np.uint8), crowd(425, 640, CROWD)
    ways = {"together": TwoStage(detector, model, batch_size=32), "one by one": TwoStage(detector, model, batch_size=1)}
    runs = {way: (lambda stages=stages: stages.poses_in([("image", image)], [people])) for way, stages in ways.items()}
    found = medians(runs, repeats=repeats, warm_up=1)
    told = ", ".join(f"{way} {found[way]:.0f} ms" for way in ways)
    print(
        f"  {CROWD} people through {name}: {told}; {found['one by one'] / found['together']:.2f} times as fast together"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What cropping people costs beside the pose network, in one run.")
    parser.add_argument("--cfg", default="hrnet_w32_256x192.yaml", help="the pose network")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(machine())
    with torch.inference_mode():
        for height, width in ((425, 640), (1080, 1920)):
            cropping(args.cfg, height, width, args.repeats)
        for name in (args.cfg, "hrnet_w8_128x96.yaml"):
            batching(name, args.repeats)


if __name__ == "__main__":
    main()
