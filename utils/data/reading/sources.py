"""The two kinds of annotation files as the cache sees them: when to read, what to hash, how to parse."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from utils.data.reading import cache, coco_json, labels_txt
from utils.data.reading.listing import join
from utils.data.records import Records, Wanted


class JsonSource:
    """One annotation file in COCO's layout; image sizes come from it."""

    def __init__(self, path: Path, images: Path, wanted: Wanted) -> None:
        self.path = self.base = path
        self.root, self.wanted = images, wanted
        self.key: dict[str, Any] = {"format": "coco", **_as_key(wanted)}

    @property
    def keypoint_count(self) -> int:
        return self.wanted.keypoint_count

    def stamps(self) -> np.ndarray:
        return cache.stamps([self.path])

    def digest(self) -> str:
        return cache.digest_of(coco_json.read_bytes(self.path))

    def parse(self) -> tuple[Records, str]:
        data = coco_json.read_bytes(self.path)
        values = coco_json.check_layout(coco_json.as_json(data, self.path), self.path)
        records = coco_json.parse(values, self.path, self.root, self.wanted)
        # Sizes that had to come from the images may change while this file does not.
        return records, cache.digest_of(data) if coco_json.says_sizes(values) else ""


class LabelSource:
    """Images, by their names below a folder, with a label file each; sizes come from the images."""

    def __init__(self, names: Sequence[str], root: Path, wanted: Wanted) -> None:
        self.names, self.wanted = names, wanted
        self.root = self.base = root
        listed = hashlib.blake2b("\n".join(names).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        self.key: dict[str, Any] = {"format": "txt", "images": listed, **_as_key(wanted)}

    @property
    def keypoint_count(self) -> int:
        return self.wanted.keypoint_count

    def stamps(self) -> np.ndarray:
        images = [join(str(self.root), name) for name in self.names]
        return cache.stamps(images + [labels_txt.label_path(image) for image in images])

    def digest(self) -> str:
        return labels_txt.digest_of(self.names, self.root, cache.new_digest())

    def parse(self) -> tuple[Records, str]:
        digest = cache.new_digest()
        records = labels_txt.parse(self.names, self.root, self.wanted, digest)
        return records, digest.hexdigest()


def _as_key(wanted: Wanted) -> dict[str, Any]:
    return asdict(wanted) | {"classes": list(wanted.classes)}
