"""Suspicion that left and right are exchanged, for any skeleton that has mirror pairs.

Seen from the front or from behind, all left points of a person lie on one side of their right ones. Wrists and ankles
cross; shoulders and hips hardly ever do. Which pairs keep their side is learnt from the set itself.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from utils.core.schema import KeypointSchema
from utils.data.records import Problem, Records

CLEAR = 0.12  # of the person's longer side: how far apart a pair must be to say where it points
CLEAR_REST = 0.06  # the same for the mean of all other pairs
STEADY = 0.03  # pairs that point against the others in fewer persons than this are believed
OBSERVED = 50  # persons that a rule about the set needs
MOSTLY = 0.3  # with fewer persons than this facing the camera, the names are probably exchanged


def person_problems(records: Records, schema: KeypointSchema, place: Callable[[int], str]) -> Iterator[Problem]:
    """Persons of whom one steady pair points clearly against the rest of the body."""
    pairs = _pairs(schema)
    gaps = _gaps(records, pairs)  # (P, pairs)
    rest = _others(gaps)  # (P, pairs)
    clear = (np.abs(gaps) > CLEAR) & (np.abs(rest) > CLEAR_REST)
    against = clear & (np.sign(gaps) != np.sign(rest))
    steady = (clear.sum(0) >= OBSERVED) & (against.sum(0) < STEADY * clear.sum(0))  # (pairs)
    suspects = against & steady
    for n in np.flatnonzero(suspects.any(1)):
        names = ", ".join(f"{schema.names[a]} and {schema.names[b]}" for a, b in np.array(pairs)[suspects[n]])
        found = f"{names} lie the other way round than the rest of the body"
        yield Problem("left and right", place(n), found, "the person's own left and right; look at it")


def whole_set_problems(records: Records, schema: KeypointSchema) -> Iterator[Problem]:
    """Most pictures show people from the front, with their left on the viewer's right."""
    pairs = [pair for pair in _pairs(schema) if _is_left(schema.names[pair[0]])]
    total = np.nansum(_gaps(records, pairs), 1) if pairs else np.zeros(0)
    decided = np.abs(total) > CLEAR
    if decided.sum() < OBSERVED:
        return
    facing = float((total[decided] > 0).mean())
    if facing < MOSTLY:
        found = f"only {facing:.0%} of {int(decided.sum())} persons have their left on the viewer's right"
        yield Problem("left and right", records.root, found, "most of them; are the names or flip_idx exchanged?")


def _pairs(schema: KeypointSchema) -> list[tuple[int, int]]:
    """Mirror pairs, the left one first where the names tell."""
    pairs = [(a, b) for a, b in enumerate(schema.swap) if a < b]
    return [(b, a) if _is_left(schema.names[b]) else (a, b) for a, b in pairs]


def _is_left(name: str) -> bool:
    return bool(re.search(r"left|(?<![a-z])l(?![a-z])", name, re.IGNORECASE))


def _gaps(records: Records, pairs: list[tuple[int, int]]) -> np.ndarray:
    """How far each pair's first point lies right of its second, in longer sides; 0 where unknown: (P, pairs)."""
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    side = (records.boxes[:, 2:] - records.boxes[:, :2]).max(1, initial=1)  # (P)
    gaps = (records.keypoints[:, first, 0] - records.keypoints[:, second, 0]) / side[:, None]
    known = (records.visibility[:, first] > 0) & (records.visibility[:, second] > 0) & ~records.crowd[:, None]
    return np.where(known, gaps, 0)


def _others(gaps: np.ndarray) -> np.ndarray:
    """The mean gap of the other clear pairs of the person: (P, pairs)."""
    counted = np.where(np.abs(gaps) > CLEAR / 2, gaps, 0)
    number = (counted != 0).sum(1, keepdims=True) - (counted != 0)
    return (counted.sum(1, keepdims=True) - counted) / np.maximum(number, 1)
