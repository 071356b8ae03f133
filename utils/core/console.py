"""What a person sees while a command runs: the log format and a progress bar, on rank 0 only."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

log = logging.getLogger("limber")
Item = TypeVar("Item")


def is_main_process() -> bool:
    """True in the one process that talks: torchrun and slurm number the others from 1."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def start_logging(*, quiet: bool = False) -> None:
    """Send the log to stderr in plain lines; the other ranks only speak up when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO if is_main_process() and not quiet else logging.WARNING)


def progress(
    items: Iterable[Item], title: str, total: int | None = None, *, done: int = 0, note: Callable[[], str] | None = None
) -> Iterator[Item]:
    """Yield the items behind a progress bar; silent on other ranks and where stderr is not a terminal.

    `done` items of the total lie behind already; `note` is asked for a few words after each.
    """
    from tqdm import tqdm

    hidden = not is_main_process() or not sys.stderr.isatty()
    with tqdm(items, desc=title, total=total, initial=done, disable=hidden, dynamic_ncols=True, leave=False) as bar:
        for item in bar:
            yield item
            if note is not None and not hidden:
                bar.set_postfix_str(note(), refresh=False)
