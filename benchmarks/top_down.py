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

PEOPLE = 8


def crowd(height: int, width: int) -> Poses:
    """Eight people of all sizes, as a detector finds them."""
    rng = np.random.default_rng(0)
    low = rng.uniform((0, 0), (width * 0.7, height * 0.5), (PEOPLE, 2))
    boxes = np.concatenate((low, low + rng.uniform(0.1, 0.4, (PEOPLE, 1)) * (0.5 * height, height)), 1)
    return Poses(
        boxes=boxes.astype(np.float32),
        scores=np.full(PEOPLE, 0.9, np.float32),
        classes=np.zeros(PEOPLE, np.int64),
        keypoints=np.zeros((PEOPLE, 0, 2), np.float32),
        keypoint_scores=np.zeros((PEOPLE, 0), np.float32),
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


def main() -> None:
    parser = argparse.ArgumentParser(description="What cropping people costs beside the pose network, in one run.")
    parser.add_argument("--cfg", default="hrnet_w32_256x192.yaml", help="the pose network")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(machine())
    with torch.inference_mode():
        for height, width in ((425, 640), (1080, 1920)):
            cropping(args.cfg, height, width, args.repeats)


if __name__ == "__main__":
    main()
