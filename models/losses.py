"""Loss terms that families share: complete IoU, focal or weighted cross-entropy, keypoints by OKS or as maps."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from utils.core.geometry import cxcywh_to_xyxy
from utils.core.oks import oks_exponent
from utils.core.poses import Targets

EPSILON = 1e-7
HEAT_SPREAD = 0.8  # cells


def complete_iou(predicted_cxcywh: torch.Tensor, target_cxcywh: torch.Tensor) -> torch.Tensor:
    """CIoU of boxes pair by pair (..., 4) -> (...): overlap, less the distance of centres and of aspect ratios.

    Zheng et al., "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression", 2020.
    """
    first, second = cxcywh_to_xyxy(predicted_cxcywh), cxcywh_to_xyxy(target_cxcywh)
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    # Sides come from the corners: of a box far smaller than its distance from the origin nothing is left, as published.
    (width1, height1), (width2, height2) = _sides(first), _sides(second)
    iou = shared / (width1 * height1 + width2 * height2 - shared + EPSILON)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    diagonal2 = hull.square().sum(-1) + EPSILON
    distance2 = (predicted_cxcywh[..., :2] - target_cxcywh[..., :2]).square().sum(-1)
    aspect = 4 / math.pi**2 * (torch.atan(width2 / height2) - torch.atan(width1 / height1)).square()
    with torch.no_grad():
        weight = aspect / (aspect - iou + (1 + EPSILON))
    return iou - (distance2 / diagonal2 + aspect * weight)


def _sides(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Width and height of boxes (..., 4); a sliver of height keeps flat ones from dividing by zero."""
    return boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1] + EPSILON


def cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, *, positive_weight: float = 1.0, focus: float = 0.0
) -> torch.Tensor:
    """Binary cross-entropy, averaged; `focus` is the gamma of the focal loss (Lin et al., 2017), 0 for none."""
    weight = logits.new_tensor(positive_weight) if positive_weight != 1.0 else None
    if focus == 0:
        return functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    loss = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    probability = logits.sigmoid()
    correct = target * probability + (1 - target) * (1 - probability)
    balance = target * 0.25 + (1 - target) * 0.75
    return (loss * balance * (1 - correct) ** focus).mean()


def keypoint_loss(
    predicted: torch.Tensor,
    target: torch.Tensor,
    visible: torch.Tensor,
    areas: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    sharpness: float = 2.0,
    tail: float = 0.0,
) -> torch.Tensor:
    """1 - OKS of each visible keypoint, averaged over them; 0 when there is none.

    Keypoints (M, K, 2), visible (M, K), areas (M), sigmas (K). The published loss falls twice as fast as COCO's OKS:
    sharpness 2. Far away its gradient vanishes; `tail` adds tail * log(1 + exponent), which keeps pulling.
    """
    distance2 = (predicted - target).square().sum(-1)  # (M, K)
    exponent = sharpness * oks_exponent(distance2, areas, sigmas)  # (M, K)
    loss = 1 - torch.exp(-exponent)
    if tail:
        loss = loss + tail * torch.log1p(exponent)
    return (loss * visible).sum() / visible.sum().clamp(min=1)


def heat_loss(logits: torch.Tensor, targets: Targets, stride: int) -> torch.Tensor:
    """How badly a map (B, K, H, W) shows where the labelled keypoints are; per labelled keypoint, 0 without any.

    Cross-entropy to a Gaussian at each keypoint, weighed by the squared error: the empty cells, which are nearly all,
    are soon right and then hardly count (the quality focal loss of Li et al., 2020).
    """
    heat = render_heat(targets, logits.shape, stride)
    entropy = functional.binary_cross_entropy_with_logits(logits, heat, reduction="none")
    weight = (logits.sigmoid() - heat).square()
    return (entropy * weight).sum() / (targets.visibility > 0).sum().clamp(min=1)


def render_heat(targets: Targets, shape: Sequence[int], stride: int) -> torch.Tensor:
    """A Gaussian of HEAT_SPREAD cells at every labelled keypoint, the higher one where two meet: (B, K, H, W)."""
    batch, count, height, width = shape
    places = targets.keypoints.float() / stride - 0.5  # (N, K, 2), in cells counted from the middle of the first
    columns, rows = (torch.arange(side, device=places.device) for side in (width, height))
    across = torch.exp(-(columns - places[..., :1]).square() / (2 * HEAT_SPREAD**2))  # (N, K, W)
    down = torch.exp(-(rows - places[..., 1:]).square() / (2 * HEAT_SPREAD**2))  # (N, K, H)
    labelled = (targets.visibility > 0)[..., None, None]  # (N, K, 1, 1)
    each = down[..., None] * across[..., None, :] * labelled  # (N, K, H, W)
    where = targets.image_index[:, None, None, None].expand_as(each)
    return each.new_zeros(batch, count, height, width).scatter_reduce(0, where, each, "amax")
