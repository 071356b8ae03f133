"""Heat maps: rendering where keypoints are, and reading it off again; coordinates are cells (x, y) of the map."""

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

LOWEST, HIGHEST = 0.001, 50.0  # of a map before its logarithm, as in the UDP code
LEAST = 1e-10  # the same, in DARK
# OpenCV's blur of seven cells whose sigma is not given has this table; wider ones follow a formula.
SEVEN = (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125)


def cell_grid(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x of every column (W) and y of every row (H) of maps (..., H, W)."""
    height, width = like.shape[-2:]
    return torch.arange(width, device=like.device), torch.arange(height, device=like.device)


def to_cells(points: torch.Tensor, factor: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Input pixels (..., 2) in cells: exact, and rounded to the nearest cell as published (halves go up)."""
    exact = points / points.new_tensor(factor)
    return exact, (exact + 0.5).trunc()


def windows_meet(middle: torch.Tensor, reach: float, size: tuple[int, int]) -> torch.Tensor:
    """Which windows of cells around points (..., 2) reach into maps of (height, width)."""
    first, last = (middle - reach).trunc(), (middle + reach + 1).trunc()
    limit = middle.new_tensor([size[1], size[0]])
    return ((first < limit) & (last >= 0)).all(-1)


def draw_gaussians(
    centre: torch.Tensor, middle: torch.Tensor, drawn: torch.Tensor, size: tuple[int, int], sigma: float
) -> torch.Tensor:
    """Bells with a peak of 1 around centres (B, K, 2), cut off 3 sigma from the middle of their windows: (B, K, H, W).

    In the published targets centre and middle are the same cell; in UDP's the bell itself is not rounded.
    """
    canvas = centre.new_zeros((*centre.shape[:2], *size))
    columns, rows = cell_grid(canvas)
    bells, windows = [], []
    for axis, line in ((0, columns), (1, rows)):
        bells.append(torch.exp(-(line - centre[..., axis, None]).square() / (2 * sigma**2)))
        windows.append((line - middle[..., axis, None]).abs() <= 3 * sigma)
    x, y = (bell * window for bell, window in zip(bells, windows, strict=True))  # (B, K, W), (B, K, H)
    return y[..., None] * x[..., None, :] * drawn[..., None, None]


def peaks(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first highest cell of each map (B, K, H, W): its place (B, K, 2) and its value (B, K)."""
    width = maps.shape[-1]
    best, index = maps.flatten(2).max(-1)
    place = torch.stack((index % width, torch.div(index, width, rounding_mode="floor")), -1)
    return place * (best > 0)[..., None], best


def sample(maps: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Values of maps (B, K, H, W) at whole cells (..., 2 after B, K), clamped to the border: (B, K)."""
    height, width = maps.shape[-2:]
    x, y = place[..., 0].clamp(0, width - 1), place[..., 1].clamp(0, height - 1)
    return maps.flatten(2).gather(2, (y * width + x)[..., None])[..., 0]


def quarter_step(maps: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Peaks moved by a quarter of a cell towards the higher neighbour; those beside the border stay."""
    height, width = maps.shape[-2:]
    x, y = place[..., 0], place[..., 1]
    inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    right, down = place.new_tensor([1, 0]), place.new_tensor([0, 1])
    slope = torch.stack([sample(maps, place + step) - sample(maps, place - step) for step in (right, down)], -1)
    return place + 0.25 * slope.sign() * inner[..., None]


def newton_step(maps: torch.Tensor, place: torch.Tensor, blur: int = 0) -> torch.Tensor:
    """Peaks moved to the top of the bell: one Newton step on the logarithm of the blurred map, as in UDP.

    `blur`: under a Gaussian of so many cells, as in mmpose; 0: under the UDP code's own, stretched to the old range.
    """
    if blur:
        smooth = blurred(maps, blur, edge="zeros")
    else:
        smooth = blurred(maps, len(SEVEN))
        low, high, top = smooth.amin((2, 3), True), smooth.amax((2, 3), True), maps.amax((2, 3), True)
        smooth = (smooth - low) / (high - low).clamp(min=1e-12) * top
    at = _around(smooth.clamp(LOWEST, HIGHEST).log(), place)
    bend_x, bend_y = at(1, 0) - 2 * at(0, 0) + at(-1, 0), at(0, 1) - 2 * at(0, 0) + at(0, -1)
    twist = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    return place - _to_the_top(at, bend_x, bend_y, twist)


def dark_step(maps: torch.Tensor, place: torch.Tensor, sigma: float) -> torch.Tensor:
    """The same from curvatures over two cells, for bells of so many cells; peaks beside the border stay.

    Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", 2020 (DARK).
    """
    smooth = blurred(maps, 2 * int(3 * sigma + 0.5) - 1, edge="zeros")
    ratio = maps.amax((2, 3), True) / smooth.amax((2, 3), True).clamp(min=LEAST)
    at = _around((smooth * ratio).clamp(min=LEAST).log(), place)
    bend_x, bend_y = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4, (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    twist = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    height, width = maps.shape[-2:]
    x, y = place[..., 0], place[..., 1]
    inner = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return place - _to_the_top(at, bend_x, bend_y, twist) * inner[..., None]


def _around(logs: torch.Tensor, place: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
    """Values (B, K) of maps so many cells right of and below the peaks."""
    return lambda x, y: sample(logs, place + place.new_tensor([x, y]))


def _to_the_top(
    at: Callable[[int, int], torch.Tensor], bend_x: torch.Tensor, bend_y: torch.Tensor, twist: torch.Tensor
) -> torch.Tensor:
    """The Newton step (B, K, 2), to be subtracted: from slopes and curvatures; none where a map is flat."""
    slope_x, slope_y = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    determinant = bend_x * bend_y - twist * twist
    flat = determinant.abs() < 1e-12
    determinant = torch.where(flat, torch.ones_like(determinant), determinant)
    step = torch.stack((bend_y * slope_x - twist * slope_y, bend_x * slope_y - twist * slope_x), -1)
    return torch.where(flat[..., None], torch.zeros_like(step), step / determinant[..., None])


def blurred(maps: torch.Tensor, kernel: int, edge: Literal["mirror", "zeros"] = "mirror") -> torch.Tensor:
    """Maps (B, K, H, W) under a Gaussian of so many cells; beyond the border OpenCV sees a mirror image, mmpose 0."""
    line = torch.tensor(_bell(kernel), dtype=maps.dtype, device=maps.device)
    reach, channels = kernel // 2, maps.shape[1]
    padded = functional.pad(maps, (reach, reach, reach, reach), mode="reflect" if edge == "mirror" else "constant")
    across = functional.conv2d(padded, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(across, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def _bell(kernel: int) -> tuple[float, ...]:
    if kernel == len(SEVEN):
        return SEVEN
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    values = torch.exp(-(torch.arange(kernel).double() - kernel // 2).square() / (2 * sigma**2))
    return tuple((values / values.sum()).tolist())


def mirrored_maps(maps: torch.Tensor, swap: tuple[int, ...], *, shifted: bool) -> torch.Tensor:
    """Maps that were seen in the mirror, put back: left and right exchanged.

    Where a cell stands for its corner, 4 x in pixels, the mirror image of x lies a cell further right than reversing
    the columns puts it: `shifted` moves it there; the first column stays.
    """
    back = maps.flip(-1)[:, list(swap)]
    return torch.cat((back[..., :1], back[..., :-1]), -1) if shifted else back


def map_loss(maps: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, hardest: int = 0) -> torch.Tensor:
    """Half the mean squared difference of maps (B, K, H, W), weighted by keypoint (B, K).

    With `hardest`, only so many keypoints of each person count, the worst ones.
    """
    difference = (maps - target) * weight[..., None, None]
    each = 0.5 * difference.square().mean((2, 3))  # (B, K)
    return each.topk(hardest, 1).values.mean() if 0 < hardest < each.shape[1] else each.mean()
