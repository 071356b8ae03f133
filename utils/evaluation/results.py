"""Results: everybody that was found in a split, in packed arrays, and the files that hold them."""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.core.console import log
from utils.core.files import write_text
from utils.core.geometry import box_areas, xyxy_to_cxcywh, xyxy_to_xywh
from utils.core.nms import Rivals
from utils.core.poses import Origin, Poses

POINT_DECIMALS, SCORE_DECIMALS = 3, 6  # in results files; what is evaluated is what is written


@dataclass(frozen=True)
class Looked:
    """The poses that one sample gave: a whole image, or the crop of one person."""

    origin: Origin
    poses: Poses  # numpy, in pixels of the original image
    whole: bool  # a whole image, not the crop of one person

    @property
    def key(self) -> tuple[int, bytes]:
        """The image, and which part of it: equal when a sampler hands out the same sample twice."""
        return _whole_number(self.origin), b"" if self.whole else self.origin.to_input.tobytes()


@dataclass(frozen=True)
class Results:
    """Everybody that was found, flat; per image in the order in which the model gave them."""

    images: tuple[Origin, ...]  # all that were looked at, those with nobody on them too
    image_ids: np.ndarray  # (N) int64
    categories: np.ndarray  # (N) int64
    boxes: np.ndarray  # (N, 4) float32
    keypoints: np.ndarray  # (N, K, 2) float32
    keypoint_scores: np.ndarray  # (N, K) float32
    scores: np.ndarray  # (N) float32
    # Of how many people a keypoint object took the place of each keypoint (K); empty in families without such objects.
    fused: tuple[int, ...] = ()
    whole: bool = True  # of whole images: boxes are what was found, not the crops that were looked at

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: np.ndarray) -> "Results":
        """Some of the people; the images stay."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in PERSON_FIELDS})

    @classmethod
    def of(cls, looked: Iterable[Looked], category_ids: Sequence[int], keypoint_count: int) -> "Results":
        """Pack what all samples gave: every sample once, and in an order that no number of processes changes."""
        unique = {sample.key: sample for sample in looked}
        ordered = [unique[key] for key in sorted(unique)]
        poses = [sample.poses for sample in ordered]
        counts = [len(entry) for entry in poses]
        # A detector's score of the box that a crop was cut from; 1 for whole images.
        factors = np.repeat([sample.origin.box_score for sample in ordered], counts).astype(np.float32)
        classes = _together(poses, "classes", (), np.int64)
        if classes.max(initial=-1) >= len(category_ids):
            raise ValueError(
                f"class {classes.max()} found; expected 0 to {len(category_ids) - 1}, those with keypoints"
            )
        return cls(
            images=tuple({sample.key[0]: sample.origin for sample in ordered}.values()),
            image_ids=np.repeat(np.array([sample.key[0] for sample in ordered], np.int64), counts),
            categories=np.asarray(category_ids, np.int64)[classes],
            boxes=_together(poses, "boxes", (4,), np.float32),
            keypoints=_together(poses, "keypoints", (keypoint_count, 2), np.float32),
            keypoint_scores=_together(poses, "keypoint_scores", (keypoint_count,), np.float32),
            scores=(_together(poses, "scores", (), np.float32) * factors).round(SCORE_DECIMALS),
            whole=all(sample.whole for sample in ordered),
            fused=tuple(int(n) for n in np.sum([p.fused.sum(0) for p in poses if p.fused is not None], 0).ravel()),
        )

    @classmethod
    def of_coco(cls, rows: Sequence[Mapping[str, Any]], keypoint_count: int, where: str = "results") -> "Results":
        """From the rows of a COCO results file; boxes are drawn around the keypoints."""
        flat = [row.get("keypoints") for row in rows]
        wrong = next((i for i, points in enumerate(flat) if len(points or ()) != 3 * keypoint_count), None)
        if wrong is not None:
            found = len(flat[wrong] or ())
            raise ValueError(f"{where}: row {wrong}: {found} numbers in 'keypoints'; expected {3 * keypoint_count}")
        points = np.array(flat, np.float64).reshape(len(rows), keypoint_count, 3)
        return cls(
            images=(),
            image_ids=np.array([row["image_id"] for row in rows], np.int64),
            categories=np.array([row["category_id"] for row in rows], np.int64),
            boxes=np.concatenate((points[..., :2].min(1), points[..., :2].max(1)), -1),
            keypoints=points[..., :2],
            keypoint_scores=points[..., 2],
            scores=np.array([row["score"] for row in rows], np.float64),
        )

    def fused_line(self, names: Sequence[str]) -> str:
        """How often each keypoint was replaced by a keypoint object."""
        return ", ".join(f"{name} {count}" for name, count in zip(names, self.fused, strict=False))

    def usable(self) -> "Results":
        """Without people whose numbers are not finite; a network that has diverged proposes such."""
        finite = np.isfinite(self.keypoints).all((1, 2)) & np.isfinite(self.scores) & np.isfinite(self.boxes).all(1)
        if not finite.all():
            log.warning(
                "%d of %d people left out: their coordinates or scores are not finite", (~finite).sum(), len(self)
            )
        return self[finite]

    def best(self, limit: int) -> "Results":
        """The best people of every image and category, as many as evaluations look at."""
        order = np.lexsort((-self.scores, self.categories, self.image_ids))  # stable: ties stay in order
        group = np.stack((self.image_ids[order], self.categories[order]))
        first = np.flatnonzero(np.r_[True, (group[:, 1:] != group[:, :-1]).any(0)]) if len(self) else order
        position = np.arange(len(self)) - np.repeat(first, np.diff(np.r_[first, len(self)]))
        return self[np.sort(order[position < limit])]

    def without_rivals(self, sigmas: Sequence[float], rivals: Rivals) -> "Results":
        """For person crops: of poses of one image that are alike, those that stay."""
        order = np.argsort(self.image_ids, kind="stable")
        kept = []
        for chosen in np.split(order, np.flatnonzero(np.diff(self.image_ids[order])) + 1):
            survivors = rivals.survivors(
                torch.from_numpy(self.keypoints[chosen]),
                torch.from_numpy(self.scores[chosen]),
                torch.from_numpy(np.asarray(box_areas(self.boxes[chosen]))),
                torch.tensor(sigmas),
            )
            kept.append(chosen[survivors.numpy()])
        return self[np.concatenate(kept)]

    def of_image(self, image_id: int) -> Poses:
        """The people of one image, best first."""
        own = self[np.flatnonzero(self.image_ids == image_id)]
        own = own[np.argsort(-own.scores, kind="stable")]
        none = np.zeros(len(own), np.int64)
        return Poses(own.boxes, own.scores, none, own.keypoints, own.keypoint_scores)

    def to_coco(self) -> list[dict[str, Any]]:
        """Rows in the official form of keypoint submissions.

        Without boxes: given one, the official tool judges a person's size by it and not by the keypoints' extent.
        """
        points = np.concatenate((self.keypoints, self.keypoint_scores[..., None]), -1).astype(np.float64)  # (N, K, 3)
        points = points.reshape(len(self), 3 * points.shape[1]).round(POINT_DECIMALS)
        scores = self.scores.astype(np.float64).round(SCORE_DECIMALS)
        with _no_garbage():
            columns = zip(
                self.image_ids.tolist(), self.categories.tolist(), points.tolist(), scores.tolist(), strict=True
            )
            return [
                {"image_id": image_id, "category_id": category, "keypoints": flat, "score": score}
                for image_id, category, flat, score in columns
            ]

    def save_files(self, folder: str | Path, task: str) -> None:
        """The results file of a split; of whole images also their boxes, which models of single persons can start from.

        In a file of their own: with boxes in the results, the official tool would judge sizes by them.
        """
        self.save_json(Path(folder) / f"poses_{task}.json")
        if self.whole:
            rows = zip(self.image_ids, self.categories, xyxy_to_xywh(self.boxes), self.scores, strict=True)
            found = [
                {"image_id": int(image_id), "category_id": int(category), "bbox": box, "score": float(score)}
                for image_id, category, sides, score in rows
                if min((box := [round(float(side), POINT_DECIMALS) for side in sides])[2:]) > 0
            ]
            (Path(folder) / f"boxes_{task}.json").write_text(json.dumps(found), encoding="utf-8")

    def save_json(self, path: str | Path) -> None:
        """A COCO results file, as evaluation servers take it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(self.to_coco()))

    def save_txt(self, folder: str | Path, category_ids: Sequence[int]) -> None:
        """One YOLO text file for every image, an empty one where nobody was found.

        Rows are class, box centre and size, x, y and score of every keypoint, and the person's score, in shares of the
        image's width and height.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        classes = {category: kind for kind, category in enumerate(category_ids)}
        order = np.argsort(self.image_ids, kind="stable")
        ids = self.image_ids[order]
        for origin in self.images:
            first, last = np.searchsorted(ids, (_whole_number(origin), _whole_number(origin) + 1))
            people = self[order[first:last]]
            rows = [
                f"{classes[int(kind)]} {row}"
                for kind, row in zip(people.categories, _rows(people, origin), strict=True)
            ]
            text = "".join(f"{row}\n" for row in rows)
            write_text(folder / f"{Path(origin.path).stem}.txt", text)


PERSON_FIELDS = tuple(field.name for field in fields(Results) if field.name not in ("images", "fused", "whole"))


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Nobody looks for garbage meanwhile: among millions of new numbers that takes longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _whole_number(origin: Origin) -> int:
    try:
        return int(origin.image_id)
    except ValueError:
        raise ValueError(f"{origin.path}: image id '{origin.image_id}' found; expected a whole number") from None


def _together(poses: Sequence[Poses], name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
    if not poses:
        return np.zeros((0, *shape), kind)
    return np.concatenate([np.asarray(getattr(entry, name), kind) for entry in poses]).reshape(-1, *shape)


def _rows(people: Results, origin: Origin) -> Iterable[str]:
    height, width = origin.size
    share = np.array([width, height], np.float64)
    boxes = xyxy_to_cxcywh(people.boxes.astype(np.float64)) / np.tile(share, 2)  # (N, 4)
    points = np.concatenate((people.keypoints / share, people.keypoint_scores[..., None]), -1)  # (N, K, 3)
    values = np.concatenate((boxes, points.reshape(len(people), 3 * points.shape[1]), people.scores[:, None]), -1)
    return (" ".join(f"{value:.6g}" for value in row) for row in values)
