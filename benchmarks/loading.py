"""How fast samples are made, and how much memory the workers take.

    python -m benchmarks.loading --data PHOTOGRAPHS

Compares, sample by sample in turn, a mosaic of four at 640 with the bare cost of decoding its four images and warping
one, and with the plain way: resize each, paste it on a canvas of twice the size, warp that.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from utils.core import images
from utils.core.contract import ModelSpec
from utils.core.geometry import chain, letterbox, translation
from utils.data.annotations import DataSpec
from utils.data.augment import coloured, draw_tables, moved, place_four
from utils.data.batches import collate
from utils.data.dataset import Ticket, TrainingImages, trainable
from utils.data.image_cache import MemoryCache
from utils.data.image_sources import Files
from utils.data.loader import Loading, TrainingLoader, training_loader
from utils.data.recipe import Augment, draw_movement
from utils.data.records import Records
from utils.data.sample import joined, sample_of

RECIPE = Augment(mosaic=1.0, hsv_h=0.015, hsv_s=0.7, hsv_v=0.4, translate=0.1, scale=0.5, fliplr=0.5)  # YOLO-Pose's
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="people.yaml", help="data YAML or folder")
    parser.add_argument("--split", default="train")
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=6, help="of 10 passes each, for the workers' memory")
    args = parser.parse_args()
    images.one_thread()
    torch.set_num_threads(1)
    data = DataSpec.read(args.data)
    spec = ModelSpec("yolo_pose", data.schema, input_size=(args.img, args.img))
    records = trainable(data.records(args.split), labelled_only=True)
    print(f"{len(records)} images of {Path(args.data).name}/{args.split}, {args.img} x {args.img}, one thread\n")
    compare(records, spec, args.samples)
    with_workers(records, spec, args.samples, args.epochs)


def compare(records: Records, spec: ModelSpec, count: int) -> None:
    """One process: CPU milliseconds per sample, each way in turn."""
    ours = TrainingImages(Files(records), size=spec.input_size, schema=spec.schema, augment=RECIPE)
    cached = replace(Files(records), cache=MemoryCache(records.sizes, max(spec.input_size)))
    from_memory = TrainingImages(cached, size=spec.input_size, schema=spec.schema, augment=RECIPE)
    ways: dict[str, Callable[[int], object]] = {
        "bare: decode 4, warp 1": lambda i: bare(records, spec, i),
        "ours: decode 4, warp each once": lambda i: collate([ours[Ticket(i % len(ours), i)]]),
        "plain: decode 4, resize, paste, warp": lambda i: collate([plain(records, spec, i)]),
        "ours from the image cache": lambda i: collate([from_memory[Ticket(i % len(ours), i)]]),
    }
    for index in range(len(records)):
        cached.image(index, 1.0)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(count):
        for name, make in ways.items():
            start = time.process_time()
            make(i)
            spent[name].append(time.process_time() - start)
    base = np.array(spent["bare: decode 4, warp 1"])
    print(f"{'':38}  ms (median)  ms (mean)  samples/s and core  times the bare cost (median, mean)")
    for name, values in spent.items():
        middle, mean = np.median(values), np.mean(values)
        print(
            f"{name:38}  {1e3 * middle:11.2f}  {1e3 * mean:9.2f}  {1 / mean:18.1f}"
            f"  {middle / np.median(base):6.2f} {mean / base.mean():6.2f}"
        )


def bare(records: Records, spec: ModelSpec, seed: int) -> np.ndarray:
    """What no mosaic of four can do without."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[1.1, 0.0, -30.3], [0.0, 1.1, -20.2], [0.0, 0.0, 1.0]])
    for index in (seed % len(records), *rng.integers(len(records), size=3)):
        image = images.read(records.path(int(index)))
    return images.warp(image, matrix, spec.input_size)


def plain(records: Records, spec: ModelSpec, seed: int) -> object:
    """A mosaic as it is usually made; the same random draws, labels, colours and flips as ours."""
    rng, size = np.random.default_rng(seed), spec.input_size
    chosen = (seed % len(records), *(int(other) for other in rng.integers(len(records), size=3)))
    source, canvas_size = Files(records), (2 * size[0], 2 * size[1])
    where, movement = rng.uniform(size=2), draw_movement(RECIPE, rng)
    tiles = place_four([records.size(i) for i in chosen], size, (where[0], where[1]))
    canvas, groups = images.blank(canvas_size), []
    for index, tile in zip(chosen, tiles, strict=True):
        image = images.read(records.path(index))
        _, (height, width) = letterbox(image.shape[:2], size)
        small = images.resize(image, (int(height), int(width)), smooth=False)
        left, top = (round(value) for value in tile[:2, 2])
        part = canvas[max(top, 0) : top + small.shape[0], max(left, 0) : left + small.shape[1]]
        part[:] = small[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
        groups.append(source.people(index).carried(tile).cut_to(canvas_size))
    people = moved(joined(groups), movement, canvas=canvas_size, size=size, limits=RECIPE.limits)
    matrix = chain(movement.matrix(canvas_size, size), translation(0.25, 0.25))  # never whole pixels, as in training
    sample = sample_of(images.warp(canvas, matrix, size), people, source.origin(chosen[0]))
    sample = coloured(sample, draw_tables(RECIPE, rng))
    return sample.flipped(spec.schema) if rng.random() < RECIPE.fliplr else sample


def with_workers(records: Records, spec: ModelSpec, count: int, epochs: int) -> None:
    """Whole loaders: wall and CPU time, and the private memory of a worker after the first and the last epoch."""
    passes = 10
    longer = records.chosen(np.tile(np.arange(len(records)), passes))
    loaders = {
        workers: training_loader(longer, spec, RECIPE, Loading(batch_size=8, workers=workers)) for workers in (0, 1, 2)
    }
    wall: dict[int, list[float]] = {workers: [] for workers in loaders}
    cpu: dict[int, list[float]] = {workers: [] for workers in loaders}
    memory: dict[int, list[float]] = {workers: [] for workers in loaders}
    for epoch in range(epochs):
        for workers, loader in loaders.items():  # in turn, so that a busy moment meets all of them
            start, used = time.perf_counter(), cpu_seconds(loader)
            for _ in loader.epoch(epoch):
                pass
            wall[workers].append(len(longer) / (time.perf_counter() - start))
            if epoch:  # the first one starts the workers
                cpu[workers].append(len(longer) / (cpu_seconds(loader) - used))
            memory[workers].append(max(private_mebibytes(process) for process in processes(loader)))
    print(f"\n{'workers':8} samples/s (median)  samples/CPU s (median)  MiB per worker: epoch 1, {epochs}  growth")
    for workers in loaders:
        first, last = memory[workers][0], memory[workers][-1]
        print(
            f"{workers:<8} {np.median(wall[workers]):18.1f}  {np.median(cpu[workers]):22.1f}"
            f"  {first:21.1f} {last:6.1f}  {last - first:+6.1f}"
        )


def processes(loader: TrainingLoader) -> list[int]:
    """The workers of a loader; the main process where there are none."""
    return loader.worker_processes() or [os.getpid()]


def cpu_seconds(loader: TrainingLoader) -> float:
    """CPU time that the main process and the loader's workers have used."""
    workers = [process for process in processes(loader) if process != os.getpid()]
    return time.process_time() + sum(_cpu_of(process) for process in workers)


def _cpu_of(process: int) -> float:
    values = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(values[11]) + int(values[12])) / CLOCK_TICKS


def private_mebibytes(process: int) -> float:
    """Memory that a process shares with nobody."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main()
