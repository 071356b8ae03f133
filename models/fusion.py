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
    start = distances(points[:, None], keypoints[:, kinds].transpose(0, 1))  # (T, N)
    order = torch.arange(points.shape[0], device=points.device)
    people = torch.arange(keypoints.shape[0], device=points.device)
    before = ((kinds[:, None] == kinds) & (order[:, None] > order)).to(start.dtype)  # (T, T): better, of the same kind
    apart = distances(points[:, None], points[None]) * before  # (T, T)
    distance, free = start, torch.ones_like(start, dtype=torch.bool)
    writes = torch.zeros_like(start)  # (T, N): 1 where an object is written
    for _ in range(ROUNDS):
        nearest = people == distance.argmin(1, keepdim=True)
        wants = (nearest & (distance < tolerance) & free).to(start.dtype)
        previous, writes = writes, wants * (before @ wants == 0)  # the best of those who want the same
        if not torch.jit.is_tracing() and torch.equal(writes, previous):
            break
        free = before @ writes == 0
        distance = torch.where(free, start, apart @ writes)  # at most one better object stands there
    written, person = writes.nonzero(as_tuple=True)
    return written, person


def distances(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Euclidean, between points (..., 2)."""
    return (first - second).square().sum(-1).sqrt()
