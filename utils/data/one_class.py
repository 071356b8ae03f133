"""A data set whose classes are looked at as one, for `--single-cls`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from utils.core.schema import KeypointSchema
from utils.data.annotations import DataSpec
from utils.data.records import Records


class Data(Protocol):
    """What training and evaluation ask of a data set."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def schema(self) -> KeypointSchema: ...

    def records(self, split: str) -> Records: ...

    def detected(self, split: str, file: str | Path | None = None) -> Records: ...

    def ground_truth(self, split: str) -> dict[str, Any]: ...

    def category_ids(self, split: str) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class OneClass:
    """Every person of a data set as one of its first class."""

    whole: DataSpec

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def schema(self) -> KeypointSchema:
        return self.whole.schema

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes[:1]

    def records(self, split: str) -> Records:
        return _merged(self.whole.records(split))

    def detected(self, split: str, file: str | Path | None = None) -> Records:
        return _merged(self.whole.detected(split, file))

    def ground_truth(self, split: str) -> dict[str, Any]:
        truth, ids = self.whole.ground_truth(split), self.whole.category_ids(split)
        kept = [entry for entry in truth["categories"] if entry["id"] == ids[0]]
        people = [one | {"category_id": ids[0]} if one["category_id"] in ids else one for one in truth["annotations"]]
        return {**truth, "categories": kept, "annotations": people}

    def category_ids(self, split: str) -> tuple[int, ...]:
        return self.whole.category_ids(split)[:1]


def _merged(records: Records) -> Records:
    return replace(records, classes=np.zeros_like(records.classes))
