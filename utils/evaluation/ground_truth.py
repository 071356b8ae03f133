"""GroundTruth: the annotated persons of a split in packed arrays, as evaluations need them."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.geometry import xywh_to_xyxy, xyxy_to_xywh
from utils.core.poses import person_areas
from utils.core.schema import KeypointSchema


@dataclass(frozen=True)
class GroundTruth:
    """All images of a split, those without people too, and all their annotated persons in file order."""

    where: str  # the file's name, for messages
    schema: KeypointSchema  # its sigmas decide how strict the evaluation is
    category_ids: tuple[int, ...]  # of the classes that have keypoints
    image_ids: np.ndarray  # (I) int64
    sizes: np.ndarray  # (I, 2) int64 height and width, 0 where unknown
    crowd_index: np.ndarray | None  # (I) how crowded CrowdPose says an image is, None in other sets
    image_index: np.ndarray  # (P) int64: whose image
    categories: np.ndarray  # (P) int64
    boxes: np.ndarray  # (P, 4) float64
    keypoints: np.ndarray  # (P, K, 2) float64
    visibility: np.ndarray  # (P, K) int64: 0 not labelled, 1 hidden, 2 seen
    areas: np.ndarray  # (P) float64
    crowd: np.ndarray  # (P) bool: a region with many people, not one person
    labelled: np.ndarray  # (P) int64: how many keypoints the file says are labelled

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def counts(self) -> np.ndarray:
        """Which persons can be found or missed (P); the others only excuse what was detected on them."""
        return ~self.crowd & (self.labelled > 0)

    @cached_property
    def place(self) -> dict[int, int]:
        """The index of every image id."""
        return {int(image_id): index for index, image_id in enumerate(self.image_ids)}

    @cached_property
    def coco(self) -> dict[str, Any]:
        """The same as a COCO data set, with no more in it than evaluations read."""
        flat = np.concatenate((self.keypoints, self.visibility[..., None]), -1).reshape(
            len(self), 3 * self.schema.count
        )
        columns = zip(
            self.image_ids[self.image_index].tolist(),
            self.categories.tolist(),
            xyxy_to_xywh(self.boxes).tolist(),
            flat.tolist(),
            self.areas.tolist(),
            self.crowd.tolist(),
            self.labelled.tolist(),
            strict=True,
        )
        names = ("image_id", "category_id", "bbox", "keypoints", "area", "iscrowd", "num_keypoints")
        # Numbered from 1: the official tools take a match with annotation 0 for none.
        annotations = [{"id": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(columns, 1)]
        for annotation in annotations:
            annotation["iscrowd"] = int(annotation["iscrowd"])
        return {
            "info": {},
            "images": [
                {"id": image_id, "file_name": "", "height": height, "width": width}
                for image_id, (height, width) in zip(self.image_ids.tolist(), self.sizes.tolist(), strict=True)
            ],
            "annotations": annotations,
            "categories": [
                {"id": category, "name": f"class {category}", "keypoints": list(self.schema.names), "skeleton": []}
                for category in self.category_ids
            ],
        }

    @classmethod
    def read(
        cls, source: "Mapping[str, Any] | str | Path | GroundTruth", schema: KeypointSchema | None = None
    ) -> "GroundTruth":
        """From a COCO or CrowdPose data set: the values or the file. Without a schema the categories' own is taken."""
        if isinstance(source, GroundTruth):
            return source
        if isinstance(source, Mapping):
            return from_values(source, schema, "ground truth")
        return from_values(read_json(source), schema, str(source))


def read_json(path: str | Path) -> Any:
    """The values in a JSON file, packed with gzip or not."""
    path = Path(path)
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}; is the file complete?") from None


def from_values(values: Any, schema: KeypointSchema | None, where: str) -> GroundTruth:
    """Pack a COCO data set; what is not labelled with keypoints stays as an excuse for detections."""
    if not isinstance(values, Mapping) or not isinstance(values.get("images"), Sequence):
        raise ValueError(f"{where}: no list 'images' found; expected COCO's images, annotations and categories")
    schema = schema or KeypointSchema.from_values(values, where)
    # An image that is listed twice is one image, as the official tools see it.
    images = list({entry.get("id"): entry for entry in values["images"]}.values())
    category_ids = _keypoint_categories(values, where)
    annotations = [entry for entry in values.get("annotations", ()) if entry.get("category_id") in category_ids]
    image_ids = _image_ids(images, where)
    place = {image_id: index for index, image_id in enumerate(image_ids.tolist())}
    points = _points(annotations, schema.count, where)  # (P, K, 3)
    boxes_xywh = _column(annotations, "bbox", 4, where)  # (P, 4)
    boxes = xywh_to_xyxy(boxes_xywh)
    crowd_index = _crowd_index(images, where)
    visibility = points[..., 2].astype(np.int64)
    return GroundTruth(
        where=where,
        schema=schema,
        category_ids=category_ids,
        image_ids=image_ids,
        sizes=np.array([(entry.get("height", 0), entry.get("width", 0)) for entry in images], np.int64).reshape(-1, 2),
        crowd_index=crowd_index,
        image_index=np.array([_place(entry, place, where) for entry in annotations], np.int64),
        categories=np.array([entry["category_id"] for entry in annotations], np.int64),
        boxes=boxes,
        keypoints=points[..., :2],
        visibility=visibility,
        areas=_areas(annotations, boxes, own=crowd_index is None),
        crowd=np.array([bool(entry.get("iscrowd", 0)) for entry in annotations], bool),
        # CrowdPose does not count head and neck, so the file's own number is not the number of labelled points.
        labelled=np.array(
            [
                entry.get("num_keypoints", seen)
                for entry, seen in zip(annotations, (visibility > 0).sum(1), strict=True)
            ],
            np.int64,
        ),
    )


def _keypoint_categories(values: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """The ids of the categories that have keypoints; of all categories where none says so."""
    categories = values.get("categories") or ()
    found = [entry["id"] for entry in categories if entry.get("keypoints")] or [entry["id"] for entry in categories]
    if not found:
        raise ValueError(f"{where}: no categories found; expected one with keypoints")
    return tuple(int(category) for category in found)


def _image_ids(images: Sequence[Mapping[str, Any]], where: str) -> np.ndarray:
    found = [entry.get("id") for entry in images]
    wrong = next((value for value in found if not isinstance(value, int) or isinstance(value, bool)), 0)
    if wrong != 0:
        raise ValueError(f"{where}: image id {wrong!r} found; expected whole numbers")
    return np.array(found, np.int64)


def _crowd_index(images: Sequence[Mapping[str, Any]], where: str) -> np.ndarray | None:
    without = [entry.get("id") for entry in images if entry.get("crowdIndex") is None]
    if len(without) == len(images):
        return None
    if without:
        raise ValueError(f"{where}: image {without[0]} has no 'crowdIndex' while others have; expected it everywhere")
    return np.array([entry["crowdIndex"] for entry in images], np.float64)


def _place(annotation: Mapping[str, Any], place: Mapping[int, int], where: str) -> int:
    image_id = annotation.get("image_id")
    if image_id not in place:
        raise ValueError(f"{where}: {_name(annotation)}: image_id {image_id!r} found; expected one of the images")
    return place[image_id]


def _points(annotations: Sequence[Mapping[str, Any]], count: int, where: str) -> np.ndarray:
    nothing = [0] * (3 * count)
    filled = [{**entry, "keypoints": entry.get("keypoints") or nothing} for entry in annotations]
    return _column(filled, "keypoints", 3 * count, where).reshape(len(filled), count, 3)


def _column(annotations: Sequence[Mapping[str, Any]], key: str, width: int, where: str) -> np.ndarray:
    """One list of numbers from every annotation: (P, width)."""
    for entry in annotations:
        found = entry.get(key)
        if not isinstance(found, (list, tuple, np.ndarray)) or len(found) != width:
            what = f"{len(found)} numbers" if isinstance(found, (list, tuple, np.ndarray)) else repr(found)
            raise ValueError(f"{where}: {_name(entry)}: {key}: {what} found; expected {width} numbers")
    try:
        column = np.array([entry[key] for entry in annotations], np.float64).reshape(-1, width)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {key}: {error}; expected numbers") from None
    finite = np.isfinite(column).all(1)
    if not finite.all():
        raise ValueError(f"{where}: {_name(annotations[int(np.argmin(finite))])}: {key}: not a finite number found")
    return column


def _areas(annotations: Sequence[Mapping[str, Any]], boxes: np.ndarray, *, own: bool) -> np.ndarray:
    """The areas that sizes are judged by: the masks' where they are given, and never in CrowdPose."""
    areas = np.asarray(person_areas(boxes), np.float64).reshape(-1)
    if not own:
        return areas
    return np.array([entry.get("area", area) for entry, area in zip(annotations, areas, strict=True)], np.float64)


def _name(annotation: Mapping[str, Any]) -> str:
    return f"annotation {annotation.get('id', '?')}"
