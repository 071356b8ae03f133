"""The report of a run: one page of HTML that needs nothing beside it, with curves, AP, keypoints and pictures."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.core import checkpoint
from utils.core.console import log
from utils.training.log import Curve, Row, panels

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 320, 170, 54, 22, 10  # of a panel and of its margins
ROOM = 6  # characters beside a panel
SHADES = ("#2463a8", "#c8501e", "#8a929c")
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#22262b;background:#fff;max-width:1080px;
 margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2.4rem 0 .8rem;border-bottom:1px solid #e3e6ea}
.facts{color:#5b636d;margin:0}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1.2rem}
.pictures{columns:460px;column-gap:1.2rem}.pictures figure{break-inside:avoid;padding-bottom:1.2rem}figure{margin:0}
figcaption{font-size:.9rem;color:#5b636d}img{width:100%;border-radius:4px}svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#79818b}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .9rem;text-align:right;border-bottom:1px solid #e3e6ea}th:first-child{padding-left:0}
.bar{display:grid;grid-template-columns:9rem 1fr 3.5rem;gap:.8rem;align-items:center;font-size:.92rem}
.bar i{display:block;height:.8rem;background:#2463a8;border-radius:2px}.bar span:last-child{text-align:right}
"""


@dataclass(frozen=True)
class Report:
    """What a page shows; whatever is empty is left out."""

    title: str
    rows: Sequence[Row]  # of results.csv
    metrics: Mapping[str, float] = field(default_factory=dict)  # shares of 1
    keypoints: Mapping[str, float] = field(default_factory=dict)  # by name, shares of 1
    facts: Mapping[str, object] = field(default_factory=dict)  # model, data, command, ...
    pictures: Sequence[tuple[Path, str]] = ()  # files and captions


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    facts = " · ".join(f"{_text(name)} {_text(value)}" for name, value in report.facts.items())
    parts = [f"<h1>{_text(report.title)}</h1><p class=facts>{facts}</p>"]
    if report.metrics:
        parts.append(f"<h2>Accuracy, in percent</h2>{_table(report.metrics)}")
    if report.keypoints:
        parts.append(f"<h2>Keypoints, in percent</h2>{_bars(report.keypoints)}")
    drawn = panels(report.rows)
    if drawn:
        curves = "".join(_panel(title, lines) for title, lines in drawn.items())
        parts.append(f"<h2>Training, by epoch</h2><div class=grid>{curves}</div>")
    pictures = "".join(_picture(file, caption) for file, caption in report.pictures)
    if pictures:
        parts.append(f"<h2>Pictures</h2><div class=pictures>{pictures}</div>")
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{_text(report.title)}</title>"
    style = f"<style>{STYLE}</style>"
    page = f"<!doctype html><html lang=en><head>{head}{style}</head><body>{''.join(parts)}</body></html>\n"
    checkpoint.write_whole(path, lambda target: Path(target).write_text(page, encoding="utf-8"))


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(metrics: Mapping[str, float]) -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in metrics)
    values = "".join(f"<td>{100 * value:.1f}</td>" for value in metrics.values())
    return f"<table><tr>{names}</tr><tr>{values}</tr></table>"


def _bars(keypoints: Mapping[str, float]) -> str:
    return "".join(
        f"<div class=bar><span>{_text(name.replace('_', ' '))}</span>"
        f'<span><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i></span><span>{100 * value:.1f}</span></div>'
        for name, value in keypoints.items()
    )


def _picture(file: Path, caption: str) -> str:
    try:
        data = base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        log.warning("%s: left out of the report (%s)", file, error.strerror)
        return ""
    kind = KINDS.get(file.suffix.lower(), "image/jpeg")
    return (
        f'<figure><img alt="{_text(caption)}" src="data:{kind};base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


# ---------------------------------------------------------------------------------------------- curves as SVG


@dataclass(frozen=True)
class _Scale:
    """Epochs and values to points of a panel."""

    first: float
    last: float
    low: float
    high: float

    @classmethod
    def around(cls, curves: Sequence[Curve]) -> "_Scale":
        epochs = [epoch for curve in curves for epoch in curve.epochs]
        values = [value for curve in curves for value in curve.values]
        low = 0.0 if min(values) >= 0 else min(values)
        return cls(min(epochs), max(epochs), low, max(values) if max(values) > low else low + 1)

    def x(self, epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - 8) * (epoch - self.first) / max(self.last - self.first, 1)

    def y(self, value: float) -> float:
        return ABOVE + (HEIGHT - ABOVE - BELOW) * (self.high - value) / (self.high - self.low)


def _panel(title: str, curves: Sequence[Curve]) -> str:
    scale = _Scale.around(curves)
    marks = "".join(_level(scale, scale.low + share * (scale.high - scale.low)) for share in (0, 0.5, 1))
    ends = f'<text x="{LEFT}" y="{HEIGHT - 6}">{scale.first:g}</text>'
    if scale.last > scale.first:
        ends += f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{scale.last:g}</text>'
    lines = "".join(_line(scale, curve, shade) for curve, shade in zip(curves, SHADES, strict=False))
    shades = zip(curves, SHADES, strict=False)
    legend = ", ".join(f'<span style="color:{shade}">{_text(curve.label)}</span>' for curve, shade in shades)
    caption = f"{_text(title)}{f': {legend}' if len(curves) > 1 else ''}"
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{marks}{ends}{lines}</svg></figure>'
    )


def _level(scale: _Scale, value: float) -> str:
    y = scale.y(value)
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - 8}" stroke="#e8ebee"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>'
    )


def _tick(value: float) -> str:
    """Three digits, or as many as the margin has room for: 0.00114 is 1.1e-3 there."""
    text = f"{value:.3g}"
    if len(text) <= ROOM:
        return text
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}"


def _line(scale: _Scale, curve: Curve, shade: str) -> str:
    places = zip(curve.epochs, curve.values, strict=True)
    points = [f"{scale.x(epoch):.1f} {scale.y(value):.1f}" for epoch, value in places]
    if len(points) == 1:
        x, y = points[0].split()
        return f'<circle cx="{x}" cy="{y}" r="3" fill="{shade}"/>'
    return f'<path d="M{"L".join(points)}" fill="none" stroke="{shade}" stroke-width="1.7" stroke-linejoin="round"/>'
