"""Folders that need no data YAML: Roboflow's, CVAT's and Ultralytics', COCO's own, or a JSON beside its images."""

from pathlib import Path

from utils.core.console import log
from utils.data.reading import coco_json
from utils.data.reading.layout import SPLITS, Layout, Split, read_data_yaml, schema_of
from utils.data.reading.listing import is_image

ROBOFLOW = "_annotations.coco.json"
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
SPLIT_WORDS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def read_folder(folder: Path) -> Layout:
    """The layout of a data set's folder, recognised by what lies in it."""
    folder = folder.resolve()
    for yaml in _data_yamls(folder):
        return _called(read_data_yaml(yaml), folder)
    splits = _roboflow(folder) or _coco(folder)
    if splits:
        described = ", ".join(f"{name}: {split.annotations}" for name, split in splits.items())
        log.info("%s: recognised by its annotation files (%s)", folder, described)
        return _with_categories(folder, splits)
    expected = f"a data.yaml, <split>/{ROBOFLOW}, annotations/*.json, or one .json beside the images"
    raise ValueError(f"{folder}: no layout of a data set is recognised; expected {expected}; or write a data YAML")


def read_annotation_file(path: Path) -> Layout:
    """The layout of one JSON whose images lie beside it or in a folder that its name points to."""
    path = path.resolve()
    split = _split_of(path) or "val"
    return _with_categories(path.parent, {split: Split((_images_of(path, split, path.parent),), path)})


def _data_yamls(folder: Path) -> list[Path]:
    named = [folder / name for name in YAML_NAMES if (folder / name).is_file()]
    others = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return named or (others if len(others) == 1 else [])


def _called(layout: Layout, folder: Path) -> Layout:
    return Layout(folder.name, layout.root, layout.splits, layout.classes, layout.schema)


def _with_categories(folder: Path, splits: dict[str, Split]) -> Layout:
    first = next(split.annotations for split in splits.values() if split.annotations)
    categories = coco_json.read_categories(first)
    schema = schema_of(categories, str(first))
    classes = tuple(str(entry["name"]) for entry in categories if entry.get("keypoints"))
    return Layout(folder.name, folder, splits, classes, schema)


def _roboflow(folder: Path) -> dict[str, Split]:
    """One folder per split, images and a JSON of a fixed name in it."""
    found = {}
    for split, words in SPLIT_WORDS.items():
        for word in words:
            if (folder / word / ROBOFLOW).is_file():
                found[split] = Split((folder / word,), folder / word / ROBOFLOW)
    if not found and (folder / ROBOFLOW).is_file():
        found["train"] = Split((folder,), folder / ROBOFLOW)
    return found


def _coco(folder: Path) -> dict[str, Split]:
    """Annotation files in `annotations` (CrowdPose: `json`) or in the folder itself, one per split."""
    found: dict[str, Split] = {}
    for home in (folder / "annotations", folder / "json", folder):
        files = sorted([*home.glob("*.json"), *home.glob("*.json.gz")])
        for path in [file for file in files if _has_persons(file)]:
            split = _split_of(path) or ("val" if len(files) == 1 else "")
            if split and split not in found:
                found[split] = Split((_images_of(path, split, folder),), path)
        if found:
            break
    return {split: found[split] for split in SPLITS if split in found}


def _has_persons(path: Path) -> bool:
    """True for a JSON whose categories list keypoints: COCO's folder has boxes and captions beside those."""
    with path.open("rb") as file:
        if path.suffix != ".gz" and file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
            return False  # a list: results of a detector
    try:
        return any(entry.get("keypoints") for entry in coco_json.read_categories(path))
    except ValueError as error:
        log.info("%s: passed over: %s", path, error)
        return False


def _split_of(path: Path) -> str:
    """The split that a file's name speaks of, if one; `trainval` is for training."""
    name = path.name.lower()
    return next((split for split, words in SPLIT_WORDS.items() if any(word in name for word in words)), "")


def _images_of(path: Path, split: str, folder: Path) -> Path:
    """The folder with a JSON's images: called as the last word of its name, or as the split, or `images`."""
    last_word = path.name.partition(".")[0].rpartition("_")[2]
    words = dict.fromkeys((last_word, path.name.partition(".")[0], split, *SPLIT_WORDS[split]))
    places = [home / word for word in words for home in (folder, folder / "images")]
    for place in [*places, folder / "images", path.parent]:
        if place.is_dir() and any(is_image(entry.name) for entry in place.iterdir()):
            return place
    return folder / split
