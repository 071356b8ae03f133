"""Who survives: against a plain reference that looks at every pair, for boxes and for poses."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core import nms
from utils.core.config import ROOT
from utils.core.geometry import pairwise_iou
from utils.core.nms import MAX_CANDIDATES, keep_by_box, keep_by_oks
from utils.core.oks import oks


def plainly(overlap: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor | None, threshold: float) -> list[int]:
    """Best first, the earlier of two equals first: whoever overlaps a survivor of the same class too much is out."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i].item()):
        rivals = [j for j in kept if classes is None or classes[i] == classes[j]]
        if all(overlap[i, j] <= threshold for j in rivals):
            kept.append(i)
    return kept


def crowd(count: int, seed: int, *, side: float = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes between whole numbers, far enough from every threshold; scores with ties; three classes."""
    rng = np.random.default_rng(seed)
    low, extent = rng.integers(0, side, (count, 2)), rng.integers(5, 30, (count, 2))
    boxes = torch.from_numpy(np.concatenate((low, low + extent), -1)).float()
    scores = torch.from_numpy(rng.integers(1, 20, count) / 20).float()
    return boxes, scores, torch.from_numpy(rng.integers(0, 3, count))


@given(st.integers(0, 40), st.integers(0, 1000), st.sampled_from([0.30001, 0.50003, 0.65001]), st.booleans())
def test_the_survivors_are_those_of_the_plain_reference(count: int, seed: int, iou: float, several: bool) -> None:
    boxes, scores, classes = crowd(count, seed)
    groups = classes if several else None
    expected = plainly(pairwise_iou(boxes, boxes), scores, groups, iou)
    assert keep_by_box(boxes, scores, groups, iou=iou, limit=1000).tolist() == expected
    assert keep_by_box(boxes, scores, groups, iou=iou, limit=3).tolist() == expected[:3]


@pytest.mark.parametrize("place", [0.0, -5000.0, 5000.0])
def test_classes_never_suppress_each_other(place: float) -> None:
    """Two people of different classes in the same box stay; also in large images and left of the edge."""
    boxes = torch.tensor([[0.0, 0, 9000, 10], [0, 0, 9000, 10], [0, 0, 9000, 11]]) + place
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 79, 0])
    assert keep_by_box(boxes, scores, classes, iou=0.5, limit=10).tolist() == [0, 1]
    assert keep_by_box(boxes, scores, None, iou=0.5, limit=10).tolist() == [0]


def test_of_two_equals_the_earlier_survives() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    assert keep_by_box(boxes, torch.full((3,), 0.5), None, iou=0.5, limit=10).tolist() == [0]


def test_an_overlap_of_exactly_the_threshold_is_allowed() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert keep_by_box(boxes, torch.tensor([0.9, 0.8]), None, iou=0.5, limit=10).tolist() == [0, 1]


@pytest.mark.parametrize("classes", [None, torch.zeros(0, dtype=torch.int64)])
def test_of_nobody_nobody_survives(classes: torch.Tensor | None) -> None:
    kept = keep_by_box(torch.zeros(0, 4), torch.zeros(0), classes, iou=0.5, limit=10)
    assert kept.shape == (0,) and kept.dtype == torch.int64


def test_among_very_many_candidates_only_the_best_are_looked_at() -> None:
    """More than the limit, in a grid where nobody overlaps: exactly the best ones come back, best first."""
    count = MAX_CANDIDATES + 500
    index = torch.arange(count)
    low = torch.stack((index % 200, index // 200), -1) * 10.0
    boxes, scores = torch.cat((low, low + 8), -1), torch.randperm(count, generator=torch.Generator().manual_seed(0))
    scores = scores / count
    kept = keep_by_box(boxes, scores, index % 2, iou=0.5, limit=count)
    assert torch.equal(kept, scores.argsort(descending=True)[:MAX_CANDIDATES])


def test_the_limit_of_candidates_changes_nothing_for_those_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, scores, classes = crowd(60, 5)
    scores = scores + torch.arange(60) * 1e-4  # no ties: torch does not say which of two equals it drops
    best = scores.argsort(descending=True)[:25]
    expected = best[plainly(pairwise_iou(boxes[best], boxes[best]), scores[best], classes[best], 0.50003)]
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 25)
    assert torch.equal(keep_by_box(boxes, scores, classes, iou=0.50003, limit=100), expected)


@given(st.integers(0, 25), st.sampled_from([1, 5, 14]), st.integers(0, 1000))
def test_poses_that_resemble_a_better_one_are_out_as_in_the_plain_reference(
    count: int, keypoints: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.uniform(0, 20, (count, 1, 2)) + rng.uniform(0, 10, (count, keypoints, 2)))
    areas, sigmas = torch.from_numpy(rng.uniform(100, 2000, count)), torch.full((keypoints,), 0.1).double()
    scores = torch.from_numpy(rng.integers(1, 10, count) / 10)
    means = (areas[:, None] + areas) / 2
    similarity = oks(points[:, None], points[None], torch.ones(1, 1, keypoints).double(), means, sigmas)
    kept = keep_by_oks(points, scores, areas, sigmas, threshold=0.6)
    assert kept.tolist() == plainly(similarity, scores, None, 0.6)


def test_the_sizes_of_both_poses_decide_how_near_is_too_near() -> None:
    """5 pixels apart: near for people of 5050 square pixels on average (OKS 0.94), far for two of 100 (OKS 0.04)."""
    points, sigmas = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]]), torch.tensor([0.1])
    scores = torch.tensor([0.9, 0.8])
    for areas in ([1e4, 1e2], [1e2, 1e4]):
        assert keep_by_oks(points, scores, torch.tensor(areas), sigmas, threshold=0.5).tolist() == [0]
    assert keep_by_oks(points, scores, torch.tensor([1e2, 1e2]), sigmas, threshold=0.5).tolist() == [0, 1]


def test_whoever_was_suppressed_suppresses_nobody() -> None:
    """B resembles A and C resembles B: B is out, and C stays, because A is far from C."""
    points = torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]], [[8.0, 0.0]]])
    kept = keep_by_oks(
        points, torch.tensor([0.9, 0.8, 0.7]), torch.full((3,), 400.0), torch.tensor([0.1]), threshold=0.5
    )
    assert kept.tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_classes_stay_apart_in_a_graph_that_was_traced_without_anybody() -> None:
    def kept(boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return keep_by_box(boxes, scores, classes, iou=0.5, limit=10)

    nobody = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    traced = torch.jit.trace(kept, nobody, check_trace=False)
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    assert traced(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])).tolist() == [0, 1]


def test_the_kernel_alone_gives_what_torchvision_gives() -> None:
    from torchvision import ops

    kernel = nms._kernel()
    if kernel is None:
        pytest.skip("this torchvision keeps its library elsewhere: it is imported whole")
    for seed in range(20):
        boxes, scores, _ = crowd(seed * 10, seed)
        assert torch.equal(kernel(boxes, scores, 0.5), ops.nms(boxes, scores, 0.5))


def test_a_plain_call_imports_no_torchvision_and_a_traced_one_does() -> None:
    program = (
        "import sys, torch\n"
        "from utils.core.nms import _kernel, nms\n"
        "boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]]), torch.tensor([0.5, 0.9, 0.7])\n"
        "assert nms(boxes, scores, 0.5).tolist() == [1, 2]\n"
        "assert _kernel() is None or 'torchvision' not in sys.modules\n"
        "traced = torch.jit.trace(lambda b, s: nms(b, s, 0.5), (boxes, scores))\n"
        "assert 'torchvision' in sys.modules and traced(boxes, scores).tolist() == [1, 2]\n"
        "assert [n.kind() for n in traced.graph.nodes()].count('torchvision::nms') == 1\n"
        "print(len(list(traced.graph.nodes())))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 3, "more stands in the graph than the operator and its constants"
