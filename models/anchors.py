"""Anchor grids: which anchor answers for whom, and what an anchor's numbers mean in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Matches:
    """Which anchors of one level learn from which persons; a person has up to nine anchors in a level."""

    person: torch.Tensor  # (M) index into the persons
    anchor: torch.Tensor  # (M)
    row: torch.Tensor  # (M) of the cell, counted in cells from above
    column: torch.Tensor  # (M)

    def __len__(self) -> int:
        return len(self.person)

    @property
    def corner(self) -> torch.Tensor:
        """Upper left of the cells, x before y: (M, 2)."""
        return torch.stack((self.column, self.row), -1)


def match_anchors(
    boxes_grid: torch.Tensor, anchors_grid: torch.Tensor, size: tuple[int, int], *, ratio_limit: float
) -> Matches:
    """Persons meet the anchors of their size, in their own cell and in the two nearest neighbours.

    boxes_grid (N, 4) is cx, cy, w, h in cells, anchors_grid (A, 2) w, h in cells, size (rows, columns) of the level.
    """
    ratio = boxes_grid[None, :, 2:] / anchors_grid[:, None]  # (A, N, 2)
    fits = torch.maximum(ratio, 1 / ratio).amax(-1) < ratio_limit  # (A, N)
    anchor, person = fits.nonzero(as_tuple=True)  # (P), anchor by anchor
    centre = boxes_grid[person, :2]  # (P, 2)
    extent = centre.new_tensor((size[1], size[0]))
    from_end = extent - centre
    near_start = (centre % 1 < 0.5) & (centre > 1)  # (P, 2): left, top
    near_end = (from_end % 1 < 0.5) & (from_end > 1)  # (P, 2): right, bottom
    own = torch.ones_like(near_start[:, :1])
    uses = torch.cat((own, near_start, near_end), 1).T  # (5, P)
    offsets = centre.new_tensor(((0, 0), (0.5, 0), (0, 0.5), (-0.5, 0), (0, -0.5)))  # own, left, top, right, bottom
    neighbour, pair = uses.nonzero(as_tuple=True)  # (M)
    cell = (centre[pair] - offsets[neighbour]).long()  # (M, 2), towards zero
    column = cell[:, 0].clamp(0, size[1] - 1)
    row = cell[:, 1].clamp(0, size[0] - 1)
    return Matches(person[pair], anchor[pair], row, column)


def anchor_places(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], anchors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the anchors of all levels stand, in the order level, anchor, row, column; all in pixels.

    Sizes (rows, columns) and strides of the levels, anchors (levels, A, 2) -> upper left corners of their cells (N, 2),
    their own width and height (N, 2), their strides (N, 1).
    """
    corners, shapes, steps = [], [], []
    for (height, width), stride, shape in zip(sizes, strides, anchors, strict=True):
        rows = torch.arange(height, device=anchors.device, dtype=anchors.dtype) * stride
        columns = torch.arange(width, device=anchors.device, dtype=anchors.dtype) * stride
        corner = torch.stack(torch.broadcast_tensors(columns[None], rows[:, None]), -1)  # (H, W, 2)
        corners.append(corner.flatten(0, 1).repeat(len(shape), 1))
        shapes.append(shape.repeat_interleave(height * width, 0))
        steps.append(torch.full_like(corners[-1][:, :1], stride))
    return torch.cat(corners), torch.cat(shapes), torch.cat(steps)


def boxes_from_raw(raw: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Box numbers (..., 4) -> cx, cy relative to the cell and w, h, in the unit of the anchors (..., 2)."""
    activated = raw.sigmoid() * 2
    return torch.cat((activated[..., :2] - 0.5, activated[..., 2:].square() * anchors), -1)


def last_writer(
    canvas: torch.Tensor, place: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Values put into their places; where two persons share one, the later wins, on every device alike."""
    flat = place[0]
    for index, length in zip(place[1:], canvas.shape[1:], strict=True):
        flat = flat * length + index
    order = torch.arange(len(values), device=values.device)
    writer = torch.full((canvas.numel(),), -1, device=values.device).scatter_reduce(0, flat, order, "amax")
    wins = writer[flat] == order
    return canvas.flatten().index_put((flat[wins],), values[wins].to(canvas.dtype)).view_as(canvas)
