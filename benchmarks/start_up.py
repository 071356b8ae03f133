"""python -m benchmarks.start_up: from a cold interpreter to a nano model's first people, and what takes the time."""

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.timing import machine

STORY = """
import json, time
start, marks = time.perf_counter(), {}
def mark(name):
    global start
    now = time.perf_counter()
    marks[name], start = now - start, now
import numpy, torch
mark("import torch and numpy")
import torchvision.ops
mark("import torchvision (for NMS)")
import cv2
mark("import cv2")
from utils.inference.predictor import Predictor
import models.build, models.families.yolo_pose, models.layers
mark("import Limber")
import logging
logging.disable()
predictor = Predictor("yolov5n6_kpts.yaml")
mark("build the nano model and fuse it")
predictor(numpy.zeros((480, 640, 3), numpy.uint8))
mark("first call, 640 x 640")
print(json.dumps(marks))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from a cold interpreter to the first people of a nano model.")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(machine())
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=True).stdout)
        for _ in range(args.repeats)
    ]
    for name in runs[0]:
        print(f"  {name:<38} {statistics.median(run[name] for run in runs):6.2f} s")
    whole = statistics.median(sum(run.values()) for run in runs)
    print(f"  {'from import to the first people':<38} {whole:6.2f} s (goal: under 4 s on two cores)")


if __name__ == "__main__":
    main()
