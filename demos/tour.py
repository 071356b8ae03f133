"""python -m demos.tour (make demo): what the embedded weights can do, measured, and what two more epochs teach them."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from utils.core.command import run

FOLDER = Path("runs/demo")
WEIGHTS = "weights/yolov5n6_kpts_people.safetensors"
TUNED = f"{FOLDER}/tuned/weights/best.safetensors"
MODERATE, CROWDS = f"{FOLDER}/people", f"{FOLDER}/crowds"
VIEWS = "--scales 0.8 1 1.2 --flips -1 3 -1"
VALIDATE = (
    "val.py --data {data} --weights {weights} --img {img} --workers 2 --device cpu --project {folder} --name {name}"
)


@dataclass(frozen=True)
class Step:
    title: str
    command: str
    row: str = ""  # what its AP is called in the table


def validation(name: str, title: str, *, data: str, weights: str = WEIGHTS, more: str = "") -> Step:
    command = VALIDATE.format(data=data, weights=weights, img=SIDE, folder=FOLDER, name=name)
    return Step(title, f"{command} {more}".strip(), name)


SIDE = 192
STEPS = (
    Step("Draw people: 200 images that the weights have never seen", f"-m utils.data.people --out {MODERATE} "
         "--count 8 --held-out 200 --size 256 --seed 77"),
    Step("Draw crowds: 600 images to learn from, 100 to be judged by", f"-m utils.data.people --out {CROWDS} "
         "--count 600 --held-out 100 --size 256 --seed 77 --difficulty hard"),
    validation("people", "Count the AP of the embedded weights, as COCO does", data=MODERATE),
    validation("people_tta", "Look at every image in three sizes, once mirrored", data=MODERATE, more=VIEWS),
    validation("crowds", "Now the crowds, which they were not trained on", data=CROWDS),
    Step("Teach them crowds for two epochs", f"train.py --weights {WEIGHTS} --data {CROWDS} --img {SIDE} --epochs 2 "
         f"--hyp hyp.tune.yaml --batch-size 16 --workers 2 --device cpu --project {FOLDER} --name tuned"),
    validation("crowds_tuned", "The crowds again", data=CROWDS, weights=TUNED),
    Step("Draw what they find", f"detect.py --source {CROWDS}/val --weights {TUNED} --img {SIDE} --device cpu "
         f"--project {FOLDER} --name pictures"),
)  # fmt: skip
ROWS = {
    "people": "embedded weights, people",
    "people_tta": "  and with test-time augmentation",
    "crowds": "embedded weights, crowds",
    "crowds_tuned": "  and after two epochs with crowds",
}


def table() -> str:
    """AP, AP50 and AR of every validation, from the files that val.py left."""
    lines = [f"{'':<36}{'AP':>8}{'AP50':>8}{'AR':>8}"]
    for name, title in ROWS.items():
        numbers = json.loads((FOLDER / name / "metrics.json").read_text(encoding="utf-8"))["numbers"]
        lines.append(f"{title:<36}" + "".join(f"{numbers[key]:8.3f}" for key in ("AP", "AP50", "AR")))
    return "\n".join(lines)


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    started = time.perf_counter()
    for number, step in enumerate(STEPS, 1):
        print(f"\n[{number}/{len(STEPS)}] {step.title}\n$ python {step.command}", flush=True)
        done = subprocess.run([sys.executable, *shlex.split(step.command)], check=False)
        if done.returncode:
            return done.returncode
    print(f"\n{table()}\n\n{time.perf_counter() - started:.0f} seconds. Open {FOLDER}/pictures for what was found, "
          f"{FOLDER}/tuned/report.html for the training, {FOLDER}/people for where the errors are.")  # fmt: skip
    return 0


if __name__ == "__main__":
    run(main)
