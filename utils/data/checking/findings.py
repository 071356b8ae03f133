"""What is wrong with the persons of a split, as Problems: their boxes, keypoints and doubles, and what a set lacks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from utils.core.schema import KeypointSchema
from utils.data.checking import sides
from utils.data.reading import labels_txt
from utils.data.records import Problem, Records, Wanted

# A reason to look, or taken care of while reading or training. Every other kind does harm.
HARMLESS = frozenset(
    {
        "box leaves image",
        "duplicate person",
        "duplicate row",
        "image listed twice",
        "keypoint far from box",
        "keypoint outside",
        "keypoints not in box",
        "left and right",
        "same picture",
        "tiny box",
    }
)
TINY = 2.0  # px
FAR = 0.5  # of a box's longer side
OFTEN = 0.05  # of the persons: a mistake of the whole set and not of one annotation
FEW = 20  # persons; below this a set says nothing about what it lacks

Place = Callable[[int], str]  # of a person, by its index among all: a file, with the line or the annotation's id


def person_problems(records: Records, schema: KeypointSchema, place: Place) -> list[Problem]:
    """Everything that can be seen in the numbers alone, in the order of the persons."""
    if not records.person_count:
        where = records.root
        return [Problem("no people", where, f"{len(records)} images and nobody in them", "people to learn from")]
    found = [
        *_boxes(records, place),
        *_keypoints(records, schema, place),
        *_doubles(records, place),
        *sides.person_problems(records, schema, place),
    ]
    return [*found, *_whole_set(records, schema), *sides.whole_set_problems(records, schema)]


def placer(records: Records, annotations: Path | None, wanted: Wanted) -> Place:
    """How to say where a person stands: by the id in a JSON, by the line in its label file."""
    if annotations:
        return lambda person: f"{annotations}: annotation {records.ids[person]}"

    def in_label(person: int) -> str:
        image = int(np.searchsorted(records.person_ends, person, side="right")) - 1
        label = labels_txt.label_path(records.path(image))
        text = labels_txt.as_text(labels_txt.read_bytes(label), label)
        rows = list(labels_txt.rows(text, label, records.size(image), wanted, []))
        return f"{label}:{rows[person - records.person_ends[image]].line}"

    return in_label


def _sizes(records: Records) -> np.ndarray:
    """Width and height of every person's image: (P, 2)."""
    return records.sizes[records.image_of_person()][:, ::-1].astype(np.float32)


def _boxes(records: Records, place: Place) -> Iterator[Problem]:
    low, high = records.boxes[:, :2], records.boxes[:, 2:]
    limit = _sizes(records)  # (P, 2)
    away = ((high <= 0) | (low >= limit)).any(1)
    leaves = ((low < -1) | (high > limit + 1)).any(1) & ~away
    tiny = ((high - low) < TINY).any(1)
    for person in np.flatnonzero(away | leaves | tiny):
        box = _listed(records.boxes[person])
        width, height = limit[person].astype(int)
        if away[person] or leaves[person]:
            kind = "box outside" if away[person] else "box leaves image"
            yield Problem(kind, place(person), f"box {box}", f"a box inside 0 0 {width} {height}")
        else:
            yield Problem("tiny box", place(person), f"box {box}", f"sides of at least {TINY:g} pixels")


def _keypoints(records: Records, schema: KeypointSchema, place: Place) -> Iterator[Problem]:
    points, labelled = records.keypoints, (records.visibility > 0) & ~records.crowd[:, None]  # (P, K, 2), (P, K)
    corner = labelled & (points == 0).all(-1)
    outside = labelled & ~corner & ((points < 0) | (points > _sizes(records)[:, None])).any(-1)
    strayed = _strayed(records)
    far = labelled & ~corner & (_beyond_box(records) > FAR) & ~strayed[:, None]
    heap = _in_one_place(points, labelled)
    for n in np.flatnonzero(corner.any(1) | outside.any(1) | strayed | far.any(1) | heap):
        box, count = _listed(records.boxes[n]), int(labelled[n].sum())
        if corner[n].any():
            found = f"{_names(schema, corner[n])} labelled at 0 0"
            yield Problem("keypoint at 0 0", place(n), found, "visibility 0 for what is not labelled")
        if heap[n]:
            found = f"all {count} labelled keypoints at {_listed(points[n][labelled[n]][0])}"
            yield Problem("keypoints in one place", place(n), found, "different places")
        elif strayed[n]:
            yield Problem("keypoints not in box", place(n), f"most of {count} keypoints outside box {box}", "inside it")
        elif outside[n].any():
            yield Problem("keypoint outside", place(n), f"{_names(schema, outside[n])} outside the image", "inside it")
        elif far[n].any():
            yield Problem(
                "keypoint far from box", place(n), f"{_names(schema, far[n])} far outside box {box}", "near it"
            )


def _beyond_box(records: Records) -> np.ndarray:
    """How far every keypoint lies outside its person's box, in longer sides of the box: (P, K)."""
    low, high = records.boxes[:, None, :2], records.boxes[:, None, 2:]
    beyond = np.maximum(low - records.keypoints, records.keypoints - high).max(-1, initial=0)  # (P, K)
    return beyond / (records.boxes[:, 2:] - records.boxes[:, :2]).max(1, initial=1)[:, None]


def _strayed(records: Records) -> np.ndarray:
    """Persons most of whose labelled keypoints are clearly outside their box: (P)."""
    labelled = (records.visibility > 0) & ~records.crowd[:, None]
    return (labelled & (_beyond_box(records) > FAR / 2)).sum(1) > labelled.sum(1) / 2


def _in_one_place(points: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Persons with three and more labelled keypoints, all in the same place: (P)."""
    spread = np.zeros(len(points))
    for axis in range(2):
        high = np.where(labelled, points[..., axis], -np.inf).max(1, initial=-np.inf)
        low = np.where(labelled, points[..., axis], np.inf).min(1, initial=np.inf)
        spread = np.maximum(spread, high - low)
    return (labelled.sum(1) > 2) & (spread == 0)


def _doubles(records: Records, place: Place) -> Iterator[Problem]:
    """Persons with the box and the keypoints of an earlier one in the same image."""
    seen: dict[bytes, int] = {}
    images = records.image_of_person()
    for n in range(records.person_count):
        numbers = records.boxes[n].round(1).tobytes() + records.keypoints[n].round(1).tobytes()
        first = seen.setdefault(images[n].tobytes() + records.visibility[n].tobytes() + numbers, n)
        if first != n:
            yield Problem("duplicate person", place(n), f"the same person as {place(first)}", "one entry per person")


def _whole_set(records: Records, schema: KeypointSchema) -> Iterator[Problem]:
    if records.person_count < FEW:
        return
    never = ~(records.visibility > 0).any(0)  # (K)
    if schema.count and never.all():
        yield Problem("no keypoints", records.root, "nobody has a labelled keypoint", "labelled keypoints")
    elif never.any():
        found = f"{_names(schema, never)} never labelled in {records.person_count} persons"
        yield Problem("keypoint never labelled", records.root, found, "labels, or a set without it")
    strayed = int(_strayed(records).sum())
    if strayed > OFTEN * records.person_count:
        found = f"{strayed} of {records.person_count} persons have most keypoints outside their box"
        yield Problem("boxes do not fit", records.root, found, "boxes and keypoints of the same scale and person")


def _names(schema: KeypointSchema, chosen: np.ndarray) -> str:
    names = [schema.names[k] for k in np.flatnonzero(chosen)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _listed(values: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)
