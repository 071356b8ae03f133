"""Object keypoint similarity: how near two sets of keypoints are, measured in person sizes."""

import torch


def oks_exponent(distance2: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """d² / (2 area (2 sigma)²), as COCO counts it; the similarity of one keypoint is exp(-exponent).

    Squared distances (..., K), person areas (...) in the same unit, sigmas (K) -> (..., K).
    """
    spread = 8.0 * areas[..., None] * sigmas.square()  # (..., K); the 8 is COCO's 2 * 2²
    return distance2 / (spread + 1e-9)


def oks(
    predicted: torch.Tensor,
    target: torch.Tensor,
    visible: torch.Tensor,
    areas: torch.Tensor,
    sigmas: torch.Tensor,
) -> torch.Tensor:
    """Mean similarity over the target's visible keypoints, 0 where there is none.

    Keypoints (..., K, 2) broadcast against each other, visible (..., K), areas (...), sigmas (K) -> (...).
    """
    distance2 = (predicted - target).square().sum(-1)  # (..., K)
    similarity = torch.exp(-oks_exponent(distance2, areas, sigmas)) * visible
    return similarity.sum(-1) / visible.sum(-1).clamp(min=1)


def pairwise_oks(
    first: torch.Tensor, second: torch.Tensor, visible: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor
) -> torch.Tensor:
    """OKS of every pose (N, K, 2) with every other (M, K, 2); visible (M, K) and areas (M) are the second's: (N, M)."""
    return oks(first[:, None], second[None], visible[None], areas[None], sigmas)
