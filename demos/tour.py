"""python -m demos.tour (make demo): what the embedded weights can do, measured, and what two more epochs teach them."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from utils.core.command import Parser, run

FOLDER = Path("runs/demo")
WEIGHTS = "weights/yolov5n6_kpts_people.safetensors"
TUNED = f"{FOLDER}/tuned/weights/best.safetensors"
PEOPLE, NEAR = f"{FOLDER}/data/people", f"{FOLDER}/data/near"
VIEWS = "--scales 1 1 --flips -1 3"
VALIDATE = "val.py --data {data} --weights {weights} --workers 2 --device cpu --project {folder} --name {name}"


@dataclass(frozen=True)
class Step:
    title: str
    command: str


def validation(name: str, title: str, *, data: str, weights: str = WEIGHTS, more: str = "") -> Step:
    command = VALIDATE.format(data=data, weights=weights, folder=FOLDER, name=name)
    return Step(title, f"{command} {more}".strip())


STEPS = (
    Step("Draw people: 200 images that the weights have never seen", f"-m utils.data.people --out {PEOPLE} "
         "--count 8 --held-out 200 --size 256 --seed 77"),
    Step("Draw people from near: 800 images to learn from, 100 to be judged by", f"-m utils.data.people --out {NEAR} "
         "--count 800 --held-out 100 --size 256 --seed 77 --difficulty easy"),
    validation("people", "Count the AP of the embedded weights, as COCO does", data=PEOPLE),
    validation("people_tta", "Look at every image twice, once in the mirror", data=PEOPLE, more=VIEWS),
    validation("near", "Now people from near, of whom they saw few", data=NEAR),
    Step("Teach them for two epochs", f"train.py --weights {WEIGHTS} --data {NEAR} --epochs 2 --hyp hyp.tune.yaml "
         f"--batch-size 8 --workers 2 --device cpu --project {FOLDER} --name tuned"),
    validation("near_tuned", "People from near again", data=NEAR, weights=TUNED),
    Step("Draw what they find", f"detect.py --source {NEAR}/val --weights {TUNED} --device cpu "
         f"--project {FOLDER} --name pictures"),
)  # fmt: skip
ROWS = {
    "people": "embedded weights, people",
    "people_tta": "  and each image in the mirror, too",
    "near": "embedded weights, people from near",
    "near_tuned": "  and after two epochs with such",
}


def table() -> str:
    """AP, AP50 and AR of every validation, from the files that val.py left."""
    lines = [f"{'':<36}{'AP':>8}{'AP50':>8}{'AR':>8}"]
    for name, title in ROWS.items():
        numbers = json.loads((FOLDER / name / "metrics.json").read_text(encoding="utf-8"))["numbers"]
        lines.append(f"{title:<36}" + "".join(f"{numbers[key]:8.3f}" for key in ("AP", "AP50", "AR")))
    return "\n".join(lines)


def main() -> int:
    Parser("Draw people, count the AP of the embedded weights, teach them more, draw what they find.").parse_args()
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
