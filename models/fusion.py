"""Fusion: keypoint objects take the place of keypoints that pose objects only guessed at."""

import torch

# Decisions that wait for each other are settled in turn. Real images need two or three rounds; a traced graph, which
# cannot stop early, has this many.
ROUNDS = 8

NOWHERE = 1e9  # pixels: far from everything


def fuse(
    keypoints: torch.Tensor, points: torch.Tensor, kinds: torch.Tensor, *, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which keypoint objects are written into which people: two lists of indices, objects and people.

    Keypoints (N, K, 2) are those of the people, best first; objects are at points (T, 2), of the keypoints `kinds` (T),
    best first too. One after another the objects look for the nearest keypoint of their kind. If it is less than
    `tolerance` away and still its person's own guess, the object takes its place and stands there for the objects to
    come; else the object is dropped, for there is no second choice.

    The objects are not gone through one by one. All decide at once, then again with what the better ones of their kind
    have decided, until nothing changes: after round r at least the best r are final.
    """
    # One person and one object more, who never meet anybody: exported graphs cannot look for the nearest of none.
    keypoints = torch.cat((keypoints, keypoints.new_full((1, *keypoints.shape[1:]), -NOWHERE)))
    points, kinds = torch.cat((points, points.new_full((1, 2), NOWHERE))), torch.cat((kinds, kinds.new_zeros(1)))
    people, objects = keypoints.shape[0], points.shape[0]
    order = torch.arange(objects, device=points.device)
    better = (kinds[:, None] == kinds) & (order[:, None] > order)  # (T, T): those of the same kind that come before
    start = distances(points[:, None], keypoints[:, kinds].transpose(0, 1))  # (T, N)
    distance, free = start, torch.ones_like(start, dtype=torch.bool)
    writes = torch.zeros_like(kinds, dtype=torch.bool)  # (T)
    slots = keypoints.shape[1] * people  # one for each keypoint of each person, and one that stands for none
    slot = torch.full_like(kinds, slots)  # (T)
    for _ in range(ROUNDS):
        near, person = distance.min(1)  # (T) each
        wants = (near < tolerance) & free.gather(1, person[:, None])[:, 0]
        rivals = better & wants & (person[:, None] == person)  # (T, T): of those who want the same the best gets it
        writes = wants & ~rivals.any(1)
        previous, slot = slot, torch.where(writes, kinds * people + person, slots)
        if not torch.jit.is_tracing() and torch.equal(slot, previous):
            break
        writer = order.new_full((slots + 1,), objects).scatter(0, slot, order)[:-1]
        writer = writer.view(-1, people)[kinds]  # (T, N): who takes the place that an object looks at, if anybody
        free = writer >= order[:, None]  # those after it do not count
        distance = torch.where(free, start, distances(points[:, None], points[writer.clamp(max=objects - 1)]))
    written = writes.nonzero()[:, 0]
    return written, person[written]


def distances(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Euclidean, between points (..., 2)."""
    x, y = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    return (x * x + y * y).sqrt()
