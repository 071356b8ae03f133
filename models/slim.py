"""python -m models.slim FILE --out OUT: a checkpoint at half its size, its larger weights in half precision."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.command import Parser, run
from utils.core.console import log

if TYPE_CHECKING:  # imported where it is used: --help answers at once
    import torch


def slimmed(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Matrices and kernels in half precision; statistics and biases, which are few, stay as they are."""
    return {
        name: tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def slim(source: Path, target: Path) -> None:
    """Write the half-sized twin of one of our checkpoints; what is known about it stays the same."""
    from utils.core import checkpoint

    if not checkpoint.is_safetensors(source):
        raise ValueError(
            f"{source}: not a checkpoint of ours; expected the best.safetensors or last.safetensors of a run"
        )
    whole = checkpoint.load(source)
    header: dict[str, Any] = dict(whole.header)
    checkpoint.save(target, slimmed(whole.tensors), header)
    log.info("%s: %.1f MB, from %.1f MB", target, target.stat().st_size / 1e6, source.stat().st_size / 1e6)


def main() -> None:
    parser = Parser("Write a checkpoint at half its size, its larger weights in half precision.")
    parser.add_argument("weights", type=Path, help="a checkpoint of ours")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the small one goes")
    args = parser.parse_args()
    slim(args.weights, args.out)


if __name__ == "__main__":
    run(main)
