"""How fast an evaluation is counted, next to pycocotools in the same run.

    python -m benchmarks.evaluation

5,000 images with 10,000 annotated people and 100,000 synthetic poses. Ours starts from poses in memory, pycocotools
from the same poses as rows; both from ground truth that is read, as after an epoch of training, and both end with the
ten numbers. The two take turns.
"""

import argparse

import numpy as np

from benchmarks.timing import machine, medians
from utils.core.poses import person_areas
from utils.core.schema import KeypointSchema
from utils.evaluation.coco import evaluate, loaded_in
from utils.evaluation.diagnosis import diagnose
from utils.evaluation.ground_truth import GroundTruth
from utils.evaluation.matching import match, pair_up
from utils.evaluation.measures import FOUND, per_keypoint
from utils.evaluation.results import Results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--poses", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = annotated(args.images, args.people, rng)
    results = found(truth, args.poses, rng)
    rows = results.to_coco()
    print(f"{args.images:,} images, {len(truth):,} people, {len(results):,} poses; {machine()}\n")
    milliseconds = medians(
        {
            "ours": lambda: evaluate(truth, results),
            "pycocotools": lambda: loaded_in("reference", truth, [dict(row) for row in rows]).curves(),
            "OKS and PCK by keypoint": lambda: per_keypoint(match(pair_up(truth, results), FOUND)),
        },
        repeats=args.repeats,
        warm_up=1,
    )
    milliseconds |= medians({"kinds of errors": lambda: diagnose(truth, results)}, repeats=1, warm_up=0)
    for name, taken in milliseconds.items():
        print(f"{name:<26}{taken / 1000:>8.3f} s")
    print(f"\nours is {milliseconds['pycocotools'] / milliseconds['ours']:.1f} times as fast as pycocotools")
    ours, reference = (evaluate(truth, results, tool=tool).numbers for tool in ("fast", "reference"))
    apart = max(abs(ours[name] - reference[name]) for name in ours)
    print(f"AP {ours['AP']:.6f} from both; the ten numbers differ by at most {apart:.0e}")


def annotated(images: int, people: int, rng: np.random.Generator) -> GroundTruth:
    """People as large as COCO's, two in an image on average, a fifth of the keypoints unlabelled."""
    schema = KeypointSchema.read("coco_kpts.yaml")
    sides = np.exp(rng.normal(4.6, 0.7, (people, 1))) * (0.5, 1.0)  # (P, 2), 100 px high in the middle
    low = rng.uniform(0, (640, 480), (people, 2)) - sides / 2
    visibility = rng.choice(3, (people, schema.count), p=(0.2, 0.1, 0.7))
    points = low[:, None] + rng.uniform(size=(people, schema.count, 2)) * sides[:, None]
    return GroundTruth(
        where="synthetic people",
        schema=schema,
        category_ids=(1,),
        image_ids=np.arange(1, images + 1),
        sizes=np.tile((480, 640), (images, 1)),
        crowd_index=None,
        image_index=rng.integers(images, size=people),
        categories=np.ones(people, np.int64),
        boxes=np.concatenate((low, low + sides), 1),
        keypoints=points.round(),
        visibility=visibility,
        areas=person_areas(np.concatenate((low, low + sides), 1)),
        crowd=rng.random(people) < 0.01,
        labelled=(visibility > 0).sum(1),
    )


def found(truth: GroundTruth, poses: int, rng: np.random.Generator) -> Results:
    """As many poses in every image: its own people with some noise first, then those of other images."""
    images = len(truth.image_ids)
    image = np.repeat(np.arange(images), -(-poses // images))[:poses]
    rank = np.arange(poses) - np.searchsorted(image, image)
    order = np.argsort(truth.image_index, kind="stable")
    start, end = (np.searchsorted(truth.image_index[order], image, side) for side in ("left", "right"))
    hit = rank < end - start
    person = order[np.where(hit, start + rank, rng.integers(len(truth), size=poses))]
    noise = rng.exponential(0.06, poses) * np.sqrt(truth.areas[person])
    keypoints = truth.keypoints[person] + rng.normal(size=(poses, truth.schema.count, 2)) * noise[:, None, None]
    scores = np.where(hit, 0.9 - noise / 200, 0.4) + rng.normal(0, 0.15, poses)
    return Results(
        images=(),
        image_ids=truth.image_ids[image],
        categories=np.ones(poses, np.int64),
        boxes=np.concatenate((keypoints.min(1), keypoints.max(1)), 1).astype(np.float32),
        keypoints=keypoints.astype(np.float32),
        keypoint_scores=rng.random((poses, truth.schema.count)).astype(np.float32),
        scores=scores.clip(0.001, 1).round(6).astype(np.float32),
    )


if __name__ == "__main__":
    main()
