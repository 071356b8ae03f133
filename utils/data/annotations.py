"""DataSpec: a data set by its YAML or its folder, and the way from it to Records."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.config import did_you_mean
from utils.core.console import log
from utils.data.reading import cache, coco_json, detections, ground_truth
from utils.data.reading.folders import read_annotation_file, read_folder
from utils.data.reading.layout import Layout, Split, read_data_yaml
from utils.data.reading.listing import image_names
from utils.data.reading.sources import JsonSource, LabelSource
from utils.data.records import Problem, Records, Wanted

__all__ = ["DataSpec", "Records", "Split"]


class DataSpec(Layout):
    """A data set: its folder, its splits, its classes and its keypoints."""

    @classmethod
    def read(cls, source: str | Path) -> "DataSpec":
        """A data YAML by path or bare name, ours or Ultralytics'; or a folder or COCO JSON that is recognised."""
        path = Path(source).expanduser()
        if path.is_dir():
            layout = read_folder(path)
        elif path.name.endswith((".json", ".json.gz")) and path.is_file():
            layout = read_annotation_file(path)
        else:
            layout = read_data_yaml(source)
        return cls(layout.name, layout.root, layout.splits, layout.classes, layout.schema, layout.fetch)

    def split(self, name: str) -> Split:
        if name not in self.splits:
            known = ", ".join(self.splits)
            raise ValueError(f"{self.root}: no split '{name}' ({known}){did_you_mean(name, self.splits)}")
        return self.splits[name]

    def records(self, split: str) -> Records:
        """The annotations of a split, from the cache where it still holds; what is unusable is counted and left out."""
        records = self.readable_records(split)
        for line in summary(split, records):
            log.info("%s", line)
        if not len(records) or not (records.person_count or split == "test"):
            first = f"; the first problem: {records.problems[0]}" if records.problems else ""
            found = f"{len(records)} usable images, {records.person_count} persons"
            raise ValueError(f"{self.root}: {split}: {found}; expected people to learn from{first}")
        return records

    def readable_records(self, split: str) -> Records:
        """The same without judging: whatever can be read, even if that is nothing."""
        records = self.annotated_records(split)
        return without_missing(records) if self.split(split).annotations else records

    def annotated_records(self, split: str, *, boxes_from_keypoints: bool = False) -> Records:
        """What the annotation files say, whether a JSON's images are there or not."""
        part = self._here(split)
        wanted = Wanted(self.classes, self.schema.count, boxes_from_keypoints)
        if part.annotations is None:
            source = LabelSource(image_names(part.images, self.root), self.root, wanted)
            return cache.read(source, self.root / f"{split}.limber.cache")
        home = part.annotations.with_name(part.annotations.name + ".limber.cache")
        records = cache.read(JsonSource(part.annotations, part.images[0], wanted), home)
        return replace(records, root=str(self._start_of_names(records, part.images[0])))

    def _here(self, name: str) -> Split:
        """A split whose files are on this machine; where they are not, how to get them is told."""
        part = self.split(name)
        for path in (part.annotations,) if part.annotations else part.images:
            if not path.exists():
                remedy = f"get it with: {self.fetch}" if self.fetch else "look at 'path' in the data YAML"
                raise ValueError(f"{path}: not there, the data set '{self.name}' is missing or incomplete; {remedy}")
        return part

    def _start_of_names(self, records: Records, folder: Path) -> Path:
        """The folder that a JSON's file names start from: mostly the images' own, sometimes one above it."""
        for start in (folder, folder.parent, self.root):
            if len(records) and (start / records.name(0)).is_file():
                return start
        return folder

    def detected(self, split: str, file: str | Path | None = None) -> Records:
        """The split's images with the boxes that a detector found instead of the annotated persons."""
        path = file or self.split(split).detections
        if path is None:
            raise ValueError(f"{self.root}: {split}: no detections given; expected a COCO results JSON with boxes")
        found = detections.read(Path(path), self.readable_records(split), self._classes_of_categories(split))
        for line in summary(f"{split}, detected", found):
            log.info("%s", line)
        return found

    def ground_truth(self, split: str) -> dict[str, Any]:
        """The split as a COCO data set, for the evaluator: the JSON itself, else made from the labels."""
        part = self._here(split)
        if part.annotations:
            return ground_truth.from_json(part.annotations)
        return ground_truth.from_records(self.readable_records(split), self.classes, self.schema)

    def category_ids(self, split: str) -> tuple[int, ...]:
        """The category id of every class in the split's annotations, for results files."""
        ids = {kind: category for category, kind in self._classes_of_categories(split).items()}
        return tuple(ids.get(kind, kind + 1) for kind in range(len(self.classes)))

    def _classes_of_categories(self, split: str) -> dict[int, int]:
        path = self.split(split).annotations
        if path is None:
            return {kind + 1: kind for kind in range(len(self.classes))}
        return coco_json.category_classes(coco_json.read_categories(path), self.classes, path)


def without_missing(records: Records) -> Records:
    """Leave out images that are not there, and say so. Asked at every start: images come and go."""
    if not os.path.isdir(records.root):  # noqa: PTH112
        raise ValueError(f"{records.root}: no such folder; expected the images of the data set")
    present: dict[str, set[str]] = {}
    there = np.ones(len(records), bool)
    for i in range(len(records)):
        folder, name = os.path.split(records.path(i))
        if folder not in present:
            present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()  # noqa: PTH208, PTH112
        there[i] = name in present[folder]
    if there.all():
        return records
    missing = [Problem("missing image", records.path(i), "no such file", "an image") for i in np.flatnonzero(~there)]
    return replace(records.chosen(there), problems=(*records.problems, *missing))


def summary(title: str, records: Records) -> list[str]:
    """What was read, in one line, and what was wrong, in another."""
    counts = np.diff(records.person_ends)
    labelled = (records.visibility > 0).any(1)
    lines = [
        f"{title}: {len(records)} images ({int((counts == 0).sum())} without people), {records.person_count} persons "
        f"({int(records.crowd.sum())} crowd regions, {int((~labelled & ~records.crowd).sum())} without keypoints)"
    ]
    if records.problems:
        kinds = Counter(problem.kind for problem in records.problems).most_common()
        found = ", ".join(f"{count} x {kind}" for kind, count in kinds)
        lines.append(f"{title}: {len(records.problems)} problems ({found}); the first is {records.problems[0]}")
        lines.append(f"{title}: python -m utils.data.check lists them all")
    return lines
