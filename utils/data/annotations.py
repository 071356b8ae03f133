"""DataSpec: what a data YAML or a recognised folder says, and the way from it to Records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.core.schema import KeypointSchema
from utils.data.records import Records


@dataclass(frozen=True)
class Split:
    """Where one split lies. Without an annotation file, YOLO-pose txt labels lie beside the images."""

    images: tuple[Path, ...]  # folders, or list files with one image per line
    annotations: Path | None = None  # COCO or CrowdPose JSON
    detections: Path | None = None  # COCO results JSON with the boxes a detector found, for top-down evaluation


@dataclass(frozen=True)
class DataSpec:
    """A data set: its folder, its splits, its classes and its keypoints."""

    name: str
    root: Path
    splits: Mapping[str, Split]  # "train", "val", "test", as far as there are
    classes: tuple[str, ...]
    schema: KeypointSchema

    @classmethod
    def read(cls, source: str | Path) -> "DataSpec":
        """A data YAML by path or bare name, ours or Ultralytics', or a folder in a layout that is recognised."""
        raise NotImplementedError

    def records(self, split: str) -> Records:
        """The annotations of a split, from the cache where it still holds."""
        raise NotImplementedError

    def detected(self, split: str, detections: str | Path | None = None) -> Records:
        """The split's images with the boxes that a detector found instead of the annotated persons."""
        raise NotImplementedError

    def ground_truth(self, split: str) -> dict[str, Any]:
        """The split as a COCO data set, for the evaluator."""
        raise NotImplementedError

    def category_ids(self, split: str) -> tuple[int, ...]:
        """The category id of every class in the split's annotations, for results files."""
        raise NotImplementedError
