"""Draws people: the embedded data set, so that everything here runs with nothing downloaded.

    python -m utils.data.people --splits

Scene number i of a seed is the same scene however many are drawn, and in whichever process. Keypoints, boxes, masks and
occlusion are read off the drawing itself, so they are exact.

With the same versions of numpy and OpenCV a scene is the same on every machine: outlines are rounded to 1/32 pixel and
keypoints to 1/256 before anything is decided, so that the last digit of a sine cannot show. Its JPEG file is made by
the machine's own encoder and may differ by a grey level.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.command import Parser, run
from utils.core.console import log, progress
from utils.data.drawing.kinds import CROWDINGS, FIGURES, SceneSettings

if TYPE_CHECKING:  # how to draw is imported when something is drawn: --help answers at once
    from utils.data.drawing.view import Scene

Seed = int | tuple[int, ...]  # a tuple keeps kinds of data apart, such as the splits


def draw(seed: Seed, index: int, settings: SceneSettings) -> "Scene":
    """Scene number `index` of a seed."""
    from utils.data.drawing import scenes

    return scenes.draw(seed, index, settings)


@dataclass(frozen=True)
class Drawings:
    """Scenes without end, as a source for training: the next epoch goes on where the last one stopped."""

    settings: SceneSettings
    seed: Seed = 0
    per_epoch: int = 1000

    def __len__(self) -> int:
        return self.per_epoch

    def draw(self, number: int) -> "Scene":
        return draw(self.seed, number, self.settings)


def main() -> None:
    parser = Parser("Write a data set of drawn scenes.")
    parser.add_argument("--out", type=Path, help="folder to write to; by default the one that the data YAML names")
    parser.add_argument("--count", type=int, default=500, help="how many images")
    parser.add_argument("--size", type=int, default=320, help="their width and height in pixels")
    parser.add_argument("--difficulty", choices=list(CROWDINGS), default="moderate")
    parser.add_argument(
        "--figure", choices=FIGURES, default="person", help="what to draw; each has its own YAML in data/"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same images")
    parser.add_argument("--splits", action="store_true", help="add a fifth as many images for validation")
    parser.add_argument("--held-out", type=int, metavar="N", help="add so many images for validation")
    args = parser.parse_args()
    settings = SceneSettings((args.size, args.size), args.figure, args.difficulty)
    from utils.data.drawing.files import data_folder, write_split

    held_out = max(args.count // 5, 1) if args.held_out is None and args.splits else args.held_out
    splits = [("train", args.seed, args.count)]  # its image i is draw(seed, i)
    if held_out:
        splits.append(("val", (args.seed, 1), held_out))
    for split, seed, count in splits:
        scenes = (draw(seed, index, settings) for index in progress(range(count), f"drawing {split}"))
        path = write_split(args.out or data_folder(args.figure), split=split, scenes=scenes, figure=args.figure)
        log.info("%s: %d images of %d x %d pixels", path, count, args.size, args.size)


if __name__ == "__main__":
    run(main)
