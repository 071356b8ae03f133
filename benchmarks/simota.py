"""python -m benchmarks.simota: what choosing the cells costs beside the forward pass of YOLOX-Pose, and its memory."""

import argparse
from pathlib import Path

import torch

from benchmarks.timing import machine, medians
from benchmarks.yolo_pose import crowd
from models.build import load
from utils.core.contract import PoseModel


def memory_mib(key: str) -> float:
    """Of this process, as Linux counts it: VmRSS is what it has, VmHWM the most that it has had since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def growth_of(model: PoseModel, images: int, people: int, side: int, generator: torch.Generator) -> tuple[float, float]:
    """By how many MiB the assignment grows the process at most, and what one table of persons by cells takes.

    The maps are random: the memory of a network that ran before would be used again and hide what the assignment needs.
    """
    outputs = 4 + 1 + len(model.spec.classes) + 3 * model.spec.schema.count
    shapes = [(images, outputs, side // stride, side // stride) for stride in model.body.strides]
    slots, grid = model._read(tuple(torch.randn(shape, generator=generator) for shape in shapes))
    targets = model._people(crowd(model, images, people, side, generator))
    before = memory_mib("VmRSS")
    forget_peak()
    model.assigned(slots, grid, targets)
    return memory_mib("VmHWM") - before, images * people * len(grid.strides) * 4 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", default="yolox_pose_s.yaml")
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--people", type=int, nargs="+", default=[4, 30], help="in each image")
    parser.add_argument("--crowd", type=int, default=200, help="people in each image of the memory figures")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    model = load(args.cfg)
    generator = torch.Generator().manual_seed(0)
    print(machine())
    growth_of(model, 1, 1, args.img, generator)  # what the first call alone loads is no table
    for images in (1, args.batch):
        growth, table = growth_of(model, images, args.crowd, args.img, generator)
        print(f"{args.crowd} people in each of {images}: {growth:.0f} MiB at most, {growth / table:.1f} tables of them")
    images = torch.rand(args.batch, 3, args.img, args.img, generator=generator)
    with torch.no_grad():
        slots, grid = model._read(model(images))
        cases = {"forward": lambda: model(images)}
        for people in args.people:
            targets = model._people(crowd(model, args.batch, people, args.img, generator))
            cases[str(people)] = lambda targets=targets: model.assigned(slots, grid, targets)
        taken = medians(cases, repeats=args.repeats, warm_up=1)
    forward = taken.pop("forward")
    print(f"{args.cfg} at {args.img}, batch {args.batch}: forward {forward:.0f} ms")
    for people, milliseconds in taken.items():
        print(f"{people} people in each image: assignment {milliseconds:.0f} ms, {milliseconds / forward:.1%} of it")


if __name__ == "__main__":
    main()
