"""The commands that stand in the originals' READMEs."""

import re

from tests.conftest import SHARED

PROGRAMS = ("python ", "sh ", "bash ", "cd ", "git ", "conda ", "pip ", "export ")


def plain(command: str) -> str:
    """A command on one line: without comments, continuation lines, and the blanks that do not count."""
    lines = [line.split("  #")[0].split(" # ")[0] for line in command.splitlines()]
    return re.sub(r"\s+", " ", re.sub(r"\\\s*(\n|$)", " ", "\n".join(lines))).strip()


def commands(name: str) -> list[str]:
    """All of a README, in their order: those of its code blocks, and those between backticks after a `$`."""
    text = (SHARED / "seeds" / f"{name}_README.md").read_text(encoding="utf-8")
    text = re.sub(r"\\ `<br>\s*`", "", text)  # one command in two pieces of code
    found = []
    for block, inline in re.findall(r"```[\w ]*\n(.*?)```|`\$ ?([^`]*)`", text, re.DOTALL):
        found += _of_block(block) if block else [plain(inline)]
    return found


def _of_block(block: str) -> list[str]:
    found: list[str] = []
    joined = re.sub(r"\\\n", " ", block)
    for line in joined.splitlines():
        words = plain(line.strip().removeprefix("$ "))
        if found and re.fullmatch(r"cd \S+", found[-1]):  # where the next one is typed
            words = f"{found.pop()} {words}"
        if words.startswith("--cfg "):  # another choice for a flag of the line above
            found.append(re.sub(r"--cfg \S+", words, found[-1]))
        elif words.startswith(PROGRAMS):
            found.append(words)
    return found
