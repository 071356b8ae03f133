"""What txt labels cannot hold: ids, mask areas, crowd regions, people who leave the image. Kept in a file beside them.

The way back to COCO uses it for every image whose label file has not been edited since, so nothing is lost.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.core.console import log
from utils.core.files import write_text
from utils.core.schema import KeypointSchema
from utils.data.reading.coco_json import category_classes, read_json
from utils.data.reading.ground_truth import from_records
from utils.data.reading.labels_txt import label_path, read_bytes
from utils.data.reading.rows import TextRow
from utils.data.records import Records

NAME = "labels/<split>.rest.json"


def entry(
    records: Records, i: int, rows: list[TextRow], text: str, classes: Sequence[str], schema: KeypointSchema
) -> dict[str, Any]:
    """One image: its id, its labels' digest, and of every person what its row does not say; all where there is none."""
    whole = from_records(records.chosen([i]), classes, schema)["annotations"]
    persons = [
        {"id": person["id"], "area": person["area"]}
        if row.text and not row.altered
        else person | {"row": bool(row.text)}
        for person, row in zip(whole, rows, strict=True)
    ]
    return {"id": records.image_id(i), "labels": _digest(text.encode()), "persons": persons}


def write(out: Path, split: str, categories: list[dict[str, Any]], images: dict[str, Any]) -> None:
    path = out / "labels" / f"{split}.rest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"categories": categories, "images": images})


def restored(values: dict[str, Any], records: Records, names: Sequence[str], root: Path, split: str) -> dict[str, Any]:
    """A COCO data set made from labels, with what was kept beside them put back."""
    path = root / "labels" / f"{split}.rest.json"
    if not path.is_file():
        return values
    kept = read_json(path)
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in values["images"]}
    for annotation in values["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    images, annotations, edited = [], [], 0
    for i, (image, name) in enumerate(zip(values["images"], names, strict=True)):
        found = kept["images"].get(name)
        persons = by_image[image["id"]]
        if found and found["labels"] == _digest(read_bytes(label_path(records.path(i)))):
            image = image | {"id": found["id"]}
            persons = _merged(found["persons"], persons, found["id"])
        else:
            edited += 1
        images.append(image)
        annotations += persons
    if edited:
        log.info("%s: the labels of %d images are new or were edited; they stand for themselves", path, edited)
    return _with_categories({"images": images, "annotations": annotations}, values["categories"], kept["categories"])


def _merged(kept: list[dict[str, Any]], rows: list[dict[str, Any]], image_id: int) -> list[dict[str, Any]]:
    """The persons in their old order: rows with their id and area again, the others as they were kept."""
    remaining = iter(rows)
    merged = []
    for person in kept:
        if "bbox" not in person:
            merged.append(next(remaining) | person | {"image_id": image_id})
            continue
        if person["row"]:
            next(remaining)  # its row says less
        merged.append({key: value for key, value in person.items() if key != "row"})
    return merged


def _with_categories(values: dict[str, Any], ours: list[dict[str, Any]], kept: list[dict[str, Any]]) -> dict[str, Any]:
    """The categories of the first annotation file again, under their old ids."""
    if not kept:
        return values | {"categories": ours}
    names = [category["name"] for category in ours]
    old_id = {kind + 1: category for category, kind in category_classes(kept, names, "categories").items()}
    for annotation in values["annotations"]:
        annotation["category_id"] = old_id[annotation["category_id"]]
    return values | {"categories": kept}


def write_json(path: Path, values: Any) -> None:
    write_text(path, json.dumps(values, ensure_ascii=False))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
