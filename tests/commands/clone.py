"""A copy of the repository as its users have it: small data, weights and videos where the published ones lie."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.build import read_model_yaml
from tests.conftest import SHARED
from tests.models.pickles import detector, write_checkpoint
from utils.core.config import ROOT
from utils.core.schema import KeypointSchema
from utils.data.drawing.files import write_split
from utils.data.film import FilmSettings, film
from utils.data.people import SceneSettings, draw

LEFT_OUT = {".git", ".venv", "runs", "datasets", "tests", "benchmarks", "__pycache__"}
SIZE = 96  # of the pictures
FIXTURES = {
    "kapao": SHARED / "fixtures" / "kapao" / "public" / "ckpt_tiny_stripped.pt",
    "yolo_pose": SHARED / "fixtures" / "yolo_pose" / "public" / "ckpt" / "tiny_s6_last.pt",
}
# What launchers and schedulers leave behind in the environment of whoever runs these tests.
FOREIGN = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True)
class Ended:
    status: int
    text: str  # what was printed and what was logged


@dataclass(frozen=True)
class Clone:
    folder: Path

    def type(self, line: str, **environment: str) -> Ended:
        """A command line in the folder of the repository, as its user's shell reads it."""
        env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        programs = os.pathsep.join((str(Path(sys.executable).parent), str(self.folder), env.get("PATH", "")))
        # No GPU, whatever this machine has; and two runs at once meet at different ports.
        env |= {"PATH": programs, "CUDA_VISIBLE_DEVICES": "", "PET_MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=env | environment, capture_output=True, text=True, timeout=600
        )
        return Ended(done.returncode, done.stdout + done.stderr)

    def files(self) -> dict[str, float]:
        """Everything in the folder, with its time."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(self.folder).as_posix(): path.stat().st_mtime_ns for path in found}


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def copied(folder: Path) -> Clone:
    shutil.copytree(ROOT, folder, ignore=lambda _, names: [n for n in names if n in LEFT_OUT or n.endswith("_cache")])
    return Clone(folder)


# ------------------------------------------------------------------------------------------------ data


def draw_data(folder: Path) -> None:
    """Drawn people as datasets/coco and datasets/crowdpose."""
    scenes = SceneSettings((SIZE, SIZE))
    drawn = folder / "datasets" / "drawn"
    for split, seed, count in (("train", 0, 8), ("val", 1, 4)):
        write_split(drawn, split=split, scenes=(draw(seed, i, scenes) for i in range(count)), figure="person")
        values = json.loads((drawn / f"{split}.json").read_text())
        _as_coco(folder / "datasets" / "coco", drawn, split, values)
        _as_crowdpose(folder / "datasets" / "crowdpose", drawn, split, values)
    shutil.rmtree(drawn)


def _as_coco(folder: Path, drawn: Path, split: str, values: dict) -> None:
    annotations = folder / "annotations"
    annotations.mkdir(parents=True, exist_ok=True)
    shutil.copytree(drawn / split, folder / f"{split}2017")
    (annotations / f"person_keypoints_{split}2017.json").write_text(json.dumps(values))
    if split == "val":
        shutil.copytree(drawn / split, folder / "test2017")
        (annotations / "image_info_test-dev2017.json").write_text(json.dumps(values | {"annotations": []}))
        boxes = [
            {"image_id": one["image_id"], "category_id": 1, "bbox": one["bbox"], "score": 0.9}
            for one in values["annotations"]
        ]
        (annotations / "detections.json").write_text(json.dumps(boxes))


def _as_crowdpose(folder: Path, drawn: Path, split: str, values: dict) -> None:
    """Fourteen of the drawn keypoints: the nose stands in for the head, the middle of the shoulders for the neck."""
    ours, theirs = KeypointSchema.read("people.yaml").names, KeypointSchema.read("crowdpose.yaml").names
    number = 0 if split == "train" else 100
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "json").mkdir(exist_ok=True)
    images = [
        image | {"id": image["id"] + number, "file_name": f"{image['id'] + number}.jpg", "crowdIndex": 0.1 * i}
        for i, image in enumerate(values["images"])
    ]
    for before, after in zip(values["images"], images, strict=True):
        shutil.copy(drawn / split / before["file_name"], folder / "images" / after["file_name"])
    people = []
    for one in values["annotations"]:
        points = dict(zip(ours, np.reshape(one["keypoints"], (-1, 3)), strict=True))
        shoulders = np.stack((points["left_shoulder"], points["right_shoulder"]))
        points |= {"head": points["nose"], "neck": shoulders.mean(0).round() * (shoulders[:, 2].min() > 0)}
        keypoints = [float(value) for name in theirs for value in points[name]]
        people.append(one | {"image_id": one["image_id"] + number, "keypoints": keypoints})
    name = "crowdpose_trainval" if split == "train" else "crowdpose_test"
    categories = [{"id": 1, "name": "person", "keypoints": list(theirs), "skeleton": []}]
    content = {"images": images, "annotations": people, "categories": categories}
    (folder / "json" / f"{name}.json").write_text(json.dumps(content))


# ------------------------------------------------------------------------------------------------ weights and videos


def put_weights(folder: Path, name: str, kind: str) -> None:
    """A checkpoint under a published one's name: what the original saved where that is here, else its like."""
    source = FIXTURES.get(kind, Path("nowhere"))
    if not source.is_file():
        source = folder / "made" / f"{kind}.pt"
        source.parent.mkdir(exist_ok=True)
        if not source.exists():
            write_checkpoint(source, SPECS[kind]())
    shutil.copyfile(source, folder / name)


def _kapao_for_crowds() -> object:
    return read_model_yaml("kapao_n.yaml", KeypointSchema.read("crowdpose.yaml"), ("person",))


SPECS = {
    "kapao": lambda: read_model_yaml("kapao_n.yaml"),
    "kapao for crowds": _kapao_for_crowds,
    "yolo_pose": lambda: read_model_yaml("yolov5n6_kpts.yaml"),
    "detector": lambda: detector("yolov5n6_kpts.yaml"),
}


def put_video(path: Path, frames: int) -> None:
    """Drawn people at one frame in a second, so that a few frames are minutes."""
    drawn = [frame.image for frame in film(1, FilmSettings(size=(SIZE, SIZE), frames=8, people=3))]
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 1.0, (SIZE, SIZE))
    for index in range(frames):
        writer.write(drawn[index % len(drawn)][..., ::-1])
    writer.release()
