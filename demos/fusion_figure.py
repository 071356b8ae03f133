"""python -m demos.fusion_figure: draws docs/kapao.png, what the fusion does, on a person of a few lines."""

from typing import TYPE_CHECKING

from utils.core.command import Parser, run

if TYPE_CHECKING:  # imported where something is drawn: --help answers at once
    import torch
    from matplotlib.axes import Axes

BONES = ((0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (1, 6), (6, 7), (6, 8))
# A pose object's guesses: head, neck, right arm, left arm, hip, feet; x to the right, y downwards.
PERSON = ((50, 16), (50, 32), (36, 44), (22, 36), (64, 46), (78, 55), (50, 62), (38, 92), (64, 90))
# Keypoint objects, best first: x, y, kind, score. The sixth is too far from every wrist; the seventh comes too late.
OBJECTS = (
    (52, 13, 0, 0.93), (50, 31, 1, 0.90), (33, 46, 2, 0.86), (15, 30, 3, 0.81), (84, 50, 5, 0.77),
    (95, 86, 5, 0.62), (24, 37, 3, 0.41), (36, 95, 7, 0.40),
)  # fmt: skip
TOLERANCE = 16.0
GUESS, OBJECT, RESULT, FAINT = "#7a7f87", "#d9661f", "#1f6fb4", "#c9ccd1"


def canvas(axes: "Axes", title: str) -> None:
    axes.set_xlim(0, 105)
    axes.set_ylim(104, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, loc="left", fontsize=11)


def pose(axes: "Axes", points: "torch.Tensor", color: str) -> None:
    for a, b in BONES:
        axes.plot(*points[[a, b]].T.tolist(), color=color, linewidth=2.5, solid_capstyle="round", zorder=2)


def squares(axes: "Axes", colors: dict[int, str]) -> None:
    from matplotlib.patches import Rectangle

    for i, (x, y, _, score) in enumerate(OBJECTS):
        color = colors.get(i, OBJECT)
        axes.add_patch(Rectangle((x - 4, y - 4), 8, 8, fill=False, edgecolor=color, linewidth=1.6, zorder=3))
        axes.text(x + 5, y - 4.5, f"{score:.2f}", color=color, fontsize=8, zorder=4)


def draw(path: str) -> None:
    import matplotlib
    import torch
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, Rectangle

    from models.fusion import fuse

    matplotlib.use("Agg")
    guesses = torch.tensor(PERSON, dtype=torch.float32)
    objects = torch.tensor(OBJECTS)
    points, kinds = objects[:, :2], objects[:, 2].long()
    written, _ = fuse(guesses[None], points, kinds, tolerance=TOLERANCE)
    fused = guesses.clone()
    fused[kinds[written]] = points[written]
    replaced = set(kinds[written].tolist())
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    found, choice, result = figure.subplots(1, 3)
    canvas(found, "1  One network, two kinds of objects")
    found.add_patch(Rectangle((12, 6), 74, 92, fill=False, edgecolor=GUESS, linewidth=1.6))
    found.text(13, 4, "person 0.88", color=GUESS, fontsize=8)
    pose(found, guesses, GUESS)
    squares(found, {})
    canvas(choice, "2  Each keypoint object looks for its nearest guess")
    pose(choice, guesses, FAINT)
    for kind in sorted(set(kinds.tolist())):
        choice.add_patch(Circle(guesses[kind].tolist(), TOLERANCE, fill=False, edgecolor=FAINT, linestyle=":"))
    squares(choice, {i: FAINT for i in range(len(OBJECTS)) if i not in written.tolist()})
    for i in written.tolist():
        arrow = {"arrowstyle": "->", "color": OBJECT, "linewidth": 1.6}
        choice.annotate("", points[i].tolist(), guesses[kinds[i]].tolist(), arrowprops=arrow, zorder=5)
    choice.text(82, 99, "too far", color=GUESS, fontsize=8)
    choice.text(24, 45, "too late", color=GUESS, fontsize=8, ha="center")
    canvas(result, "3  The pose, with a score for every keypoint")
    pose(result, fused, RESULT)
    for k, point in enumerate(fused.tolist()):
        own = k in replaced
        result.plot(*point, "o", color=OBJECT if own else GUESS, markersize=7, zorder=4)
        score = objects[written][kinds[written] == k][0, 3].item() if own else 0.88
        result.text(point[0] + 3, point[1] - 2, f"{score:.2f}", fontsize=8, color=OBJECT if own else GUESS)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = Parser("Draw the figure of docs/kapao.md.")
    parser.add_argument("--out", default="docs/kapao.png", metavar="PNG", help="default: docs/kapao.png")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    run(main)
