"""What `check` shows: samples with their labels drawn, and statistics of people and keypoints.

matplotlib's home among the data: it is imported where something is drawn, so that reading data never loads it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.core import images
from utils.core.console import log
from utils.core.files import naming
from utils.core.geometry import move_boxes, move_points
from utils.core.schema import KeypointSchema
from utils.data.checking import report
from utils.data.checking.pictures import Look
from utils.data.records import Persons, Records

if TYPE_CHECKING:  # only named in signatures
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE = (420, 420)  # height and width of a drawn sample
COLUMNS = 4
BOX_COLUMNS = 9
SIDE_COLOURS = {"left": "#ff9f1c", "right": "#2ec4f1", "": "#f4f4f4"}
BOX_COLOUR, CROWD_COLOUR = "#7bd389", "#e05263"


def draw(found: report.Report, looks: Mapping[str, list[Look]], folder: Path, samples: int) -> dict[str, str]:
    """The pages of samples and statistics as PNG files: file name to title."""
    titles = {}
    for split, records in found.splits.items():
        usable = np.array([look.problem is None or look.problem.kind == "image size" for look in looks[split]], bool)
        chosen = sample(records, usable, samples)
        if len(chosen):
            titles[f"{split}_samples.png"] = (
                f"{split}: {len(chosen)} samples. Orange is the person's left, blue the right"
            )
            _save(_samples(records, found.schema, chosen), folder / f"{split}_samples.png")
        if records.person_count:
            titles[f"{split}_statistics.png"] = f"{split}: where people and their keypoints are"
            save_statistics(records, found.schema, folder / f"{split}_statistics.png")
    return titles


def sample(records: Records, usable: np.ndarray, count: int) -> np.ndarray:
    """Images spread over the split, those with people first; the same ones every time."""
    people = np.diff(records.person_ends) > 0
    order = np.concatenate((np.flatnonzero(usable & people), np.flatnonzero(usable & ~people)))
    pool = order[: max(int((usable & people).sum()), count)]
    return pool[np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))] if len(pool) else pool


def _samples(records: Records, schema: KeypointSchema, chosen: np.ndarray) -> "Figure":
    from matplotlib.figure import Figure

    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 4.5 * rows), layout="tight")
    for place, i in enumerate(chosen, 1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        picture, matrix = images.fit(images.read(records.path(i)), TILE)
        axes.imshow(picture)
        _persons(axes, records.persons(i), matrix, schema)
        axes.set(xlim=(0, TILE[1]), ylim=(TILE[0], 0))
        axes.set_title(records.name(i)[-45:], fontsize=9)
        axes.axis("off")
    return figure


def _persons(axes: "Axes", persons: Persons, matrix: np.ndarray, schema: KeypointSchema) -> None:
    """Boxes, bones and keypoints; hidden keypoints are hollow, what is not labelled is not drawn."""
    boxes = move_boxes(persons.boxes.astype(np.float64), matrix)
    points = move_points(persons.keypoints.astype(np.float64), matrix)
    colours = [SIDE_COLOURS[_side(name)] for name in schema.names]
    for n, (left, top, right, bottom) in enumerate(boxes):
        colour = CROWD_COLOUR if persons.crowd[n] else BOX_COLOUR
        style = "--" if persons.crowd[n] else "-"
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], style, color=colour, linewidth=1)
        labelled = persons.visibility[n] > 0
        for a, b in schema.skeleton:
            if labelled[a] and labelled[b]:
                side = colours[a] if colours[a] == colours[b] else SIDE_COLOURS[""]
                axes.plot(*points[n, [a, b]].T, color=side, linewidth=1.6, alpha=0.9)
        for k in np.flatnonzero(labelled):
            face = colours[k] if persons.visibility[n, k] == 2 else "none"
            axes.plot(*points[n, k], "o", markersize=4, markerfacecolor=face, markeredgecolor=colours[k])


def _side(name: str) -> str:
    return next((side for side in ("left", "right") if side in name.lower()), "")


def save_statistics(records: Records, schema: KeypointSchema, path: Path) -> None:
    """Four plots about people, and where in its box each keypoint lies."""
    _save(_statistics(records, schema), path)


def _statistics(records: Records, schema: KeypointSchema) -> "Figure":
    from matplotlib.figure import Figure

    rows = -(-schema.count // BOX_COLUMNS)
    figure = Figure(figsize=(16, 10 + 3.2 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    above, below = figure.subfigures(2, 1, height_ratios=(10, 3.2 * rows)) if rows else (figure, None)
    frame, boxes, visibility, numbers = above.subplots(2, 2).ravel()
    _heat_map(frame, records)
    _box_sizes(boxes, records)
    _visibility(visibility, records, schema)
    _numbers(numbers, records)
    if below is not None:
        below.suptitle("Where each keypoint lies in its person's box (the white frame)", fontsize=14)
        for k, axes in enumerate(below.subplots(rows, BOX_COLUMNS, squeeze=False).ravel()):
            _in_box(axes, records, schema, k) if k < schema.count else axes.axis("off")
    return figure


def _density(axes: "Axes", points: np.ndarray, span: tuple[float, float]) -> None:
    """How often points (L, 2) fall where, in cells as fine as their number allows."""
    bins = int(np.clip(np.sqrt(len(points)) * 0.8, 8, 80))
    counted, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=bins, range=(span, span))
    axes.imshow(counted, extent=(*span, *span[::-1]), cmap="magma", interpolation="bilinear", aspect="auto")


def _heat_map(axes: "Axes", records: Records) -> None:
    """All labelled keypoints over the picture's frame, whatever its size."""
    sizes = records.sizes[records.image_of_person()][:, None, ::-1]  # (P, 1, 2)
    relative = (records.keypoints / sizes)[records.visibility > 0]  # (L, 2)
    _density(axes, relative, (0, 1))
    axes.set(title="Keypoints in the picture", xlabel="x / width", ylabel="y / height")


def _box_sizes(axes: "Axes", records: Records) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    sides = (records.boxes[:, 2:] - records.boxes[:, :2])[~records.crowd]  # (P, 2)
    axes.loglog(
        sides[:, 0], sides[:, 1], ".", markersize=3, alpha=min(1, 200 / max(len(sides), 1) + 0.1), color="#3066be"
    )
    low, high = max(sides.min(initial=1e9), 1) * 0.8, sides.max(initial=1) * 1.25
    for limit in (32, 96):  # COCO's borders between small, medium and large
        axes.plot([low, high], [limit**2 / low, limit**2 / high], color="#999999", linewidth=1, linestyle=":")
        if low < limit < high:
            axes.annotate(f"{limit}²", (limit, limit), color="#555555", backgroundcolor="#ffffffaa")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.set(title="Boxes", xlabel="width, pixels", ylabel="height, pixels", xlim=(low, high), ylim=(low, high))


def _visibility(axes: "Axes", records: Records, schema: KeypointSchema) -> None:
    names, start = list(schema.names), np.zeros(schema.count)
    for value, title, colour in ((2, "seen", "#2a9d8f"), (1, "hidden", "#e9c46a"), (0, "not labelled", "#d8d8d8")):
        share = (records.visibility[~records.crowd] == value).mean(0) if records.person_count else start
        axes.barh(names, share, left=start, label=title, color=colour)
        start = start + share
    axes.invert_yaxis()
    axes.set(title="Visibility of each keypoint", xlabel="share of persons", xlim=(0, 1))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)


def _numbers(axes: "Axes", records: Records) -> None:
    persons = np.diff(records.person_ends)
    labelled = (records.visibility[~records.crowd] > 0).sum(1)
    top = int(max(persons.max(initial=0), labelled.max(initial=0))) + 1
    for values, title, colour in (
        (persons, "persons in an image", "#3066be"),
        (labelled, "labelled keypoints of a person", "#2a9d8f"),
    ):
        share = np.bincount(values, minlength=top) / max(len(values), 1)
        axes.step(np.arange(top), share, where="mid", label=title, color=colour)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(title="How many", xlabel="number", ylabel="share", ylim=(0, None))
    axes.legend(frameon=False)


def _in_box(axes: "Axes", records: Records, schema: KeypointSchema, k: int) -> None:
    known = (records.visibility[:, k] > 0) & ~records.crowd
    boxes = records.boxes[known]
    relative = (records.keypoints[known, k] - boxes[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
    span = (-0.15, 1.15)
    _density(axes, relative, span)
    axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color="white", linewidth=0.8)
    axes.set_box_aspect(1.4)  # people stand
    axes.set(xticks=[], yticks=[], title=f"{schema.names[k]} ({int(known.sum())})")


def _save(figure: "Figure", path: Path) -> None:
    with naming(path):
        figure.savefig(path, dpi=90)
    log.info("%s: written", path)
