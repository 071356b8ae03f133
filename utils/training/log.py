"""RunLog: the folder of a run, with its settings, results.csv and results.png; TensorBoard for those who ask for it."""

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core import checkpoint, config
from utils.core.console import log
from utils.core.distributed import rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, float]
DRAW_EVERY = 60  # seconds between drawings of the curves while a run goes on
INK, FAINT, LINE, BEST = "#22262b", "#8a929c", "#2463a8", "#c8501e"


@dataclass(frozen=True)
class Curve:
    """One line in a panel."""

    label: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


class RunLog:
    """What a run leaves behind. A file that cannot be written is told, and does not end the run."""

    def __init__(self, folder: str | Path, *, tensorboard: bool = False) -> None:
        self.folder = Path(folder)
        self.weights = self.folder / "weights"
        self.rows: list[dict[str, float]] = []
        self._drawn = time.monotonic()
        self._board = _open_tensorboard(self.folder) if tensorboard and rank() == 0 else None

    def write_settings(self, options: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
        """opt.yaml and hyp.yaml: all that is needed to do it again."""
        for name, values in (("opt.yaml", options), ("hyp.yaml", recipe)) if rank() == 0 else ():
            try:
                config.write_yaml(self.folder / name, values)
            except OSError as error:
                raise ValueError(
                    f"{self.folder}: {name} cannot be written: {error.strerror}; choose another folder with --project"
                ) from None

    def add(self, row: Row) -> None:
        """The row of an epoch; the whole file is written anew, since a later row may have more columns."""
        self.rows.append(dict(row))
        self._write()
        if self._board is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._board.add_scalar(name, value, int(row["epoch"]))
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self.draw()

    def forget_from(self, epoch: int) -> None:
        """Read what a run has written before it stopped; rows of an epoch that will be repeated are dropped."""
        path = self.folder / "results.csv"
        if path.is_file():
            self.rows = [row for row in read_results(path) if row.get("epoch", 0) < epoch]

    def best(self, fitness: str = "AP") -> dict[str, float]:
        """The metrics of the best epoch so far."""
        judged = [row for row in self.rows if f"metrics/{fitness}" in row]
        best = max(judged, key=lambda row: row[f"metrics/{fitness}"], default={})
        return {name.removeprefix("metrics/"): best[name] for name in best if name.startswith("metrics/")}

    def finish(self) -> None:
        if rank() == 0:
            self.draw()
        if self._board is not None:
            self._board.close()

    def draw(self) -> None:
        """results.png, if there is anything to see."""
        self._drawn = time.monotonic()
        if self.rows:
            try:
                draw_results(self.rows, self.folder / "results.png")
            except OSError as error:
                log.warning("%s: results.png not written (%s)", self.folder, error.strerror)

    def _write(self) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, columns(self.rows), lineterminator="\n")
        table.writeheader()
        table.writerows({name: _short(value) for name, value in row.items()} for row in self.rows)
        path = self.folder / "results.csv"
        try:
            checkpoint.write_whole(path, lambda target: Path(target).write_text(text.getvalue(), encoding="utf-8"))
        except OSError as error:
            log.warning("%s: not written (%s); training goes on", path, error.strerror or error)


def newest_state(project: str | Path) -> Path:
    """The last checkpoint that any run of a project has written."""
    found = sorted(Path(project).glob("*/weights/last.pt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(f"{project}: no run with weights/last.pt; give the file of the run to go on with")
    return found[-1]


def read_results(path: str | Path) -> list[dict[str, float]]:
    """The rows of a results.csv; empty cells are left out."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a results.csv of a run ({error}); move it away to go on without it") from None


def columns(rows: Sequence[Row]) -> list[str]:
    """All columns, in the order of their first appearance, but those of one kind side by side."""
    seen = list(dict.fromkeys(name for row in rows for name in row))
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in seen))
    return sorted(seen, key=lambda name: kinds.index(name.partition("/")[0]))


def _short(value: float) -> str:
    """Seven digits are as much as single precision has."""
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def describe_epoch(row: Row, best: float, epochs: int, fitness: str) -> str:
    """One line that a person can read."""
    terms = {name.partition("/")[2]: value for name, value in row.items() if name.startswith("train/")}
    total = terms.pop("total", math.nan)
    parts = [f"epoch {int(row['epoch'])}/{epochs - 1}"]
    parts.append(f"loss {total:.4g} ({', '.join(f'{name} {value:.3g}' for name, value in terms.items())})")
    if f"metrics/{fitness}" in row:
        parts.append(f"{fitness} {row[f'metrics/{fitness}']:.3f} (best {best:.3f})")
    if row["skipped"]:
        parts.append(f"{int(row['skipped'])} steps skipped")
    parts.append(f"{row['images_per_second']:.0f} images/s, {row['waiting_for_data']:.0%} waiting for data")
    parts.append(str(timedelta(seconds=round(row["time"]))))
    return "  ".join(parts)


def _open_tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("TensorBoard is not installed (pip install tensorboard); results.csv has the same numbers")
        return None
    return SummaryWriter(str(folder))


# ---------------------------------------------------------------------------------------------- curves


def panels(rows: Sequence[Row]) -> dict[str, list[Curve]]:
    """What is drawn, panel by panel: the metrics, the losses, the rates, the speed."""
    found: dict[str, dict[str, list[Curve]]] = {"metrics": {}, "train": {}, "lr": {}, "images_per_second": {}}
    for name in columns(rows):
        kind, _, label = name.partition("/")
        points = [(row["epoch"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
        if kind not in found or not any(value for _, value in points):
            continue
        title = {"train": f"loss: {label}", "lr": "learning rate", "images_per_second": "images per second"}
        curves = found[kind].setdefault(title.get(kind, label), [])
        epochs, values = (tuple(side) for side in zip(*points, strict=True))
        if all(values != curve.values for curve in curves):
            curves.append(Curve(label, epochs, values))
    return {title: curves for panel in found.values() for title, curves in panel.items()}


def draw_results(rows: Sequence[Row], path: Path) -> None:
    """Small multiples: one panel for each number that a person watches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = panels(rows)
    across = min(len(drawn), 4)
    down = math.ceil(len(drawn) / across)
    figure = Figure(figsize=(3.3 * across, 2.3 * down), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis, (title, curves) in zip(axes, drawn.items(), strict=False):
        _draw_panel(axis, title, curves)
    for axis in axes[len(drawn) :]:
        axis.set_axis_off()
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    checkpoint.write_whole(path, lambda target: figure.savefig(target, format="png", dpi=130))


def _draw_panel(axis: "Axes", title: str, curves: Sequence[Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve, shade in zip(curves, (LINE, BEST, FAINT), strict=False):
        dots = "o" if len(curve.epochs) < 15 else None
        axis.plot(curve.epochs, curve.values, color=shade, lw=1.5, marker=dots, ms=3, label=curve.label)
    if len(curves) > 1:
        axis.legend(frameon=False, fontsize=7.5, labelcolor=INK)
    axis.margins(x=0.03, y=0.12)
    axis.set_title(title, fontsize=9.5, color=INK, loc="left")
    axis.tick_params(labelsize=7.5, colors=FAINT, length=2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#c9ced4")
    axis.grid(axis="y", color="#eceff2", lw=0.8)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    if title == "images per second":
        axis.set_ylim(bottom=0)
    if not title.startswith(("loss", "learning", "images")):
        _mark_best(axis, curves[0])


def _mark_best(axis: "Axes", curve: Curve) -> None:
    """The best value of a metric, with its number inside the panel."""
    value, epoch = max(zip(curve.values, curve.epochs, strict=True))
    axis.plot(epoch, value, "o", color=BEST, ms=5)
    late = epoch > (curve.epochs[0] + curve.epochs[-1]) / 2
    axis.annotate(f"{value:.3f}", (epoch, value), xytext=(2 if late else -2, -14), textcoords="offset points",
                  ha="right" if late else "left", fontsize=8.5, color=BEST)  # fmt: skip
