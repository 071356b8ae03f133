"""Finds people with an exported ONNX file: numpy, OpenCV and onnxruntime, nothing else and nothing of ours.

    python yolo_pose_onnx_inference.py --model-path best.onnx --img-path list.txt --dst-path out

Everything that has to be known stands in the file's metadata. The originals' files have none: for them the published
values hold (letterbox in the middle, grey 114, RGB in 0..1, COCO's skeleton where there are as many keypoints).
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
CROP_MARGIN = 1.25  # room around a person in the crops of top-down models
# Of the originals' files: 0.25 and 0.45 select among raw maps; bones and anchors are those of the published models.
PUBLISHED = {
    "format": "published", "family": "yolo_pose", "view": "image", "classes": ["person"],
    "letterbox": {"rounding": "nearest", "place": "centre", "smooth": True, "padding": 114},
    "select": {"conf": 0.25, "iou": 0.45, "max_poses": 300},
}  # fmt: skip
PUBLISHED_ANCHORS = (
    ((19, 27), (44, 40), (38, 94)), ((96, 68), (86, 152), (180, 137)), ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)  # fmt: skip
COCO_BONES = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
COCO_COUNT = len({end for bone in COCO_BONES for end in bone})


@dataclass(frozen=True)
class People:
    """The people of one picture, best first, in its pixels."""

    boxes: np.ndarray  # (N, 4)
    scores: np.ndarray  # (N)
    classes: np.ndarray  # (N)
    keypoints: np.ndarray  # (N, K, 3): x, y, score

    @classmethod
    def of_rows(cls, rows: np.ndarray) -> "People":
        """From detections (N, 6 + 3K); rows with score 0 only fill up."""
        rows = rows[rows[:, 4] > 0]
        points = rows[:, 6:].reshape(len(rows), (rows.shape[1] - 6) // 3, 3)  # the number is known where nobody is
        return cls(rows[:, :4], rows[:, 4], rows[:, 5].astype(int), points)

    def moved(self, matrix: np.ndarray, size: tuple[int, int]) -> "People":
        """Under a 2x3 matrix; boxes end at the edge of an image of (height, width)."""

        def move(points: np.ndarray) -> np.ndarray:
            return points @ matrix[:, :2].T + matrix[:, 2]

        corners = move(self.boxes.reshape(-1, 2)).clip(0, (size[1], size[0])).reshape(-1, 4)
        points = np.concatenate((move(self.keypoints[..., :2]), self.keypoints[..., 2:]), -1)
        return People(corners, self.scores, self.classes, points)


class PoseFile:
    """An exported file, ready to look at pictures."""

    def __init__(self, path: str) -> None:
        try:
            self.session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        except Exception as error:  # onnxruntime has an exception type of its own for every kind of damage
            raise ValueError(f"{path}: cannot be opened as an ONNX model: {str(error).splitlines()[0]}") from None
        stored = self.session.get_modelmeta().custom_metadata_map
        self.facts: dict[str, Any] = {**PUBLISHED, **{key: as_value(text) for key, text in stored.items()}}
        self.input = self.session.get_inputs()[0]
        self.outputs = self.session.get_outputs()
        wanted = self.facts.get("input", {}).get("size", (640, 640))
        sides = zip(self.input.shape[2:], wanted, strict=True)
        self.size = tuple(side if isinstance(side, int) else given for side, given in sides)
        self.batch = self.input.shape[0] if isinstance(self.input.shape[0], int) else 1
        self.is_raw = len(self.outputs) > 1 or len(self.outputs[0].shape) > 3
        self.classes = list(self.facts["classes"])

    def __call__(self, image: np.ndarray) -> People:
        """The people on an RGB picture (H, W, 3) of uint8."""
        matrix, placed = self.placed(image)
        numbers = placed.astype(np.float32).transpose(2, 0, 1) / 255
        if "float16" in self.input.type:
            numbers = numbers.astype(np.float16)
        found = self.session.run(None, {self.input.name: np.stack([numbers] * self.batch)})
        rows = self.decoded(found) if self.is_raw else found[0] if found[0].ndim == 2 else found[0][0]
        return People.of_rows(rows.astype(np.float32)).moved(cv2.invertAffineTransform(matrix), image.shape[:2])

    def placed(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture in the network's input, and the 2x3 matrix that took it there."""
        height, width = self.size
        ratio = min(height / image.shape[0], width / image.shape[1])
        if self.facts["view"] == "person":  # the picture shows one person, from edge to edge
            ratio /= CROP_MARGIN
            middle = np.array([width - 1, height - 1]) / 2 - ratio * np.array(image.shape[1::-1]) / 2
            matrix = np.array([[ratio, 0, middle[0]], [0, ratio, middle[1]]])
            return matrix, cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        how = self.facts["letterbox"]
        if how["rounding"] == "none":  # exactly this ratio, counted from pixel centres
            middle = np.array([width, height]) / 2 - ratio * np.array(image.shape[1::-1]) / 2
            matrix = np.array([[ratio, 0, middle[0]], [0, ratio, middle[1]]])
            grey = (how["padding"],) * 3
            return matrix, cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=grey)
        whole = {"nearest": round, "down": int}[how["rounding"]]
        rows, columns = (max(whole(side * ratio), 1) for side in image.shape[:2])
        centred = how["place"] == "centre"
        top, left = ((height - rows) // 2, (width - columns) // 2) if centred else (0, 0)
        shrinks = how["smooth"] and rows < image.shape[0] and columns < image.shape[1]
        copy = image
        if image.shape[:2] != (rows, columns):
            copy = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        canvas = np.full((height, width, 3), how["padding"], np.uint8)
        canvas[top : top + rows, left : left + columns] = copy
        return np.array([[columns / image.shape[1], 0, left], [0, rows / image.shape[0], top]]), canvas

    # ------------------------------------------------------------------------------------------ raw maps

    def decoded(self, maps: list[np.ndarray]) -> np.ndarray:
        """Raw maps of a YOLOv5 head -> rows of people in input pixels, selected as the metadata says."""
        head = self.facts.get("head") or {}
        if head.get("kind", "yolo_v5") != "yolo_v5":
            raise ValueError(f"raw maps of the kind '{head['kind']}' found; export with the selection inside")
        classes, select = len(self.classes), {**PUBLISHED["select"], **self.facts["select"]}
        parts = [self.level(values, anchors) for values, anchors in
                 zip(maps, head.get("anchors") or PUBLISHED_ANCHORS, strict=True)]  # fmt: skip
        slots = np.concatenate(parts)  # (A, 5 + C + 3K)
        each = slots[:, 4:5] * slots[:, 5 : 5 + classes]
        kind, score = each.argmax(1), each.max(1)
        rows = np.concatenate((slots[:, :4], score[:, None], kind[:, None], slots[:, 5 + classes :]), 1)
        rows = rows[score > select["conf"]]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return rows[survivors(rows, select["iou"])[: select["max_poses"]]]

    def level(self, values: np.ndarray, anchors: Any) -> np.ndarray:
        """One map -> (A, slots), in pixels: ours are (1, A * slots, H, W), the originals' (1, A, H, W, slots)."""
        anchors = np.asarray(anchors, np.float32)  # (A, 2)
        if values.ndim == 4:
            values = values.reshape(values.shape[0], len(anchors), -1, *values.shape[2:]).transpose(0, 1, 3, 4, 2)
        slots = values[0].astype(np.float32)  # (A, H, W, slots)
        _, height, width, _ = slots.shape
        stride = self.size[0] / height
        cell = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)  # (H, W, 2)
        box, rest = sigmoid(slots[..., :4]), slots[..., 5 + len(self.classes) :]
        middle = (box[..., :2] * 2 - 0.5 + cell) * stride
        half = (box[..., 2:] * 2) ** 2 * anchors[:, None, None] / 2
        points = rest.reshape(*rest.shape[:-1], -1, 3)
        places = (points[..., :2] * 2 - 0.5 + cell[:, :, None]) * stride
        points = np.concatenate((places, sigmoid(points[..., 2:])), -1).reshape(rest.shape)
        scores = sigmoid(slots[..., 4 : 5 + len(self.classes)])
        return np.concatenate((middle - half, middle + half, scores, points), -1).reshape(-1, slots.shape[-1])


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def survivors(rows: np.ndarray, limit: float) -> list[int]:
    """Indices of rows, best first, that overlap no better one of their class by more than the limit."""
    left, top, right, bottom = rows[:, :4].T
    areas = (right - left) * (bottom - top)
    kept: list[int] = []
    for i in range(len(rows)):
        wide = np.minimum(right[i], right[kept]) - np.maximum(left[i], left[kept])
        high = np.minimum(bottom[i], bottom[kept]) - np.maximum(top[i], top[kept])
        shared = wide.clip(0) * high.clip(0)
        rivals = rows[kept, 5] == rows[i, 5]
        if not (rivals & (shared > limit * (areas[i] + areas[kept] - shared))).any():
            kept.append(i)
    return kept


def as_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a plain word
        return text


# ---------------------------------------------------------------------------------------------- pictures in and out


def pictures(source: str) -> Iterator[tuple[str, np.ndarray]]:
    """(name, RGB picture) of an image, a folder, a video, or a text file with one path on each line."""
    path = Path(source)
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.suffix.lower() in IMAGES:
                yield from pictures(str(entry))
    elif path.suffix.lower() == ".txt":
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                listed = Path(line.strip())
                yield from pictures(str(listed if listed.exists() else path.parent / listed))
    elif path.suffix.lower() in VIDEOS:
        yield from frames(path)
    else:
        data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise ValueError(f"{path}: not a picture that can be read; expected an image, a folder, a video or a list")
        yield path.name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def frames(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    video, number = cv2.VideoCapture(str(path)), 0
    while True:
        read, frame = video.read()
        if not read:
            break
        yield f"{path.stem}_{number:06d}.jpg", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        number += 1
    video.release()


def draw(image: np.ndarray, people: People, bones: Any, *, least: float, least_point: float = 0.5) -> np.ndarray:
    """Boxes, points and bones of everybody with at least this score, on a copy."""
    canvas = np.ascontiguousarray(image[..., ::-1])
    thick = max(round(max(image.shape[:2]) / 400), 1)
    for box, score, points in zip(people.boxes, people.scores, people.keypoints, strict=True):
        if score < least:
            continue
        corners = np.rint(box).astype(int).tolist()
        cv2.rectangle(canvas, corners[:2], corners[2:], (255, 128, 0), thick)
        places = np.rint(points[:, :2]).astype(int).tolist()
        for first, second in bones:
            if min(points[first, 2], points[second, 2]) >= least_point:
                cv2.line(canvas, places[first], places[second], (50, 150, 255), thick)
        for place, sure in zip(places, points[:, 2], strict=True):
            if sure >= least_point:
                cv2.circle(canvas, place, 2 * thick, (0, 255, 0), -1)
    return canvas


def lines(people: People) -> str:
    """One line for a person: class, score, x1 y1 x2 y2, then x y score of every keypoint."""
    points = int(np.prod(people.keypoints.shape[1:]))
    numbers = np.concatenate((people.boxes, people.keypoints.reshape(len(people.boxes), points)), 1)
    heads = zip(people.classes, people.scores, numbers, strict=True)
    return "".join(f"{c} {s:.6f} {' '.join(f'{value:.4f}' for value in row)}\n" for c, s, row in heads)


def main() -> None:
    parser = argparse.ArgumentParser(description="People on pictures, by an exported ONNX file.")
    parser.add_argument("--model-path", required=True, metavar="ONNX")
    parser.add_argument("--img-path", default="sample_ips.txt", metavar="WHAT", help="list.txt, image, folder or video")
    parser.add_argument(
        "--dst-path", default="sample_ops_onnxrt", metavar="DIR", help="pictures and text files go here"
    )
    parser.add_argument(
        "--draw-conf", type=float, default=0.3, metavar="P", help="draw people with at least this score"
    )
    args = parser.parse_args()
    try:
        model = PoseFile(args.model_path)
        folder = Path(args.dst_path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in pictures(args.img_path):
            people = model(image)
            count = people.keypoints.shape[1]
            bones = model.facts.get("skeleton", COCO_BONES if count == COCO_COUNT else ())
            drawn = draw(image, people, bones, least=args.draw_conf)
            cv2.imencode(Path(name).suffix, drawn)[1].tofile(folder / name)
            (folder / f"{name}.txt").write_text(lines(people), encoding="utf-8")
            print(f"{name}: {len(people.scores)} people")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
