"""Which candidates survive: by box overlap, by keypoint similarity. Plain tensor code: it exports as it runs."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread

import torch

from utils.core.oks import oks

MAX_CANDIDATES = 30_000  # per image, best first, before overlaps are looked at
PUBLISHED_STEP = 4096.0  # between the places to which classes are moved
# Poses that suppress each other are settled in turn, two or three times in real images; a traced graph, which cannot
# stop early, does it this often.
ROUNDS = 8


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


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou: float) -> torch.Tensor:
    """torchvision's suppression. Plain calls on the CPU take its kernel straight from its library: all of torchvision
    takes more than a second to import. Graphs, autocast and GPUs get the operator with all that belongs to it.
    """
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    plain = type(boxes) is torch.Tensor and boxes.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if plain and not traced and (kernel := _kernel()):
        return kernel(boxes, scores, iou)
    return _whole()(boxes, scores, iou)


@cache
def _whole() -> Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]:
    """The operator as torchvision has it, with its meaning in ONNX, its shapes and its types under autocast."""
    # In a thread of its own: a graph that is being traced would record what torchvision computes while it is imported.
    importing = Thread(target=importlib.import_module, args=("torchvision.ops",))
    importing.start()
    importing.join()
    from torchvision import ops

    return ops.nms


@cache
def _kernel() -> Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor] | None:
    """The operator from torchvision's own library, found by its file; None where it lies elsewhere."""
    package = importlib.util.find_spec("torchvision")  # finds it without running it
    for folder in (package and package.submodule_search_locations) or ():
        for library in sorted(Path(folder).glob("_C*")):
            try:
                torch.ops.load_library(library)
            except OSError:
                continue  # wants more than its own file, as on Windows: importing torchvision knows what
            if hasattr(torch.ops.torchvision, "nms"):
                return torch.ops.torchvision.nms
    return None


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
    return order[keep_ranked_by_oks(keypoints[order], areas[order], sigmas, threshold=threshold)]


def keep_ranked_by_oks(
    keypoints: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor, *, threshold: float
) -> torch.Tensor:
    """The same for poses that are ranked already, the best first.

    All decide at once, then again without those who are out by then, until nothing changes: after round r at least the
    best r are final.
    """
    similarity = _resemblance(keypoints, areas, sigmas)  # (N, N)
    rank = torch.arange(keypoints.shape[0], device=keypoints.device)
    rivals = (similarity > threshold) & (rank[:, None] > rank)  # (N, N): the better ones that each resembles
    alive = torch.ones_like(rank, dtype=torch.bool)
    for _ in range(ROUNDS if torch.jit.is_tracing() else len(rank)):
        previous, alive = alive, ~(rivals & alive).any(1)
        if not torch.jit.is_tracing() and torch.equal(alive, previous):
            break
    return alive.nonzero()[:, 0]


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
