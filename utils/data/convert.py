"""python -m utils.data.convert: a data set as YOLO-pose txt labels or as COCO JSON, there and back without loss."""

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from utils.core.command import Parser, run
from utils.core.config import write_yaml
from utils.core.console import log
from utils.core.files import write_text

if TYPE_CHECKING:  # the parts are imported where they are used: --help answers at once
    from utils.data.annotations import DataSpec
    from utils.data.records import Records

Placing = Literal["link", "copy", "none"]


def main() -> None:
    flags = parse()
    from utils.data.annotations import DataSpec, summary, without_missing

    data = DataSpec.read(flags.data)
    out = Path(flags.out).resolve()
    if out == data.root.resolve():
        raise ValueError(f"--out: {out} is the data set's own folder; expected another one")
    written = {}
    for split in flags.splits or data.splits:
        records = data.annotated_records(split, boxes_from_keypoints=flags.boxes_from_keypoints)
        if flags.images != "none":
            records = without_missing(records)
        for line in summary(split, records):
            log.info("%s", line)
        if not len(records):
            raise ValueError(f"{data.root}: {split}: no usable image; with --images none the pictures may be missing")
        names = names_below_split(records)
        place_images(records, names, out / "images" / split, flags.images)
        write = write_txt if flags.to == "txt" else write_coco
        written[split] = write(data, split, records, names, out)
    settings = _ultralytics_keys(data) if flags.to == "txt" else _our_keys(data)
    write_yaml(out / "data.yaml", written | settings)
    print(f"{out / 'data.yaml'}: {', '.join(written)} as {flags.to}")


def parse() -> argparse.Namespace:
    parser = Parser("Convert a data set: COCO or CrowdPose JSON to YOLO-pose txt labels, or txt labels to COCO JSON.")
    parser.add_argument("data", metavar="DATA", help="data YAML, a folder that is recognised, or one COCO JSON")
    parser.add_argument("--to", choices=("txt", "coco"), required=True, help="what to write")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the new data set goes")
    parser.add_argument("--splits", nargs="+", metavar="S", help="only these; default: all there are")
    parser.add_argument("--images", choices=("link", "copy", "none"), default="link", help="how the images get there")
    parser.add_argument(
        "--boxes-from-keypoints", action="store_true", help="persons without a box get one around their keypoints"
    )
    return parser.parse_args()


def names_below_split(records: "Records") -> list[str]:
    """The images' names without the folders that all of them share; each must leave room for a label of its own."""
    from utils.data.reading.labels_txt import label_path

    names = [records.name(i).replace("\\", "/") for i in range(len(records))]
    shared = os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120
    names = [name[len(shared) :].lstrip("/") if shared else name for name in names]
    owners: dict[str, str] = {}
    for name in names:
        other = owners.setdefault(label_path(name), name)
        if other != name:
            raise ValueError(f"'{other}' and '{name}' would share the label {label_path(name)}; rename one of them")
    return names


def place_images(records: "Records", names: list[str], folder: Path, placing: Placing) -> None:
    """Link or copy the images into the new data set; a link where the system allows none becomes a copy."""
    if placing == "none":
        return
    for i, name in enumerate(names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            continue
        if placing == "link":
            try:
                target.symlink_to(Path(records.path(i)).resolve())
                continue
            except OSError as error:  # Windows wants a privilege for links
                log.info("%s: cannot be linked (%s), copied instead", target, error.strerror or error)
        shutil.copyfile(records.path(i), target)


def write_txt(data: "DataSpec", split: str, records: "Records", names: list[str], out: Path) -> str:
    """Labels, a list of the images, and what txt labels cannot hold; returns the split's images for the YAML."""
    from utils.data.reading import rest
    from utils.data.reading.coco_json import read_categories
    from utils.data.reading.labels_txt import label_path
    from utils.data.reading.rows import to_rows

    altered = 0
    kept: dict[str, Any] = {}
    for i, name in enumerate(names):
        rows = to_rows(records.persons(i), records.size(i))
        text = "".join(row.text + "\n" for row in rows if row.text)
        path = out / label_path(f"images/{split}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        kept[name] = rest.entry(records, i, rows, text, data.classes, data.schema)
        altered += sum(row.altered for row in rows)
    listed = "".join(f"./images/{split}/{name}\n" for name in names)
    write_text(out / f"{split}.txt", listed)
    annotations = data.split(split).annotations
    rest.write(out, split, read_categories(annotations) if annotations else [], kept)
    if altered:
        log.info(
            "%s: %d persons do not fit into their image: cut in the labels, whole in %s", split, altered, rest.NAME
        )
    if records.crowd.any():
        log.info("%s: %d crowd regions are kept in %s; labels have none", split, int(records.crowd.sum()), rest.NAME)
    return f"images/{split}"


def write_coco(data: "DataSpec", split: str, records: "Records", names: list[str], out: Path) -> dict[str, str]:
    """One JSON, with what an earlier conversion to txt had to leave out; returns the split for the YAML."""
    from utils.data.reading import rest
    from utils.data.reading.ground_truth import from_records

    values = from_records(records, data.classes, data.schema)
    for image, name in zip(values["images"], names, strict=True):
        image["file_name"] = name
    if not data.split(split).annotations:
        values = rest.restored(values, records, names, data.root, split)
    path = out / "annotations" / f"{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rest.write_json(path, values)
    return {"images": f"images/{split}", "annotations": f"annotations/{split}.json"}


def _our_keys(data: "DataSpec") -> dict[str, Any]:
    return {"classes": list(data.classes), **data.schema.to_values()}


def _ultralytics_keys(data: "DataSpec") -> dict[str, Any]:
    """The keys that Ultralytics' trainers read, and ours do too; no `path`: it is the YAML's folder for both."""
    schema = data.schema
    return {
        "names": dict(enumerate(data.classes)),
        "kpt_shape": [schema.count, 3],
        "flip_idx": list(schema.swap),
        "kpt_names": {kind: list(schema.names) for kind in range(len(data.classes))},
        "kpt_oks_sigmas": list(schema.sigmas),
        "skeleton": [list(bone) for bone in schema.skeleton],
    }


if __name__ == "__main__":
    run(main)
