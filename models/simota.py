"""SimOTA: which cells learn from which person, by what each pairing would cost, for a whole batch at once.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021"; with the similarity of keypoints in the cost as YOLOX-Pose has it.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from utils.core.geometry import box_areas
from utils.core.oks import oks_exponent

CENTRE = 2.5  # cells around the middle of a person that may answer for it
CANDIDATES = 10  # the best pairings of a person, whose similarities add up to its number of cells
ELSEWHERE = 1e5  # what a cell costs that is not both in the box and near its middle
TINY = 1e-7


@dataclass(frozen=True)
class Costs:
    """What a pairing costs beside its score, and how many cells a person gets."""

    iou: float = 3.0
    oks: float = 3.0  # 0 for plain SimOTA, by boxes alone
    count_by: Literal["iou", "oks"] = "iou"  # the similarity that is added up


@dataclass(frozen=True)
class Cells:
    """Where the predictions stand: upper left corner in pixels and stride."""

    corners: torch.Tensor  # (A, 2)
    strides: torch.Tensor  # (A)


@dataclass(frozen=True)
class Predicted:
    """What the cells of a batch say, decoded to pixels, without gradients."""

    boxes: torch.Tensor  # (B, A, 4)
    keypoints: torch.Tensor  # (B, A, K, 2)
    scores: torch.Tensor  # (B, A, C)


@dataclass(frozen=True)
class People:
    """The persons of a batch, flat."""

    image_index: torch.Tensor  # (N)
    boxes: torch.Tensor  # (N, 4)
    keypoints: torch.Tensor  # (N, K, 2)
    visible: torch.Tensor  # (N, K), 0 or 1
    scales: torch.Tensor  # (N): the area by which distances of keypoints are judged
    classes: torch.Tensor  # (N)


@dataclass(frozen=True)
class Pairs:
    """Cells that learn, by image and then by cell, each with its person."""

    image: torch.Tensor  # (M)
    cell: torch.Tensor  # (M)
    person: torch.Tensor  # (M)


@torch.no_grad()
def assign(
    predicted: Predicted, cells: Cells, people: People, sigmas: torch.Tensor, costs: Costs, *, half_cell: bool
) -> Pairs:
    """The cells that learn. A cell stands at its middle, or at its corner without `half_cell`.

    Only cells near some person of their image are looked at, so that the tables are (N, V), V <= A.
    """
    if len(people.image_index) == 0:
        nothing = people.image_index.new_zeros(0)
        return Pairs(nothing, nothing, nothing)
    near, central = _places(cells, people, half_cell)  # (N, A) each
    chosen, used = _cells_of_images(near, people.image_index, len(predicted.boxes))  # (B, V) each
    mine, real = chosen[people.image_index], used[people.image_index]  # (N, V)
    seen = Predicted(*(_those(values, chosen) for values in (predicted.boxes, predicted.keypoints, predicted.scores)))
    iou = _iou(seen.boxes, people)  # (N, V)
    oks = _oks(seen.keypoints, people, sigmas) if costs.oks or costs.count_by == "oks" else None
    cost = ELSEWHERE * (~central.gather(1, mine)).float() - costs.iou * torch.log(iou + TINY)
    if costs.oks:
        cost -= costs.oks * torch.log(oks + TINY)
    cost += _score_cost(seen.scores, people)
    cost.masked_fill_(~real, torch.inf)
    similarity = (oks if costs.count_by == "oks" else iou).masked_fill(~real, 0)
    counts = _counts(similarity)  # (N)
    return _settle(cost, counts, chosen, people.image_index)


def _places(cells: Cells, people: People, half_cell: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Which cells are in a person's box or near its middle, and which are both: (N, A) twice."""
    points = cells.corners + cells.strides[:, None] / 2 if half_cell else cells.corners  # (A, 2)
    x, y = points[:, 0], points[:, 1]
    left, top, right, bottom = people.boxes.float().T[..., None]  # (N, 1) each
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    reach = CENTRE * cells.strides
    central = ((x - (left + right) / 2).abs() < reach) & ((y - (top + bottom) / 2).abs() < reach)
    return inside | central, inside & central


def _cells_of_images(near: torch.Tensor, image_index: torch.Tensor, images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each image the cells near anybody, in order and filled up to the same number, and which are no filling."""
    valid = near.new_zeros(images, near.shape[1], dtype=torch.int32).index_add_(0, image_index, near.int()) > 0
    most = max(int(valid.sum(1).max()), 1)
    order = valid.byte().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, V)
    return order, valid.gather(1, order)


def _those(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """What the chosen cells (B, V) of (B, A, ...) say. Persons then take whole rows, which is far faster than cells."""
    return values[torch.arange(len(values), device=values.device)[:, None], chosen]  # (B, V, ...)


def _iou(boxes: torch.Tensor, people: People) -> torch.Tensor:
    shared, areas, image = None, box_areas(boxes), people.image_index  # areas (B, V)
    for axis in (0, 1):
        low = torch.maximum(boxes[..., axis][image], people.boxes[:, axis, None])
        high = torch.minimum(boxes[..., axis + 2][image], people.boxes[:, axis + 2, None])
        side = (high - low).clamp_(min=0)
        shared = side if shared is None else shared * side
    union = areas[image] + box_areas(people.boxes)[:, None] - shared
    return shared / union.clamp_(min=1e-6)


def _oks(keypoints: torch.Tensor, people: People, sigmas: torch.Tensor) -> torch.Tensor:
    """Keypoint after keypoint: with all at once the table would be K times as large."""
    image = people.image_index
    total = keypoints.new_zeros(len(image), keypoints.shape[1])  # (N, V)
    spread = oks_exponent(torch.ones_like(people.visible), people.scales, sigmas)  # (N, K): the exponent of one pixel
    weights = people.visible / people.visible.sum(1, keepdim=True).clamp(min=1)  # (N, K)
    by_point = keypoints.permute(2, 3, 0, 1).contiguous()  # (K, 2, B, V)
    for index, (x, y) in enumerate(by_point):
        goal = people.keypoints[:, index]
        distance2 = (x[image] - goal[:, :1]).square_() + (y[image] - goal[:, 1:]).square_()
        total.addcmul_(distance2.mul_(-spread[:, index, None]).exp_(), weights[:, index, None].expand_as(total))
    return total


def _score_cost(scores: torch.Tensor, people: People) -> torch.Tensor:
    """Cross-entropy of the scores against the person's class, summed over the classes: (N, V)."""
    present, absent = torch.log(scores).clamp(min=-100), torch.log1p(-scores).clamp(min=-100)
    table = absent - present - absent.sum(-1, keepdim=True)  # (B, V, C): the cost if this were the class
    return table.transpose(1, 2)[people.image_index, people.classes]  # (N, V)


def _counts(similarity: torch.Tensor) -> torch.Tensor:
    """How many cells each person gets: the sum of its best similarities, at least 1."""
    best = similarity.topk(min(CANDIDATES, similarity.shape[1]), dim=1).values
    return best.sum(1).int().clamp(min=1)


def _settle(cost: torch.Tensor, counts: torch.Tensor, chosen: torch.Tensor, image_index: torch.Tensor) -> Pairs:
    """Everybody claims its cheapest cells; a cell claimed twice goes to whom it costs least in the whole image."""
    count = min(CANDIDATES, cost.shape[1])
    cheapest, column = cost.topk(count, dim=1, largest=False)  # (N, count)
    claims = (torch.arange(count, device=cost.device) < counts[:, None]) & cheapest.isfinite()
    person, rank = claims.nonzero(as_tuple=True)  # (claims)
    place = image_index[person] * chosen.shape[1] + column[person, rank]  # in the flat (B, V)
    place, which, times = place.unique(return_inverse=True, return_counts=True)
    owner = person.new_empty(len(place)).scatter_(0, which, person)
    contested = (times > 1).nonzero()[:, 0]
    image, column = place // chosen.shape[1], place % chosen.shape[1]
    if len(contested):
        rivals = cost[:, column[contested]]  # (N, contested)
        rivals = rivals.masked_fill(image_index[:, None] != image[contested], torch.inf)
        owner[contested] = rivals.argmin(0)
    cell = chosen[image, column]
    return Pairs(image, cell, owner)
