"""How fast 60,000 records are there, and what they cost every worker: python -m benchmarks.annotations"""

import argparse
import json
import multiprocessing
import os
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.core.config import write_yaml
from utils.core.schema import KeypointSchema
from utils.data.annotations import DataSpec, Records
from utils.data.reading import cache

SIZE = (480, 640)  # height and width that every image claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--persons", type=float, default=2.5, help="per image, on average")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        schema = KeypointSchema.read("coco_kpts.yaml")
        sets = {"json": make_json(Path(folder), schema, flags), "txt": make_txt(Path(folder), schema, flags)}
        # A file as young as the clock's tick is hashed instead of believed; data sets are not that young.
        time.sleep(cache.TOO_FRESH / 1e9 + 1)
        print(f"{flags.images} images, {flags.persons} persons each on average; seconds, medians of {flags.repeats}")
        print(f"{'':6}{'cold':>8}{'cached':>8}{'edited, hashed':>16}")
        for name, data in sets.items():
            cold = timed(lambda data=data: data.readable_records("train"), 1)
            cached = timed(lambda data=data: data.readable_records("train"), flags.repeats)
            touched = timed(lambda data=data: (touch(data), data.readable_records("train")), 1)
            print(f"{name:6}{cold:8.2f}{cached:8.2f}{touched:16.2f}")
        report_memory(sets["json"].readable_records("train"))


def make_json(folder: Path, schema: KeypointSchema, flags: argparse.Namespace) -> DataSpec:
    """A COCO JSON, and an image file for every entry."""
    rng = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"{i:012d}.png", "height": SIZE[0], "width": SIZE[1]} for i in range(flags.images)]
    annotations = []
    for number in range(int(flags.images * flags.persons)):
        points = rng.integers(1, 480, (schema.count, 3))
        points[:, 2] = rng.integers(0, 3, schema.count)
        box = [*rng.integers(0, 200, 2).tolist(), *rng.integers(20, 280, 2).tolist()]
        annotations.append(
            {
                "id": number,
                "image_id": int(rng.integers(flags.images)),
                "category_id": 1,
                "bbox": box,
                "keypoints": points.ravel().tolist(),
                "area": 1000.5,
                "iscrowd": 0,
                "num_keypoints": int((points[:, 2] > 0).sum()),
            }
        )
    categories = [{"id": 1, "name": "person", "keypoints": list(schema.names)}]
    (folder / "json" / "images").mkdir(parents=True)
    for image in images:
        (folder / "json" / "images" / image["file_name"]).touch()
    values = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "json" / "train.json").write_text(json.dumps(values))
    settings = {"path": ".", "train": {"images": "images", "annotations": "train.json"}, **schema.to_values()}
    write_yaml(folder / "json" / "data.yaml", settings)
    return DataSpec.read(folder / "json" / "data.yaml")


def make_txt(folder: Path, schema: KeypointSchema, flags: argparse.Namespace) -> DataSpec:
    """YOLO-pose labels, and images of which there is just enough to say how large they are."""
    rng = np.random.default_rng(0)
    root = folder / "txt"
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    png = tiny_png()
    for i in range(flags.images):
        rows = []
        for _ in range(rng.poisson(flags.persons)):
            points = [
                f"{x:.6f} {y:.6f} {v}"
                for x, y, v in zip(*rng.random((2, schema.count)), [2] * schema.count, strict=True)
            ]
            rows.append(f"0 {rng.random():.6f} 0.5 0.4 0.6 " + " ".join(points) + "\n")
        (root / "images" / "train" / f"{i:012d}.png").write_bytes(png)
        (root / "labels" / "train" / f"{i:012d}.txt").write_text("".join(rows))
    write_yaml(root / "data.yaml", {"train": "images/train", "classes": ["person"], **schema.to_values()})
    return DataSpec.read(root / "data.yaml")


def tiny_png() -> bytes:
    """A PNG's signature and header, which say all that a reader of labels asks."""
    header = b"IHDR" + struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def touch(data: DataSpec) -> None:
    """Give one source another time without another byte, as a copy or a checkout does."""
    source = data.split("train").annotations or next((data.root / "labels" / "train").iterdir())
    os.utime(source)


def timed(run: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# ---------------------------------------------------------------------------------------------- memory


def report_memory(records: Records) -> None:
    arrays = [value for value in vars(records).values() if isinstance(value, np.ndarray)]
    print(f"\nrecords: {sum(array.nbytes for array in arrays) / 1e6:.1f} MB in {len(arrays)} arrays")
    objects = [
        [(box.tolist(), float(area)) for box, area in zip(p.boxes, p.areas, strict=True)]
        for p in map(records.persons, range(len(records)))
    ]
    print("memory that a forked worker has for itself alone, MB")
    print(f"{'':16}{'at start':>10}{'epoch 1':>10}{'epoch 2':>10}{'epoch 3':>10}")
    for name, read in (("packed arrays", lambda: read_all(records)), ("Python objects", lambda: count_all(objects))):
        print(f"{name:16}" + "".join(f"{value:10.1f}" for value in in_a_worker(read)))


def read_all(records: Records) -> float:
    """What a worker's epoch asks of its records."""
    total = 0.0
    for i in range(len(records)):
        persons = records.persons(i)
        total += len(records.path(i)) + records.size(i)[0] + float(persons.keypoints.sum()) + float(persons.boxes.sum())
    return total


def count_all(objects: list[list[tuple[list[float], float]]]) -> float:
    """The same over one Python object per person: reading alone changes reference counts, and so copies pages."""
    return sum(sum(box) + area for image in objects for box, area in image)


def in_a_worker(read: Callable[[], float]) -> list[float]:
    """Private memory of a forked process in MB: at its start and after each of three epochs."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sizes = [private_megabytes()]
        for _ in range(3):
            read()
            sizes.append(private_megabytes())
        sender.send(sizes)

    worker = context.Process(target=work)
    worker.start()
    sizes = receiver.recv()
    worker.join()
    return sizes


def private_megabytes() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main()
