"""python -m benchmarks.kapao: what the fusion of KAPAO costs beside its two passes of NMS, as a ratio in one run."""

import argparse

import torch

from benchmarks.timing import machine, medians
from models.build import load
from utils.core.contract import PoseModel
from utils.core.poses import Candidates
from utils.core.schema import KeypointSchema

SIDE = 1280
ANCHORS = 102_000  # of an input of that size
# People in an image, and candidates above 0.001 that the published network gives for so many.
CROWDS = {2: 2_500, 8: 3_950, 30: 9_300}


def scene(people: int, likely: int, schema: KeypointSchema, generator: torch.Generator) -> Candidates:
    """So many people with their keypoint objects, each proposed several times, and faint guesses everywhere."""
    count = schema.count
    sides = SIDE * (0.1 + 0.3 * torch.rand(people, 2, generator=generator))
    low = torch.rand(people, 2, generator=generator) * (SIDE - sides)
    guesses = low[:, None] + torch.rand(people, count, 2, generator=generator) * sides[:, None]  # (P, K, 2)
    kinds = count + 1
    centres = torch.cat(((low + sides / 2)[:, None], guesses), 1).flatten(0, 1)  # (P * kinds, 2)
    extents = torch.cat((sides[:, None], torch.full((people, count, 2), 0.05 * SIDE)), 1).flatten(0, 1)
    repeats = likely // (2 * len(centres))
    rows = torch.randperm(ANCHORS, generator=generator)[:likely]
    near, faint = rows[: repeats * len(centres)], rows[repeats * len(centres) :]
    boxes = torch.rand(ANCHORS, 4, generator=generator) * SIDE
    boxes[:, 2:] = boxes[:, :2] + 20 + boxes[:, 2:] / 10
    scores = torch.full((ANCHORS, kinds), 1e-5)
    keypoints = torch.rand(ANCHORS, count, 2, generator=generator) * SIDE
    centre = centres.repeat(repeats, 1) + 4 * torch.randn(len(near), 2, generator=generator)
    extent = extents.repeat(repeats, 1) * (1 + 0.05 * torch.randn(len(near), 2, generator=generator))
    boxes[near] = torch.cat((centre - extent / 2, centre + extent / 2), 1)
    scores[near, torch.arange(kinds).repeat(people * repeats)] = 0.35 + 0.6 * torch.rand(len(near), generator=generator)
    owners = guesses.repeat_interleave(kinds, 0).repeat(repeats, 1, 1)
    keypoints[near] = owners + 6 * torch.randn(owners.shape, generator=generator)
    kind = torch.randint(0, kinds, (len(faint),), generator=generator)
    scores[faint, kind] = 0.001 + 0.02 * torch.rand(len(faint), generator=generator)
    own = scores[None, :, :1].expand(1, ANCHORS, count)
    return Candidates(boxes[None], scores[None], keypoints[None], own)


def compare(model: PoseModel, people: int, likely: int, repeats: int) -> None:
    candidates = scene(people, likely, model.spec.schema, torch.Generator().manual_seed(people))
    with torch.inference_mode():
        found = model.objects(candidates, 0)
        fused = model.fused(*found)
        cases = {
            "both passes of NMS": lambda: model.objects(candidates, 0),
            "fusion": lambda: model.fused(*found),
        }
        taken = medians(cases, repeats=repeats)
    print(f"  {people} people, {likely} candidates: {len(found[0])} pose and {len(found[1])} keypoint objects left, "
          f"{int(fused.fused.sum())} keypoints replaced")  # fmt: skip
    for name, value in taken.items():
        print(f"    {name:<20} {value:7.2f} ms")
    print(f"    share of the fusion: {100 * taken['fusion'] / taken['both passes of NMS']:.0f}% (goal: under 20%)")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the fusion costs beside the two passes of NMS.")
    parser.add_argument("--repeats", type=int, default=60, help="of each case; the median counts")
    args = parser.parse_args()
    print(machine())
    print(f"\nSelection of KAPAO at {SIDE}, thresholds of val.py")
    model = load("kapao_n.yaml", select={"conf": 0.001, "iou": 0.65})
    for people, likely in CROWDS.items():
        compare(model, people, likely, args.repeats)


if __name__ == "__main__":
    main()
