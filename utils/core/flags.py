"""The flags that several doors share, the old spellings that stay accepted, and how a command ends.

Imports neither torch nor OpenCV: `--help` answers at once.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
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

# Thresholds for counting AP, as the published figures were: doubtful people cost little there and win recall.
THOROUGH = {"conf": 0.001, "iou": 0.65}


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
        nothing = action.default in (None, False, True, "", argparse.SUPPRESS) or action.default == []
        return action.help if nothing else super()._get_help_string(action)


class _WithoutEffect(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        log.info("%s is no longer needed: %s", option, NO_EFFECT[str(option)])


def add_model_flags(
    parser: argparse.ArgumentParser, *, weights: str | None = None, half: str = "half precision, on a GPU"
) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--weights", default=weights, metavar="FILE", help="checkpoint: ours, or a published .pt")
    group.add_argument("--cfg", metavar="YAML", help="model YAML, to build a new model (weights fill in what fits)")
    group.add_argument("--device", default="", metavar="D", help="cpu, mps, a GPU number, or 0,1; default: the best")
    group.add_argument("--half", action="store_true", help=half)


def add_image_flags(parser: argparse.ArgumentParser, *, batch: int | None) -> None:
    group = parser.add_argument_group("images")
    group.add_argument(
        "--img", "--img-size", "--imgsz", dest="img", type=int, nargs="+", metavar="PX",
        help="input size: one side, or height and width; default: the model's own",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", "--batch", dest="batch_size", type=int, default=batch, metavar="N", help="images at a time"
    )


def add_select_flags(parser: argparse.ArgumentParser) -> None:
    """Thresholds; a flag that is not given leaves the model's own value alone."""
    group = parser.add_argument_group("selection")
    group.add_argument("--conf-thres", type=float, metavar="P", help="keep people with at least this score")
    group.add_argument(
        "--iou-thres", type=float, metavar="P", help="of people that overlap more than this, keep the best"
    )
    group.add_argument("--max-det", type=int, metavar="N", help="at most this many people per image")


def add_view_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("test-time augmentation")
    group.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], metavar="S", help="look at each image at these scales"
    )
    group.add_argument(
        "--flips", type=int, nargs="+", default=[], metavar="F",
        help="one for each scale: -1 as it is, 3 left and right exchanged, 2 upside down",
    )  # fmt: skip


def add_run_flags(parser: argparse.ArgumentParser, *, project: str) -> None:
    group = parser.add_argument_group("where results go")
    group.add_argument("--project", default=project, metavar="DIR", help="folder of all runs")
    group.add_argument("--name", default="exp", help="this run's folder; numbered when it exists")
    group.add_argument("--exist-ok", action="store_true", help="write into an existing run folder")


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """What overrules a recipe; a flag that is not given leaves the recipe alone. Their names are its keys."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--epochs", type=int, metavar="N", help="default: the recipe's, else 300")
    group.add_argument("--optimizer", choices=("SGD", "Adam", "AdamW"))
    group.add_argument("--adam", dest="optimizer", action="store_const", const="Adam", help="--optimizer Adam")
    group.add_argument("--cos-lr", dest="schedule", action="store_const", const="cosine", help="the usual decay")
    group.add_argument("--linear-lr", dest="schedule", action="store_const", const="linear", help="a straight line")
    group.add_argument("--multi-scale", action="store_const", const=(0.5, 1.5), help="another size for every batch")
    group.add_argument("--label-smoothing", type=float, metavar="P")
    group.add_argument("--freeze", type=int, metavar="N", help="keep the first N layers as they are")
    group.add_argument("--patience", type=int, metavar="N", help="stop after so many epochs without a better AP")
    group.add_argument("--noval", dest="evaluate_every", action="store_const", const=0, help="only the last epoch")
    group.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"))
    group.add_argument("--sync-bn", action="store_const", const=True, help="batch statistics of all GPUs together")
    group.add_argument("--compile", action="store_const", const=True, help="torch.compile")
    group.add_argument("--seed", type=int, metavar="N")


def selection(args: argparse.Namespace) -> dict[str, Any]:
    """The thresholds that were typed, under the names that families give them."""
    typed = {"conf": args.conf_thres, "iou": args.iou_thres, "max_poses": args.max_det}
    return {name: value for name, value in typed.items() if value is not None}


def image_size(values: Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) from `--img 640` or `--img 384 640`; None leaves the model's own."""
    if values is None:
        return None
    if len(values) > 2 or min(values) < 1:
        raise ValueError(f"--img: found {' '.join(map(str, values))}; expected one side, or height and width")
    return values[0], values[-1]


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
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)
