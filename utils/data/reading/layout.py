"""Layout: what a data YAML says, ours or Ultralytics', with every path resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.core.config import did_you_mean, find, into, read_yaml
from utils.core.console import log
from utils.core.schema import KeypointSchema
from utils.data.reading import coco_json, labels_txt
from utils.data.reading.listing import image_names

SPLITS = ("train", "val", "test")
OUR_KEYS = ("path", *SPLITS, "classes", "keypoints", "sigmas", "skeleton", "groups", "fetch")


@dataclass(frozen=True)
class Split:
    """Where one split lies. Without an annotation file, YOLO-pose txt labels lie beside the images."""

    images: tuple[Path, ...]  # folders, or list files with one image per line
    annotations: Path | None = None  # COCO or CrowdPose JSON
    detections: Path | None = None  # COCO results JSON with the boxes a detector found, for top-down evaluation


@dataclass(frozen=True)
class Layout:
    """A data set: its folder, its splits, its classes and its keypoints."""

    name: str
    root: Path
    splits: Mapping[str, Split]  # "train", "val", "test", as far as there are
    classes: tuple[str, ...]
    schema: KeypointSchema
    fetch: str = ""  # the command that brings the files


@dataclass(frozen=True)
class _SplitKeys:
    """The keys of a split in our YAML."""

    images: str | tuple[str, ...]
    annotations: str | None = None
    detections: str | None = None


def read_data_yaml(source: str | Path) -> Layout:
    """The layout in a data YAML; paths in it start at its `path`, that at the YAML's own folder."""
    path = find(source if Path(source).suffix else f"{source}.yaml")
    values = read_yaml(path)
    if "num_coords" in values or "kp_bbox" in values:
        raise ValueError(
            f"{path}: a data YAML of KAPAO, with labels made for it; here the annotations themselves are read: take "
            "coco_kpts.yaml or crowdpose.yaml, or write your own as in docs/migration.md"
        )
    theirs = {"names", "nc", "kpt_shape"} & set(values)
    for key in values if not theirs else ():
        if key not in OUR_KEYS:
            raise ValueError(f"{path}: no key '{key}' ({', '.join(OUR_KEYS)}){did_you_mean(key, OUR_KEYS)}")
    root = _root(values, path)
    found = {split: values[split] for split in SPLITS if values.get(split)}
    if "val" not in found and values.get("valid"):  # as some exports call it
        found["val"] = values["valid"]
    if not found:
        raise ValueError(f"{path}: no split found; expected 'train:' or 'val:' with the images' folder")
    splits = {split: _split(value, root, f"{path}: {split}") for split, value in found.items()}
    classes = _classes(values, str(path))
    schema = _schema(values, splits, str(path))
    return Layout(path.stem, root, splits, classes, schema, str(values.get("fetch", "")))


def _root(values: Mapping[str, Any], path: Path) -> Path:
    """The data set's folder: `path` seen from the YAML, from here, or from a folder `datasets`; else the YAML's own."""
    home = path.resolve().parent
    if not values.get("path"):
        return home
    wanted = Path(str(values["path"])).expanduser()
    places = [home / wanted, Path.cwd() / wanted, Path.cwd() / "datasets" / wanted]
    for place in places:
        if place.is_dir():
            return place.resolve()
    # A YAML that came in the data set's folder, with the path of the machine that made it.
    first = next((values[split] for split in SPLITS if isinstance(values.get(split), str)), None)
    if first and (home / first).exists():
        log.info("%s: no folder %s here; using the YAML's own", path, wanted)
        return home
    return places[0].resolve()


def _split(value: Any, root: Path, where: str) -> Split:
    if not isinstance(value, Mapping):
        value = {"images": value}
    keys = into(_SplitKeys, value, where)
    images = (keys.images,) if isinstance(keys.images, str) else keys.images
    if not images:
        raise ValueError(f"{where}: no images given; expected a folder or a list file")
    if keys.annotations and len(images) > 1:
        raise ValueError(
            f"{where}: {len(images)} image folders for one annotation file; expected the folder they share"
        )
    others = [None if name is None else _place(root, name) for name in (keys.annotations, keys.detections)]
    return Split(tuple(_place(root, name) for name in images), *others)


def _place(root: Path, name: str) -> Path:
    """A path in the YAML, seen from its folder.

    Roboflow's `../train/images` means `train/images`; TI's and YOLOv5's `data/x.yaml` are seen from the folder above.
    """
    path = root / Path(name).expanduser()
    inner, above = root / name.removeprefix("../"), root.parent / name
    places = (path, *([inner] if name.startswith("../") else []), *([above] if root.name == "data" else []))
    return next((place for place in places if place.exists()), path)


def _classes(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    names = values.get("classes", values.get("names"))
    if names is None:
        return tuple(f"class_{i}" for i in range(int(values.get("nc", 0)))) or ("person",)
    if isinstance(names, Mapping):
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{where}: names are numbered {sorted(names)}; expected 0 to {len(names) - 1}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{where}: found {names!r} as the classes; expected a list of names")
    if isinstance(values.get("nc"), int) and values["nc"] != len(names):
        raise ValueError(f"{where}: nc is {values['nc']} but there are {len(names)} names")
    return tuple(str(name) for name in names)


def _schema(values: Mapping[str, Any], splits: Mapping[str, Split], where: str) -> KeypointSchema:
    """The keypoints from the YAML itself, else from its annotations, else by their number in the first label."""
    if {"keypoints", "kpt_shape"} & set(values):
        return KeypointSchema.from_values(values, where)
    for split in splits.values():
        if split.annotations and split.annotations.is_file():
            return schema_of(coco_json.read_categories(split.annotations), str(split.annotations))
    for split in splits.values():
        for folder in split.images:
            if count := _count_in_labels(folder):
                return _schema_by_count(count, where)
    raise ValueError(f"{where}: no 'keypoints' and no label to count them in; expected a list with their names")


def schema_of(categories: list[dict[str, Any]], where: str) -> KeypointSchema:
    """The keypoints of a JSON's category; a known set of data/ where the names are the same, as it says more."""
    category = next((entry for entry in categories if entry.get("keypoints")), None)
    if category is None:
        raise ValueError(f"{where}: none of the categories lists keypoints; give a data YAML with 'keypoints'")
    names = tuple(category["keypoints"])
    for known in known_schemas():
        if known.names == names:
            return known
    bones = [bone for bone in category.get("skeleton") or () if all(0 < end <= len(names) for end in bone)]
    if len(bones) < len(category.get("skeleton") or ()):
        log.info("%s: left out bones to keypoints that the category does not have", where)
    return KeypointSchema.from_values(category | {"skeleton": bones}, where)


def known_schemas() -> list[KeypointSchema]:
    """The keypoint sets that data/ ships."""
    return [KeypointSchema.read(name) for name in ("coco_kpts.yaml", "crowdpose.yaml")]


def _schema_by_count(count: int, where: str) -> KeypointSchema:
    for known in known_schemas():
        if known.count == count:
            log.info("%s: no 'keypoints' given; %d of them, taken for %s, ...", where, count, known.names[0])
            return known
    log.info("%s: no 'keypoints' given; the labels have %d, without names or mirror images", where, count)
    return KeypointSchema.unnamed(count)


def _count_in_labels(images: Path) -> int:
    """How many keypoints the first row of the first label has; 0 where there is none."""
    if not images.exists():
        return 0
    for name in image_names((images,), images.parent):
        label = Path(labels_txt.label_path(str(images.parent / name)))
        words = (
            label.read_text(encoding="utf-8-sig", errors="replace").split("\n")[0].split() if label.is_file() else []
        )
        if len(words) > 5:
            return (len(words) - 5) // (2 if (len(words) - 5) % 3 else 3)
    return 0
