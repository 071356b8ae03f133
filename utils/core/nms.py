"""Which candidates survive: by box overlap, by keypoint similarity. Plain tensor code: it exports as it runs."""

from dataclasses import dataclass

import torch
from torchvision.ops import nms

from utils.core.oks import oks

MAX_CANDIDATES = 30_000  # per image, best first, before overlaps are looked at
PUBLISHED_STEP = 4096.0  # between the places to which classes are moved


def keep_by_box(
    boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor | None, *, iou: float, limit: int
) -> torch.Tensor:
    """Indices of the survivors of one image, best first: boxes (A, 4), scores (A), and at most `limit` of them.

    With classes (A), only people of the same class are rivals.
    """
    if len(scores) > MAX_CANDIDATES:
        best = scores.topk(MAX_CANDIDATES).indices
        kept = keep_by_box(boxes[best], scores[best], None if classes is None else classes[best], iou=iou, limit=limit)
        return best[kept]
    if classes is not None:
        # Move every class to a place of its own, at least the published 4096 away: where boxes are moved to decides how
        # they are rounded, and with that who survives a close call. One zero more, so that there is an extent without
        # boxes too: asking whether there are any would be answered once, when traced.
        edges = torch.cat((boxes.flatten(), boxes.new_zeros(1)))
        apart = (edges.max() - edges.min() + 1).clamp(min=PUBLISHED_STEP)
        boxes = boxes + (classes * apart)[:, None].to(boxes.dtype)
    return nms(boxes, scores, iou)[:limit]


@dataclass(frozen=True)
class Rivals:
    """What becomes of poses of one image that may be the same person's. The defaults are the HRNet evaluation's."""

    above: float = 0.9  # OKS from which they are the same person; soft: how slowly resemblance weakens them
    soft: bool = False  # nobody is dropped for resemblance: it weakens poses, and the best remain
    most: int = 20  # of an image, where soft

    def survivors(
        self, keypoints: torch.Tensor, scores: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor
    ) -> torch.Tensor:
        """Indices of the poses (N, K, 2) that stay, best first; scores and areas (N)."""
        if self.soft:
            return keep_by_oks_softly(keypoints, scores, areas, sigmas, spread=self.above, limit=self.most)
        return keep_by_oks(keypoints, scores, areas, sigmas, threshold=self.above)


def keep_by_oks(
    keypoints: torch.Tensor, scores: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor, *, threshold: float
) -> torch.Tensor:
    """Indices of the poses (N, K, 2) that resemble no better one by more than the threshold, best first."""
    order = scores.argsort(descending=True, stable=True)
    rival = _resemblance(keypoints[order], areas[order], sigmas) > threshold  # (N, N)
    alive = torch.ones(len(order), dtype=torch.bool, device=order.device)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~rival[i + 1 :, i]
    return order[alive]


def keep_by_oks_softly(
    keypoints: torch.Tensor,
    scores: torch.Tensor,
    areas: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    spread: float,
    limit: int,
) -> torch.Tensor:
    """Indices of so many poses (N, K, 2), picked one by one: each pick weakens the others by how alike they are.

    A score counts exp(-OKS² / spread) of what it did; the weakened scores decide who is next and nothing else.
    """
    weakening = torch.exp(-_resemblance(keypoints, areas, sigmas).square() / spread)  # (N, N)
    left, picked = scores.clone(), []
    for _ in range(min(limit, len(scores))):
        best = int(left.argmax())
        picked.append(best)
        left = left * weakening[best]
        left[best] = -torch.inf
    return torch.tensor(picked, dtype=torch.int64, device=scores.device)


def _resemblance(keypoints: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """OKS of every two poses (N, K, 2), in the mean of their areas (N) and at all keypoints, as in the HRNet code."""
    everywhere = torch.ones(keypoints.shape[:2], dtype=keypoints.dtype, device=keypoints.device)
    means = (areas[:, None] + areas) / 2  # (N, N)
    return oks(keypoints[:, None], keypoints[None], everywhere[None], means, sigmas)
