"""The commands and the code that stand in README.md and in docs/*.md."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.commands.readmes import plain
from utils.core.config import ROOT

SHELLS = ("", "bash", "sh", "shell")
PROGRAMS = ("python ", "torchrun ", "srun ", "sh ")


@dataclass(frozen=True)
class Command:
    page: str
    typed: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of every code block."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^```(\w*) *\n(.*?)^``` *$", text, re.DOTALL | re.MULTILINE)
    outside = re.sub(r"^```.*?^``` *$", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (("", line) for line in re.findall(r"^ {4}(\S.*)$", outside, re.MULTILINE))


def typed() -> list[Command]:
    """Every command in a code block that nobody called a language; scripts, which begin with #!, are other people's."""
    found = []
    for page in pages():
        for language, block in blocks(page):
            lines = re.sub(r"\\\n", " ", block).splitlines() if language in SHELLS and block[:2] != "#!" else ()
            commands = [plain(line) for line in lines if line.startswith(PROGRAMS)]
            found += [Command(page.relative_to(ROOT).as_posix(), command) for command in commands]
    return found


def mapped(page: str) -> list[tuple[str, list[str]]]:
    """The rows of a page's tables from others' commands to ours: what was typed there, and what is typed here."""
    rows, inside = [], False
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif cells[-1] == "here":
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            rows.append((cells[0], re.findall(r"`([^`]+)`", cells[-1])))
    return rows
