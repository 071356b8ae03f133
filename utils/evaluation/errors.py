"""Pictures of an evaluation: which keypoints go wrong and how, what that costs, who is found, and how precisely."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.core.files import naming
from utils.evaluation.coco import OKS_THRESHOLDS, Scores
from utils.evaluation.diagnosis import KINDS, MEANT, Diagnosis
from utils.evaluation.matching import Matching
from utils.evaluation.measures import FOUND, PCK_SHARE, Group, KeypointMeasures, by_crowding, by_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Good is quiet, errors speak: told apart in print and by readers who see few colours.
COLOURS = dict(zip(KINDS, ("#dfe5e8", "#f2c45a", "#4c86b8", "#7a4f9a", "#c8443c"), strict=True))
OTHER_COLOURS = {"false positive": "#5f6b73", "false negative": "#2b3137"}
INK, QUIET, BAR = "#22282c", "#7d878d", "#3f7f93"
COLUMNS = {"not good": 113, "OKS": 126, "PCK": 139}  # where numbers stand beside bars that end at 100
QUARTERS = {0: "0", 25: "25", 50: "50", 75: "75", 100: "100 %"}
LEGEND = {"loc": "lower left", "frameon": False, "fontsize": 9, "labelcolor": INK, "handlelength": 1,
          "handleheight": 1, "columnspacing": 1.4}  # fmt: skip


def save_pictures(
    folder: str | Path,
    *,
    scores: Scores,
    keypoints: KeypointMeasures,
    matching: Matching,
    diagnosis: Diagnosis,
    title: str = "",
) -> list[Path]:
    """errors.png, people.png and precision_recall.png in a folder."""
    pictures = {
        "errors.png": draw_errors(diagnosis, keypoints, title),
        "people.png": draw_people(by_size(matching), by_crowding(matching), title),
        "precision_recall.png": draw_precision_recall(scores, title),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        with naming(folder / name):
            figure.savefig(folder / name, dpi=150, facecolor="white")
    return [folder / name for name in pictures]


def draw_errors(diagnosis: Diagnosis, keypoints: KeypointMeasures, title: str) -> "Figure":
    """What happened to every keypoint, its OKS and PCK, and the AP that each kind of error costs."""
    count = len(keypoints.names)
    figure = _figure(11.5, max(4.2, 1.9 + 0.27 * count), title, "Keypoints, and what their errors cost")
    left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
    _draw_kinds(left, diagnosis, keypoints)
    _draw_gains(right, diagnosis)
    return figure


def _draw_kinds(axes: "Axes", diagnosis: Diagnosis, keypoints: KeypointMeasures) -> None:
    rows = np.arange(len(keypoints.names))
    start = np.zeros(len(rows))
    for kind, shares in zip(KINDS, diagnosis.shares.T, strict=True):
        axes.barh(rows, 100 * shares, left=100 * start, height=0.78, color=COLOURS[kind], label=kind)
        start = start + shares
    for row, name in enumerate(keypoints.names):
        wrong = 100 * (1 - diagnosis.shares[row, 0]) if diagnosis.counts[row].sum() else float("nan")
        for x, value in zip(COLUMNS.values(), (wrong, 100 * keypoints.oks[row], 100 * keypoints.pck[row]), strict=True):
            axes.text(x, row, _number(value), ha="right", va="center", fontsize=8.5, color=INK)
        axes.text(-2, row, name.replace("_", " "), ha="right", va="center", fontsize=9, color=INK)
    for text, x in COLUMNS.items():
        axes.text(x, -0.95, text, ha="right", va="center", fontsize=8.5, color=QUIET)
    axes.set_ylim(len(rows) - 0.4, -1.5)
    axes.set_xlim(0, max(COLUMNS.values()))
    axes.set_xticks(list(QUARTERS), list(QUARTERS.values()))
    axes.set_yticks(())
    notes = f"OKS and PCK (within {100 * PCK_SHARE:g} % of the box): of people found at an OKS of {FOUND:g}"
    axes.set_xlabel(f"labelled keypoints of people who were met at an OKS of {MEANT:g}\n{notes}", loc="left")
    axes.xaxis.label.set_horizontalalignment("left")
    axes.legend(ncols=len(KINDS), bbox_to_anchor=(-0.01, 0.985), **LEGEND)
    _bare(axes)
    axes.spines["bottom"].set_bounds(0, 100)


def _draw_gains(axes: "Axes", diagnosis: Diagnosis) -> None:
    names = list(diagnosis.gains)
    gains = 100 * np.array(list(diagnosis.gains.values()))
    colours = {**COLOURS, **OTHER_COLOURS}
    rows = np.arange(len(names))
    axes.barh(rows, gains, height=0.62, color=[colours[name] for name in names])
    room = max(gains.max(initial=0), 1)
    for row, name in enumerate(names):
        axes.text(max(gains[row], 0) + 0.02 * room, row, f"{gains[row]:+.1f}", va="center", fontsize=9, color=INK)
        axes.text(-0.03 * room, row, name, ha="right", va="center", fontsize=9, color=INK)
    axes.set_xlim(min(gains.min(initial=0), 0), 1.18 * room)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(())
    axes.set_xlabel("points of AP that are won when this kind is put right", loc="left")
    notes = f"{diagnosis.false_positives} poses meant for nobody, {diagnosis.false_negatives} people not met"
    axes.text(0, 1.02, notes, transform=axes.transAxes, fontsize=9, color=QUIET)
    _bare(axes)


def draw_people(sizes: Sequence[Group], crowding: Sequence[Group], title: str) -> "Figure":
    """Who is found, by size and by crowding."""
    figure = _figure(10, 3.6, title, "People who are found")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_groups(left, sizes)
    _draw_groups(right, crowding)
    left.set_xlabel("size: square root of the area", loc="left")
    right.set_xlabel("crowding: IoU of the box with the nearest neighbour's", loc="left")
    left.legend(ncols=2, bbox_to_anchor=(-0.01, 0.98), **LEGEND)
    return figure


def _draw_groups(axes: "Axes", groups: Sequence[Group]) -> None:
    places = np.arange(len(groups))
    found = 100 * np.nan_to_num([group.found for group in groups])
    recall = 100 * np.nan_to_num([group.recall for group in groups])
    axes.bar(places, found, width=0.66, color="#bcd3da", label="found, OKS from 0.5")
    axes.bar(places, recall, width=0.66, color=BAR, label="recall over OKS 0.5 to 0.95")
    for place, group in enumerate(groups):
        if group.people:
            axes.text(place, found[place] + 2, f"{found[place]:.0f}", ha="center", fontsize=9, color=INK)
            inside = recall[place] > 12
            axes.text(place, recall[place] - 3 if inside else 1, f"{recall[place]:.0f}", ha="center",
                      va="top" if inside else "bottom", fontsize=9, color="white" if inside else INK)  # fmt: skip
    people = [f"{group.name}\n{group.people:,} people" if group.people else f"{group.name}\nnobody" for group in groups]
    axes.set_xticks(places, people, fontsize=8.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 112)
    axes.set_yticks(list(QUARTERS), list(QUARTERS.values()))
    _bare(axes)


def draw_precision_recall(scores: Scores, title: str) -> "Figure":
    """One curve for every OKS threshold; the area under each is its AP."""
    from matplotlib import colormaps

    figure = _figure(6.6, 5, title, "Precision by recall")
    axes = figure.subplots()
    precision = scores.curves.precision[..., 0]  # (T, R, C)
    some = (precision > -1).all((0, 1))
    precision = precision[..., some].mean(-1) if some.any() else np.zeros(precision.shape[:2])  # (T, R)
    recall = np.linspace(0, 100, precision.shape[1])
    shades = colormaps["viridis"](np.linspace(0.05, 0.9, len(OKS_THRESHOLDS)))
    for threshold, values, shade in zip(OKS_THRESHOLDS, precision, shades, strict=True):
        label = f"{threshold:.2f}   {100 * values.mean():.1f}"
        reached = np.where(values > 0, 100 * values, np.nan)  # beyond that recall nobody else is found
        axes.plot(recall, reached, color=shade, linewidth=1.8, label=label, solid_capstyle="round", clip_on=False)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks(list(QUARTERS), list(QUARTERS.values()))
    axes.set_yticks(list(QUARTERS), list(QUARTERS.values()))
    axes.set_xlabel("recall", loc="left")
    axes.set_ylabel("precision", loc="bottom")
    axes.legend(title=f"OKS     AP\nmean   {100 * precision.mean():.1f}", loc="center left", bbox_to_anchor=(1.02, 0.5),
                frameon=False, fontsize=9, title_fontsize=9, labelcolor=INK, handlelength=1.2)  # fmt: skip
    axes.grid(color="#e6eaec", linewidth=0.8)
    _bare(axes)
    return figure


def _figure(width: float, height: float, title: str, subject: str) -> "Figure":
    """A figure of its own: pyplot would keep it, and its settings, for the whole process."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(f"{subject}: {title}" if title else subject, x=0.01, ha="left", fontsize=12, color=INK)
    return figure


def _bare(axes: Any) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c3cace")
    axes.tick_params(colors=QUIET, labelsize=8.5, length=0)
    axes.xaxis.label.set(color=QUIET, fontsize=9)
    axes.yaxis.label.set(color=QUIET, fontsize=9)
    axes.set_axisbelow(True)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
