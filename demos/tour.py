"""python -m demos.tour (make demo): types the commands of README.md one after another and says where to look."""

import shlex
import shutil
import subprocess
import sys

from utils.core.flags import run

FOLDER = "runs/demo"
PREDICT = f"""
import json
from utils.inference.predictor import Predictor
predictor = Predictor("yolov5n6_kpts.yaml", conf=0.0)   # a new network: it has learned nothing, so it guesses
[poses] = predictor("{FOLDER}/people/val/000000.jpg")
print(len(poses), "guesses; the first, in pixels of the picture:")
print(json.dumps(json.loads(poses[0].to_json(predictor.model.spec.schema.names))[0])[:200], "...")
"""
STEPS = (
    ("Draw people, with exact keypoints", f"-m utils.data.people --out {FOLDER}/people --count 60 --splits"),
    ("Look for faults in a data set, and make a page", f"-m utils.data.check {FOLDER}/people --project {FOLDER}/check"),
    ("Turn its labels into YOLO-pose txt", f"-m utils.data.convert {FOLDER}/people --to txt --out {FOLDER}/labels"),
    ("Weigh a model", "-m models.summary yolov5n6_kpts.yaml --img 320"),
    (
        "Train for two epochs: enough to see a run and its folder, far too little to learn anything",
        f"train.py --cfg yolov5n6_kpts.yaml --data {FOLDER}/people --img 192 --batch-size 8 --epochs 2"
        f" --project {FOLDER}/train --workers 2",
    ),
    (
        "Count its AP, as COCO does: near zero after two epochs",
        f"val.py --weights {FOLDER}/train/exp/weights/last.safetensors --data {FOLDER}/people --project {FOLDER}/val",
    ),
    ("Find people from Python", f"-c {shlex.quote(PREDICT)}"),
)  # fmt: skip


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for number, (title, command) in enumerate(STEPS, 1):
        shown = command if not command.startswith("-c") else "- <<'END'" + PREDICT + "END"
        print(f"\n[{number}/{len(STEPS)}] {title}\n$ python {shown}", flush=True)
        done = subprocess.run([sys.executable, *shlex.split(command)], check=False)
        if done.returncode:
            return done.returncode
    print(
        f"\nOpen {FOLDER}/check/people/index.html, {FOLDER}/train/exp/report.html and the pictures in {FOLDER}/people."
    )
    return 0


if __name__ == "__main__":
    run(main)
