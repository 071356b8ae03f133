"""What `check` found, in words: the lines on the screen, the file with every problem, and the page that explains it."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.files import write_text
from utils.core.schema import KeypointSchema
from utils.data.checking.findings import HARMLESS
from utils.data.records import Problem, Records

SHOWN = 5  # problems of a kind on the screen; the file has them all
SHOWN_ON_PAGE = 50


@dataclass(frozen=True)
class Report:
    """A checked data set: its splits, and its problems in the order they were found."""

    name: str
    schema: KeypointSchema
    splits: Mapping[str, Records]
    problems: Sequence[Problem]

    @property
    def harmful(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.kind not in HARMLESS]

    @property
    def verdict(self) -> str:
        if self.harmful:
            return f"{len(self.harmful)} problems would harm training; {len(self.problems)} in all"
        return f"fit for training; {len(self.problems)} places worth a look" if self.problems else "nothing is wrong"

    def by_kind(self) -> dict[str, list[Problem]]:
        """The problems of each kind, the harmful kinds first."""
        kinds = sorted({problem.kind for problem in self.problems}, key=lambda kind: (kind in HARMLESS, kind))
        return {kind: [problem for problem in self.problems if problem.kind == kind] for kind in kinds}


def counts(records: Records) -> dict[str, int]:
    """What there is in a split, for the table."""
    labelled = (records.visibility > 0).sum(1)  # (P)
    return {
        "images": len(records),
        "without people": int((np.diff(records.person_ends) == 0).sum()),
        "persons": records.person_count - int(records.crowd.sum()),
        "without keypoints": int(((labelled == 0) & ~records.crowd).sum()),
        "crowd regions": int(records.crowd.sum()),
        "keypoints seen": int((records.visibility == 2).sum()),
        "keypoints hidden": int((records.visibility == 1).sum()),
    }


def lines(report: Report) -> list[str]:
    """For the screen: a table of counts, the first problems of each kind, the verdict."""
    titles = list(counts(next(iter(report.splits.values()))))
    rows = [[split, *(str(value) for value in counts(records).values())] for split, records in report.splits.items()]
    widths = [max(len(row[i]) for row in [["split", *titles], *rows]) for i in range(len(titles) + 1)]
    table = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [["split", *titles], *rows]
    ]
    found = []
    for kind, problems in report.by_kind().items():
        found.append(f"\n{len(problems)} x {kind}{' (harmless)' if kind in HARMLESS else ''}")
        found += [f"  {problem}" for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            found.append(f"  and {len(problems) - SHOWN} more")
    return [*table, *found, "", f"{report.name}: {report.verdict}"]


def write(report: Report, pictures: Mapping[str, str], folder: Path) -> Path:
    """problems.txt with every problem, and index.html with everything to look at; returns the latter."""
    listed = "".join(f"{problem.kind}\t{problem}\n" for problem in report.problems)
    write_text(folder / "problems.txt", listed, errors="backslashreplace")
    page = folder / "index.html"
    write_text(page, _page(report, pictures), errors="xmlcharrefreplace")
    return page


def _page(report: Report, pictures: Mapping[str, str]) -> str:
    first = counts(next(iter(report.splits.values())))
    head = "".join(f"<th>{title}</th>" for title in ("split", *first))
    rows = "".join(
        "<tr><td>" + "</td><td>".join([html.escape(split), *(f"{value:,}" for value in counts(records).values())])
        for split, records in report.splits.items()
    )
    figures = "".join(f'<h2>{html.escape(title)}</h2><img src="{name}">' for name, title in pictures.items())
    colour = "#b3261e" if report.harmful else "#1b7f3b"
    return f"""<!doctype html><meta charset="utf-8"><title>{html.escape(report.name)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }}
h1 {{ margin-bottom: 0 }} .verdict {{ color: {colour}; font-size: 1.2em; margin-top: .2em }}
table {{ border-collapse: collapse }} td, th {{ padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd }}
td:first-child, th:first-child {{ text-align: left }} img {{ width: 100% }}
code {{ font-size: 13px; word-break: break-all }} summary {{ cursor: pointer }} .harm {{ color: #b3261e }}
</style>
<h1>{html.escape(report.name)}</h1><p class="verdict">{html.escape(report.verdict)}</p>
<table><tr>{head}</tr>{rows}</table>
<h2>Problems</h2>{_problems(report) or "<p>None.</p>"}
<p>All of them are in <a href="problems.txt">problems.txt</a>, one per line.</p>
{figures}
"""


def _problems(report: Report) -> str:
    parts = []
    for kind, problems in report.by_kind().items():
        style, note = ("", " (worth a look)") if kind in HARMLESS else (' class="harm"', "")
        shown = "".join(f"<li><code>{html.escape(str(problem))}</code>" for problem in problems[:SHOWN_ON_PAGE])
        more = f"<li>and {len(problems) - SHOWN_ON_PAGE:,} more" if len(problems) > SHOWN_ON_PAGE else ""
        title = f"{len(problems):,} × {html.escape(kind)}{note}"
        parts.append(f"<details><summary{style}>{title}</summary><ul>{shown}{more}</ul></details>")
    return "".join(parts)
