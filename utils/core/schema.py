"""KeypointSchema: what the keypoints are called, which mirror which, how exact each is, and how they are joined."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.core.config import ROOT, find, read_yaml
from utils.core.console import log

DEFAULT_SIGMA = 0.05  # between COCO's eyes (.025) and its shoulders (.079)


@dataclass(frozen=True)
class KeypointSchema:
    """One kind of skeleton. Only it knows how many keypoints there are; none at all makes a plain detector."""

    names: tuple[str, ...]
    swap: tuple[int, ...]  # index of each keypoint's mirror image
    sigmas: tuple[float, ...]  # OKS fall-off of each keypoint, relative to the person's size
    skeleton: tuple[tuple[int, int], ...] = ()
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("swap", "sigmas"):
            if len(getattr(self, what)) != self.count:
                raise ValueError(f"{self.count} keypoints but {len(getattr(self, what))} {what}; give one each")
        doubles = sorted({name for name in self.names if self.names.count(name) > 1})
        if doubles:
            raise ValueError(f"keypoint '{doubles[0]}' is named twice")
        self._check_swap()
        for name, sigma in zip(self.names, self.sigmas, strict=True):
            if not (math.isfinite(sigma) and sigma > 0):
                raise ValueError(f"keypoint '{name}': sigma {sigma} found; expected a positive number")
        for what, indices in (("skeleton", sum(self.skeleton, ())), ("groups", sum(self.groups.values(), ()))):
            wrong = [i for i in indices if not 0 <= i < self.count]
            if wrong:
                raise ValueError(f"{what}: keypoint {wrong[0]} found; expected 0 to {self.count - 1}")

    def _check_swap(self) -> None:
        for i, mirror in enumerate(self.swap):
            if not 0 <= mirror < self.count:
                raise ValueError(
                    f"keypoint '{self.names[i]}': mirror image {mirror} found; expected 0 to {self.count - 1}"
                )
            if self.swap[mirror] != i:
                raise ValueError(
                    f"keypoint '{self.names[i]}' mirrors to '{self.names[mirror]}', but that one mirrors to "
                    f"'{self.names[self.swap[mirror]]}'; a mirror image must lead back"
                )

    @property
    def count(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        return _index(name, self.names, "keypoint")

    @classmethod
    def read(cls, source: str | Path) -> "KeypointSchema":
        """The schema in a data YAML (ours or Ultralytics') or in a COCO JSON."""
        path = find(source)
        if path.suffix == ".json":
            values = _read_json(path)
        else:
            values = read_yaml(path)
        return cls.from_values(values, str(source))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> "KeypointSchema":
        """Any of the forms that users have: ours, Ultralytics' keys, a COCO category or a file that holds one."""
        try:
            if not isinstance(values, Mapping):
                values = {}
            if "categories" in values:
                values = _keypoint_category(_as_list(values["categories"], "categories"))
            if "kpt_shape" in values:
                return _from_ultralytics(values, where)
            if not _is_list(values.get("keypoints")):
                raise ValueError("no 'keypoints' list, no 'kpt_shape' and no category with keypoints found")
            return _from_named(values, where)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    @classmethod
    def unnamed(cls, count: int) -> "KeypointSchema":
        """A stand-in for weights that bring no names: no mirror pairs, no bones, the default sigma."""
        names = tuple(f"keypoint_{i}" for i in range(count))
        return cls(names, tuple(range(count)), (DEFAULT_SIGMA,) * count)

    @classmethod
    def of_weights(cls, count: int) -> "KeypointSchema":
        """For published weights, which only know how many: COCO's when the number is COCO's."""
        coco = cls.read("coco_kpts.yaml")
        return coco if coco.count == count else cls.unnamed(count)

    def to_values(self) -> dict[str, Any]:
        """Our own YAML form; `from_values` reads it back."""
        return {
            "keypoints": [
                {"name": name, "swap": self.names[mirror], "sigma": sigma}
                for name, mirror, sigma in zip(self.names, self.swap, self.sigmas, strict=True)
            ],
            "skeleton": [[self.names[a], self.names[b]] for a, b in self.skeleton],
            "groups": {group: [self.names[i] for i in members] for group, members in self.groups.items()},
        }


def mirror_name(name: str) -> str:
    """The name with left and right exchanged; unchanged when it has no side."""
    sides = {"left": "right", "right": "left", "l": "r", "r": "l"}

    def exchanged(match: re.Match[str]) -> str:
        word = match.group(0)
        other = sides[word.lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    swapped = re.sub(r"left|right", exchanged, name, flags=re.IGNORECASE)
    if swapped != name:
        return swapped
    return re.sub(r"(?<![A-Za-z])[lr](?![A-Za-z])", exchanged, name, flags=re.IGNORECASE)


def _from_named(values: Mapping[str, Any], where: str) -> KeypointSchema:
    """Ours: keypoints with name, swap and sigma; or names only, as in a COCO category (whose bones count from 1)."""
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in values["keypoints"]]
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or "name" not in entry or set(entry) - {"name", "swap", "sigma"}:
            raise ValueError(f"keypoints[{i}]: found {entry}; expected {{name: ..., swap: ..., sigma: ...}}")
    names = tuple(str(entry["name"]) for entry in entries)
    given = [entry.get("swap") for entry in entries]
    sigmas = [entry.get("sigma") for entry in entries]
    if any(sigma is None for sigma in sigmas) and any(sigma is not None for sigma in sigmas):
        without = names[sigmas.index(None)]
        raise ValueError(f"keypoint '{without}' has no 'sigma' while others have; give every keypoint one, or none")
    groups = values.get("groups") or {}
    if not isinstance(groups, Mapping):
        raise ValueError(f"groups: found {groups!r}; expected {{name: [keypoints]}}")
    return KeypointSchema(
        names=names,
        swap=_swap(names, given, where),
        sigmas=_sigmas(sigmas if values.get("sigmas") is None else values["sigmas"], names, where),
        skeleton=_skeleton(values.get("skeleton") or (), names, first=1),
        groups={
            group: tuple(
                _index(member, names, f"groups.{group}: keypoint") for member in _as_list(members, f"groups.{group}")
            )
            for group, members in groups.items()
        },
    )


def _from_ultralytics(values: Mapping[str, Any], where: str) -> KeypointSchema:
    """Ultralytics' data keys: kpt_shape, flip_idx, kpt_names, kpt_oks_sigmas; indices count from 0 there."""
    shape = values["kpt_shape"]
    if not (_is_list(shape) and len(shape) == 2 and type(shape[0]) is int and shape[0] > 0):
        raise ValueError(f"kpt_shape: found {shape}; expected [number of keypoints, 2 or 3]")
    count, flips = shape[0], values.get("flip_idx")
    coco = KeypointSchema.of_weights(count)
    if not values.get("kpt_names") and _is_list(flips) and coco.swap == tuple(flips):
        log.info("%s: flip_idx is COCO's; so are the names, and the bones and sigmas unless they are given", where)
        values = {**values, "kpt_names": coco.names, "skeleton": values.get("skeleton") or coco.skeleton}
    names = values.get("kpt_names") or [f"keypoint_{i}" for i in range(count)]
    if isinstance(names, Mapping):  # one list per class; they share one skeleton here
        names = next(iter(names.values()))
    if len(_as_list(names, "kpt_names")) != count:
        raise ValueError(f"kpt_shape says {count} keypoints but kpt_names has {len(names)}")
    names = tuple(str(name) for name in names)
    if flips is not None and len(_as_list(flips, "flip_idx")) != count:
        raise ValueError(f"kpt_shape says {count} keypoints but flip_idx has {len(flips)}")
    return KeypointSchema(
        names=names,
        swap=_swap(names, [None] * count if flips is None else flips, where),
        sigmas=_sigmas(values.get("kpt_oks_sigmas"), names, where),
        skeleton=_skeleton(values.get("skeleton") or (), names, first=0),
    )


def _keypoint_category(categories: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for category in categories:
        if isinstance(category, Mapping) and category.get("keypoints"):
            return category
    raise ValueError("none of the categories lists keypoints")


def _swap(names: tuple[str, ...], given: Sequence[str | int | None], where: str) -> tuple[int, ...]:
    """Mirror images as given by name or index; derived from left and right in the names where they are not."""
    swap = []
    for i, mirror in enumerate(given):
        if mirror is None:
            mirror = mirror_name(names[i])
            swap.append(names.index(mirror) if mirror in names else i)
        else:
            swap.append(_index(mirror, names, f"keypoint '{names[i]}': swap"))
    if None in given:
        pairs = ", ".join(f"{names[i]}-{names[j]}" for i, j in enumerate(swap) if i < j)
        log.info("%s: mirror images taken from the names: %s", where, pairs or "none, every keypoint is its own")
    return tuple(swap)


def _sigmas(given: Any, names: tuple[str, ...], where: str) -> tuple[float, ...]:
    """One sigma per keypoint: a list, one number for all, those of a known set with the same names, or the default."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        given = [given] * len(names)
    if given is not None and not _is_list(given):
        raise ValueError(f"sigmas: found {given!r}; expected numbers")
    if given is not None and None not in given:
        if len(given) != len(names):
            raise ValueError(f"{len(names)} keypoints but {len(given)} sigmas; give every keypoint a 'sigma'")
        try:
            return tuple(float(sigma) for sigma in given)
        except (TypeError, ValueError):
            raise ValueError(f"sigmas: found {given}; expected numbers") from None
    known = _known_sigmas(names)
    if known:
        log.info("%s: no sigmas given; the names are those of %s, so are the sigmas", where, known[0])
        return known[1]
    log.info("%s: no sigmas given; %g for each of the %d keypoints", where, DEFAULT_SIGMA, len(names))
    return (DEFAULT_SIGMA,) * len(names)


def _known_sigmas(names: tuple[str, ...]) -> tuple[str, tuple[float, ...]] | None:
    """Sigmas of the set in data/ that has exactly these names and says its own."""
    for path in sorted((ROOT / "data").glob("*.yaml")):
        entries = [entry for entry in read_yaml(path).get("keypoints") or () if isinstance(entry, Mapping)]
        if tuple(entry.get("name") for entry in entries) == names and all("sigma" in entry for entry in entries):
            return path.name, tuple(float(entry["sigma"]) for entry in entries)
    return None


def _skeleton(bones: Sequence[Any], names: tuple[str, ...], first: int) -> tuple[tuple[int, int], ...]:
    """Bones as pairs of names, or of indices that count from `first`."""
    pairs = []
    for bone in _as_list(bones, "skeleton"):
        if not _is_list(bone) or len(bone) != 2:
            raise ValueError(f"skeleton: found {bone}; expected pairs of keypoints")
        ends = [end - first if type(end) is int else _index(end, names, "skeleton: keypoint") for end in bone]
        if not all(0 <= end < len(names) for end in ends):
            raise ValueError(f"skeleton: bone {list(bone)} found; indices go from {first} to {len(names) - 1 + first}")
        pairs.append((ends[0], ends[1]))
    return tuple(pairs)


def _index(name: str | int, names: tuple[str, ...], what: str) -> int:
    if isinstance(name, int) and not isinstance(name, bool):
        return name
    if name not in names:
        raise ValueError(f"{what} '{name}' is not one of {', '.join(names)}")
    return names.index(name)


def _is_list(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str)


def _as_list(values: Any, what: str) -> Sequence[Any]:
    if not _is_list(values):
        raise ValueError(f"{what}: found {values!r}; expected a list")
    return values


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path}: not valid JSON: {error}") from None
