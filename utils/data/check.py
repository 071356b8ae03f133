"""python -m utils.data.check: what is wrong with a data set, file by file, and a picture of it."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.command import Parser, run

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.data.annotations import DataSpec
    from utils.data.checking.pictures import Look
    from utils.data.records import Problem, Records


def main() -> int:
    flags = parse()
    from utils.data.annotations import DataSpec
    from utils.data.checking import pages, report
    from utils.data.checking.pictures import look_at_images

    data = DataSpec.read(flags.data)
    splits, problems = read_splits(data, flags.splits or list(data.splits))
    if not splits:
        raise ValueError(f"{data.root}: nothing to check; the first problem: {problems[0]}")
    looks = {split: look_at_images(records, quick=flags.quick) for split, records in splits.items()}
    problems += find_problems(data, splits, looks)
    found = report.Report(data.name, data.schema, splits, problems)
    for line in report.lines(found):
        print(line)
    folder = Path(flags.project) / (flags.name or data.name)
    folder.mkdir(parents=True, exist_ok=True)
    page = report.write(found, pages.draw(found, looks, folder, flags.samples), folder)
    print(f"see {page}")
    return 1 if found.harmful else 0


def parse() -> argparse.Namespace:
    parser = Parser(
        "Look for everything in a data set that would harm training; exit status 1 when there is something."
    )
    parser.add_argument("data", metavar="DATA", help="data YAML, a folder that is recognised, or one COCO JSON")
    parser.add_argument("--splits", nargs="+", metavar="S", help="only these; default: all there are")
    parser.add_argument("--quick", action="store_true", help="read the images' headers only, decode nothing")
    parser.add_argument("--samples", type=int, default=12, metavar="N", help="images to draw from each split")
    parser.add_argument("--project", default="runs/check", metavar="DIR", help="folder of all checks")
    parser.add_argument("--name", metavar="NAME", help="this check's folder; default: the data set's name")
    return parser.parse_args()


def read_splits(data: "DataSpec", names: list[str]) -> "tuple[dict[str, Records], list[Problem]]":
    """The splits that can be read, and why the others cannot."""
    from utils.data.records import Problem

    splits, problems = {}, []
    for name in names:
        data.split(name)  # a name that does not exist is the user's mistake, not the data's
        try:
            splits[name] = data.readable_records(name)
        except ValueError as error:
            problems.append(Problem("unreadable split", f"{data.root}: {name}", str(error), "a split to read"))
    return splits, problems


def find_problems(
    data: "DataSpec", splits: "Mapping[str, Records]", looks: "Mapping[str, list[Look]]"
) -> "Iterator[Problem]":
    """Everything that is wrong, split by split: met while reading, in the images, in the persons, between splits."""
    from utils.data.checking.findings import person_problems, placer
    from utils.data.checking.pictures import double_images
    from utils.data.records import Wanted

    wanted = Wanted(data.classes, data.schema.count)
    for split, records in splits.items():
        yield from records.problems
        yield from (look.problem for look in looks[split] if look.problem)
        if split == "test" and not records.person_count:
            continue  # test sets are published without their answers
        yield from person_problems(records, data.schema, placer(records, data.split(split).annotations, wanted))
    yield from double_images(looks, splits)


if __name__ == "__main__":
    run(main)
