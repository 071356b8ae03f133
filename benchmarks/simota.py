"""python -m benchmarks.simota: what choosing the cells costs beside the forward pass of YOLOX-Pose, and its memory."""

import argparse
import resource

import torch

from benchmarks.timing import machine, medians
from benchmarks.yolo_pose import crowd
from models.build import load


def peak_mib() -> float:
    """The most memory that this process has had, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", default="yolox_pose_s.yaml")
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--people", type=int, default=8, help="in each image")
    parser.add_argument("--crowd", type=int, default=200, help="people in the one image of the memory figure")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    model = load(args.cfg)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(args.batch, 3, args.img, args.img, generator=generator)
    people = model._people(crowd(model, args.batch, args.people, args.img, generator))
    crowded = model._people(crowd(model, 1, args.crowd, args.img, generator))
    with torch.no_grad():
        slots, grid = model._read(model(images))
        alone, _ = model._read(model(images[:1]))
        before = peak_mib()
        model.assigned(alone, grid, crowded)
        growth = peak_mib() - before
        taken = medians(
            {"forward": lambda: model(images), "assign": lambda: model.assigned(slots, grid, people)},
            repeats=args.repeats,
            warm_up=1,
        )
    print(machine())
    print(f"{args.cfg} at {args.img}, batch {args.batch}, {args.people} people in each image")
    print(f"forward {taken['forward']:.0f} ms, assignment {taken['assign']:.0f} ms", end="")
    print(f" ({taken['assign'] / taken['forward']:.1%} of it)")
    table = args.crowd * len(grid.strides) * 4 / 2**20
    print(
        f"{args.crowd} people in one image: the peak grows by {growth:.0f} MiB; one table of theirs is {table:.1f} MiB"
    )


if __name__ == "__main__":
    main()
