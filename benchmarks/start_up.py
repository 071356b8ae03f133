"""python -m benchmarks.start_up: from a typed command to its answer, each time in a cold interpreter.

Seconds of the processor (of the process and its children) are what to trust; seconds of the clock are of this machine
with whatever else runs on it. The quickest of the repeats is shown: everything slower was somebody else's work.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import machine
from utils.core.config import ROOT
from utils.core.flags import EXAMPLE, EXAMPLE_WEIGHTS

HELP = (
    "train.py", "val.py", "detect.py", "export.py", "demos/image.py", "demos/video.py", "demos/squash.py",
    "-m demos.tour", "-m demos.fusion_figure", "-m utils.data.check", "-m utils.data.convert", "-m utils.data.people",
    "-m models.summary", "-m models.slim", "onnx_inference/yolo_pose_onnx_inference.py",
)  # fmt: skip
# What a start of detect.py consists of: statements, each in the process that the ones before it have warmed.
STORY = {
    "import torch and numpy": "import numpy, torch",
    "import OpenCV": "import cv2",
    "import Limber": "import models.build, models.families.yolo_pose, models.layers, utils.inference.predictor as p",
    "build the embedded model and fuse it": f"model = p.Predictor({EXAMPLE_WEIGHTS!r})",
    "first picture, 640": f"model({EXAMPLE!r})",
    "(importing all of torchvision would add)": "import torchvision.ops",
}


def cost(words: Sequence[str], folder: Path = ROOT) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a command takes; it has to succeed."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        told = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words)}: {told}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def quickest(words: Sequence[str], repeats: int) -> tuple[float, float]:
    runs = [cost(words) for _ in range(repeats)]
    return min(wall for wall, _ in runs), min(cpu for _, cpu in runs)


def story(repeats: int) -> dict[str, float]:
    """Seconds of the processor for every part of a start, the quickest of the repeats."""
    program = "import json, logging, time\nlogging.disable()\nspent = {}\n"
    for name, statement in STORY.items():
        program += f"start = time.process_time()\n{statement}\nspent[{name!r}] = time.process_time() - start\n"
    words = [sys.executable, "-c", program + "print(json.dumps(spent))"]
    runs = [
        json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]
    return {name: min(run[name] for run in runs) for name in STORY}


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from a typed command to its answer, in cold interpreters.")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(f"{machine()}\n\n{'':<52}{'clock':>8}{'processor':>11}")

    def show(name: str, words: Sequence[str]) -> None:
        wall, cpu = quickest(words, args.repeats)
        print(f"{name:<52}{wall:>6.2f} s{cpu:>9.2f} s", flush=True)

    show("an empty interpreter", ["-c", ""])
    for door in HELP:
        show(f"{door} --help", [*door.split(" "), "--help"])
    with tempfile.TemporaryDirectory() as folder:
        out, exported = Path(folder), Path(folder) / Path(EXAMPLE_WEIGHTS).with_suffix(".onnx").name
        show("detect.py on one picture", ["detect.py", "--device", "cpu", "--project", folder])
        cost(["export.py", "--weights", EXAMPLE_WEIGHTS, "--img", "640", "--no-check", "--out", folder])
        alone = ["onnx_inference/yolo_pose_onnx_inference.py", "--model-path", str(exported)]
        alone += ["--img-path", EXAMPLE, "--dst-path", str(out / "alone")]
        show("the same by onnx_inference, without torch", alone)
    print("\nwhat detect.py does with it, seconds of the processor")
    for name, seconds in story(args.repeats).items():
        print(f"{name:<52}{seconds:>17.2f} s")


if __name__ == "__main__":
    main()
