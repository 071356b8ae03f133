"""python -m benchmarks.yolo_pose [loss|selection|fused ...]: what YOLO-Pose costs here, as ratios in one run."""

import argparse
import math
from collections.abc import Callable

import torch
from torchvision.ops import nms

from benchmarks.timing import machine, medians
from models.build import load
from models.layers import fused
from utils.core.contract import PoseModel
from utils.core.poses import Targets
from utils.core.tta import View


def crowd(model: PoseModel, batch: int, people: int, side: int, generator: torch.Generator) -> Targets:
    """So many people of all sizes in every image."""
    count, keypoints = batch * people, model.spec.schema.count
    size = side * (0.05 + 0.5 * torch.rand(count, 2, generator=generator).square())
    low = torch.rand(count, 2, generator=generator) * (side - size)
    points = low[:, None] + torch.rand(count, keypoints, 2, generator=generator) * size[:, None]
    return Targets(
        image_index=torch.arange(batch).repeat_interleave(people),
        boxes=torch.cat((low, low + size), 1),
        keypoints=points,
        visibility=2.0 * (torch.rand(count, keypoints, generator=generator) > 0.3),
        areas=size.prod(-1),
        classes=torch.zeros(count, dtype=torch.int64),
    )


def loss_share(repeats: int) -> None:
    """Assignment, loss and its share of the backward pass, against the network's forward and backward."""
    model = load("yolov5s6_kpts.yaml").train()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 640, 640, generator=generator)
    for people in (4, 30):
        targets = crowd(model, 8, people, 640, generator)
        with torch.no_grad():
            template = model(images)

        def network() -> None:
            raw = model(images)
            sum((level * 1e-6).sum() for level in raw).backward()
            model.zero_grad()

        def loss(targets: Targets = targets, template: tuple[torch.Tensor, ...] = template) -> None:
            raw = tuple(level.detach().requires_grad_() for level in template)
            sum(model.loss(raw, targets, 0.0).values()).backward()

        found = medians(
            {"forward and backward of s6, 8 x 640": network, "loss with assignment": loss}, repeats=repeats, warm_up=1
        )
        for name, value in found.items():
            print(f"  {name:<46} {value:9.1f} ms")
        share = found["loss with assignment"] / found["forward and backward of s6, 8 x 640"]
        print(f"  share of the loss, {people} people in each image: {100 * share:.1f}% (goal: under 10%)")


def raw_maps(model: PoseModel, over: int, threshold: float, blobs: int | None) -> tuple[torch.Tensor, ...]:
    """Raw output of a 640 image with `over` candidates above the threshold: scattered, or around some people."""
    generator = torch.Generator().manual_seed(0)
    raw = tuple(
        torch.randn(1, 3 * (6 + 3 * model.spec.schema.count), 640 // s, 640 // s, generator=generator)
        for s in model.body.strides
    )
    with torch.no_grad():
        for level, stride in zip(raw, model.body.strides, strict=True):
            slots = model.slots(level)
            slots[:, :, 5] = 6.0  # the class is certain, as in trained weights
            if blobs:
                slots[:, :, :4] *= 0.3  # trained boxes of one person agree with each other
                centres = torch.rand(blobs, 2, generator=generator) * 640
                grid = torch.stack(torch.meshgrid(*[torch.arange(640 // stride) * stride] * 2, indexing="ij"), -1)
                near = torch.cdist(grid.flatten(0, 1).float(), centres).amin(1).view(grid.shape[:2])
                slots[:, :, 4] = slots[:, :, 4] * 0.3 - near / 40
        objectness = torch.cat([model.slots(level)[:, :, 4].flatten() for level in raw])
        shift = math.log(threshold / (1 - threshold)) - objectness.topk(over + 1).values[-1] + 0.003
        for level in raw:
            model.slots(level)[:, :, 4] += shift
    return raw


def selection_share(repeats: int) -> None:
    """Decode and select of a 640 image with 3,000 candidates, against torchvision's NMS alone on the same boxes."""
    model = load("yolov5s6_kpts.yaml", select={"conf": 0.25, "iou": 0.45})
    for what, blobs in (("scattered over the image", None), ("around 100 people", 100), ("around 30 people", 30)):
        raw = tuple(level.contiguous(memory_format=torch.channels_last) for level in raw_maps(model, 3000, 0.25, blobs))
        with torch.inference_mode():
            candidates = model.decode([raw], [View()])
            likely = candidates.scores[0, :, 0] > 0.25
            boxes, scores = candidates.boxes[0][likely], candidates.scores[0, likely, 0]
            cases: dict[str, Callable[[], object]] = {
                "torchvision.ops.nms alone": lambda b=boxes, s=scores: nms(b, s, 0.45),
                "decode": lambda r=raw: model.decode([r], [View()]),
                "select": lambda c=candidates: model.select(c),
                "decode and select": lambda r=raw: model.select(model.decode([r], [View()])),
            }
            found = medians(cases, repeats=repeats)
            kept = len(model.select(candidates)[0])
        print(f"  {int(likely.sum())} candidates {what}, {kept} people kept:")
        for name, value in found.items():
            print(f"    {name:<44} {value:9.2f} ms")
        ratio = found["decode and select"] / found["torchvision.ops.nms alone"]
        print(f"    decode and select against NMS alone: {ratio:.2f} times (goal: under 2)")


def fused_forward(repeats: int) -> None:
    """The network as it is trained, with its normalisations folded in, and in the layout that Predictor uses."""
    model = load("yolov5s6_kpts.yaml")
    images = torch.rand(1, 3, 640, 640, generator=torch.Generator().manual_seed(0))
    last = images.contiguous(memory_format=torch.channels_last)
    lean, leanest = fused(model), fused(model).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        cases: dict[str, Callable[[], object]] = {
            "as trained": lambda: model(images),
            "fused": lambda: lean(images),
            "fused, channels last": lambda: leanest(last),
        }
        found = medians(cases, repeats=repeats)
    for name, value in found.items():
        print(f"  {name:<46} {value:9.1f} ms   {found['as trained'] / value:.2f} times as fast")


PARTS = {
    "loss": ("Loss with assignment: s6 at 640, batch 8", loss_share, 5),
    "selection": ("Decode and select: s6 at 640", selection_share, 60),
    "fused": ("Forward of s6 at 640, batch 1", fused_forward, 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What YOLO-Pose costs on this machine, as ratios in one run.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; default: all")
    parser.add_argument("--repeats", type=int, help="repeats of each case; default: a few for slow ones, many for fast")
    args = parser.parse_args()
    print(machine())
    for name in args.parts or PARTS:
        if name not in PARTS:
            parser.error(f"no part '{name}'; there are {', '.join(PARTS)}")
        title, part, repeats = PARTS[name]
        print(f"\n{title}")
        part(args.repeats or repeats)


if __name__ == "__main__":
    main()
