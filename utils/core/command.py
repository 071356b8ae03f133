"""How a command reads its flags and how it ends: suggestions for typing errors, one line for what went wrong.

Imports neither torch nor OpenCV: `--help` answers at once.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.core.config import did_you_mean
from utils.core.console import log, start_logging

# Old flag -> what a user should know. They are read and have no effect.
NO_EFFECT = {
    "--kpt-label": "the model file knows that it has keypoints",
    "--local_rank": "torchrun tells each process its number",
    "--local-rank": "torchrun tells each process its number",
}


class Parser(argparse.ArgumentParser):
    """argparse with the defaults in the help text, and a suggestion for a mistyped flag."""

    def __init__(self, description: str, **settings: Any) -> None:
        settings.setdefault("prog", _as_typed())
        super().__init__(description=description, formatter_class=_HelpFormatter, allow_abbrev=False, **settings)
        for flag in NO_EFFECT:
            takes_number = "rank" in flag
            self.add_argument(
                flag,
                action=_WithoutEffect,
                nargs="?" if takes_number else 0,
                type=int if takes_number else None,
                help=argparse.SUPPRESS,
            )

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Flags of the originals that a command does not have, and why."""
        for flag, reason in reasons.items():
            self.add_argument(flag, nargs="*", action=_Refused, reason=reason, help=argparse.SUPPRESS)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            flag = unknown[0].partition("=")[0] if unknown[0].startswith("--") else unknown[0]
            longer = [name for name in known if len(flag) > 2 and name.startswith(flag)]
            meant = f"; did you mean '{longer[0]}'?" if longer else did_you_mean(flag, known)
            self.error(f"{flag}: no such flag{meant}")
        for flag in NO_EFFECT:
            vars(found).pop(flag.lstrip("-").replace("-", "_"), None)
        return found


def _as_typed() -> str:
    """How the running command is typed: `python val.py`, or `python -m models.summary`."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {module.name.removesuffix('.__main__')}" if module else f"python {Path(sys.argv[0]).name}"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults are shown where there is one; room for the longer flags of this family of tools."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default in (None, False, True, "", argparse.SUPPRESS) or default == []:
            return action.help
        if isinstance(default, list):  # as it is typed
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


class _WithoutEffect(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        log.info("%s is no longer needed: %s", option, NO_EFFECT[str(option)])


class _Refused(argparse.Action):
    def __init__(self, *, reason: str, **settings: Any) -> None:
        super().__init__(default=argparse.SUPPRESS, **settings)
        self.reason = reason

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        parser.error(f"{option}: {self.reason}")


def run(main: Callable[[], int | None]) -> None:
    """Run a command: what a user got wrong is one line and status 2, what the machine refuses one line and status 1."""
    start_logging()
    try:
        status = main()
    except ValueError as error:
        lines = (line.strip() for line in str(error).splitlines())
        print("error:", " ".join(line for line in lines if line), file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        where = error.filename2 or error.filename  # of a copy, the file that could not be written
        print("error:", f"{where}: {error.strerror}" if where and error.strerror else error, file=sys.stderr)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        remedy = "try a smaller --batch-size, --img or --workers; what was written before is whole"
        print(f"error: not enough memory ({why}); {remedy}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def _is_lack_of_memory(error: Exception) -> bool:
    """True for Python's and numpy's own error, for a GPU's, and for the one of torch on the CPU, which has no class."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named or any(word in str(error).lower() for word in words)
