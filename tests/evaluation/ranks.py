"""One process of an evaluation, run by test_evaluator: python -m tests.evaluation.ranks."""

import json
from typing import Any

import numpy as np
import torch

from tests.evaluation.people import THREE, origin, person, poses, shifted, split
from utils.core import distributed
from utils.core.geometry import translation
from utils.core.nms import Rivals
from utils.core.poses import Batch, Origin, Poses, Targets
from utils.evaluation.evaluator import Evaluation, Evaluator

IMAGES, BATCH_SIZE = 11, 2  # 6 batches, the last with one image: no number of ranks from 2 to 5 divides them


def ground_truth() -> dict[str, Any]:
    """Three people in every image that is not a multiple of four; nobody in those."""
    people = [person(i, shifted(150 * n)) for i in range(1, IMAGES + 1) if i % 4 for n in range(3)]
    return split(people, images=IMAGES)


def origins(crops: bool) -> list[Origin]:
    """Whole images, or the crops of three persons of each."""
    if not crops:
        return [origin(i) for i in range(1, IMAGES + 1)]
    return [
        Origin(i, f"{i}.jpg", (480, 640), translation(-150 * n, 0), box_score=1 - n / 10)
        for i in range(1, IMAGES + 1)
        for n in range(3)
    ]


def predict(batch: Batch) -> list[Poses]:
    """Poses with errors that depend on the sample alone; every crop also finds the first person of its image."""
    found = []
    for sample in batch.origins:
        place = int(-sample.to_input[0, 2])
        noise = np.random.default_rng((int(sample.image_id), place)).normal(0, 6, (4, THREE.count, 2))
        if place or sample.box_score < 1:
            found.append(poses(shifted(place) + noise[0], scores=[0.9]))
        else:
            found.append(poses(*(shifted(150 * n) + noise[n] for n in range(4))))
    return found


def batches(samples: list[Origin], rank: int, world: int) -> list[Batch]:
    """Whole batches in turn; the last turn begins anew so that every rank has as many, as padding samplers do."""
    cut = [samples[start : start + BATCH_SIZE] for start in range(0, len(samples), BATCH_SIZE)]
    cut += cut[: -len(cut) % world]
    image = torch.zeros(BATCH_SIZE, 3, 8, 8, dtype=torch.uint8)
    nobody = Targets.nobody(THREE.count)
    return [Batch(image[: len(part)], nobody, tuple(part)) for part in cut[rank::world]]


def evaluated(crops: bool) -> Evaluation:
    mine = batches(origins(crops), distributed.rank(), distributed.world_size())
    return Evaluator(mine, ground_truth(), schema=THREE, rivals=Rivals() if crops else None)(predict)


def as_values(evaluation: Evaluation) -> dict[str, Any]:
    counts = evaluation.counts
    return {
        "numbers": dict(evaluation.numbers),
        "oks": evaluation.keypoints.oks.tolist(),
        "counts": [counts.images, counts.looked_at, counts.found, counts.poses],
        "rows": evaluation.results.to_coco(),
    }


def main() -> None:
    distributed.join_processes(torch.device("cpu"))
    print(json.dumps([as_values(evaluated(crops)) for crops in (False, True)]))
    distributed.leave_processes()


if __name__ == "__main__":
    main()
