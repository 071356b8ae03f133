"""TwoStage: any detector finds the people, a model of single persons looks at each of them."""

from collections.abc import Sequence

import numpy as np
import torch

from utils.core import images as pixels
from utils.core.contract import PoseModel
from utils.core.geometry import box_areas, crop_matrix, person_extent
from utils.core.nms import Rivals
from utils.core.poses import Batch, Origin, Poses, Targets
from utils.core.tta import View
from utils.inference.predictor import Image, OneStage, chunks


class TwoStage:
    """Images in, people out, as with OneStage: boxes are the detector's, keypoints the poser's.

    The people of all images that are opened together share their batches. A person's score is that of the box times
    that of the pose; which of two poses stay that are nearly the same is for the poser's rivals to say, or for these.
    """

    def __init__(
        self,
        detector: OneStage,
        poser: PoseModel,
        *,
        half: bool = False,
        views: Sequence[View] = (View(),),
        batch_size: int = 32,
        rivals: Rivals | None = None,
    ) -> None:
        self.person = _person_class(detector.model)
        if poser.spec.view != "person":
            raise ValueError(f"{poser.spec.family} looks at whole images; as pose model expected one of single persons")
        self.detector = detector
        self.poser = OneStage(poser, device=detector.device, half=half, views=views, batch_size=batch_size)
        self.sigmas = torch.tensor(poser.spec.schema.sigmas)  # (K)
        self.rivals = rivals or poser.rivals or Rivals()

    def __call__(self, images: Image | Sequence[Image]) -> list[Poses]:
        """The people of each image, best first, in numpy arrays and original pixels."""
        found: list[Poses] = []
        for chunk in chunks(images, self.detector.batch_size):
            detected = self.detector([image for _, image in chunk])
            found += self.poses_in(chunk, [self._persons(people) for people in detected])
        return found

    def poses_in(self, opened: Sequence[tuple[str, np.ndarray]], detected: Sequence[Poses]) -> list[Poses]:
        """The poses of the people whose boxes and scores are known, for each of some named images."""
        wanted = [(index, number) for index, people in enumerate(detected) for number in range(len(people))]
        poses: list[Poses] = []
        for start in range(0, len(wanted), self.poser.batch_size):
            part = wanted[start : start + self.poser.batch_size]
            poses += self.poser.poses_of(self.crops(opened, detected, part))
        counts = np.cumsum([0, *(len(people) for people in detected)])
        return [
            self._joined(people, poses[first:last])
            for people, first, last in zip(detected, counts[:-1], counts[1:], strict=True)
        ]

    def crops(
        self, opened: Sequence[tuple[str, np.ndarray]], detected: Sequence[Poses], wanted: Sequence[tuple[int, int]]
    ) -> Batch:
        """Some of the people, by image and number, as the pose network takes them."""
        size, model = self.poser.size, self.poser.model
        cut, origins = [], []
        for index, number in wanted:
            (name, image), people = opened[index], detected[index]
            extent = person_extent(people.boxes[number].astype(np.float64), size)
            matrix = crop_matrix(*extent, size, coding=model.coding)
            cut.append(pixels.crop(image, matrix, size))
            origins.append(Origin(index, name, image.shape[:2], matrix, box_score=float(people.scores[number])))
        return Batch(pixels.stack(cut), Targets.nobody(model.spec.schema.count), tuple(origins))

    def _persons(self, detected: Poses) -> Poses:
        """Those of the detector's findings that are people, and large enough to look at."""
        sides = detected.boxes[:, 2:] - detected.boxes[:, :2]
        return detected[(detected.classes == self.person) & (sides > 1).all(1)]

    def _joined(self, detected: Poses, poses: Sequence[Poses]) -> Poses:
        """One image's people with their poses; without those that another one resembles too much."""
        if not poses:
            return _nobody(len(self.sigmas))
        found = Poses(
            boxes=detected.boxes,
            scores=detected.scores * np.concatenate([pose.scores for pose in poses]),
            classes=np.concatenate([pose.classes for pose in poses]),
            keypoints=np.concatenate([pose.keypoints for pose in poses]),
            keypoint_scores=np.concatenate([pose.keypoint_scores for pose in poses]),
        )
        areas = box_areas(np.concatenate([pose.boxes for pose in poses]))  # of the crops, as published
        kept = self.rivals.survivors(
            torch.from_numpy(found.keypoints), torch.from_numpy(found.scores), torch.from_numpy(areas), self.sigmas
        )
        return found[kept.numpy()]


def _person_class(detector: PoseModel) -> int:
    """Which of a detector's classes is the person; with a single class there is no question."""
    if detector.spec.view != "image":
        raise ValueError(f"{detector.spec.family} looks at single persons; as detector expected one of whole images")
    names = [name.lower() for name in detector.spec.classes]
    if len(names) == 1:
        return 0
    if "person" not in names:
        raise ValueError(f"the detector knows {', '.join(names[:5])}, ...; expected a class 'person' among them")
    return names.index("person")


def _nobody(keypoints: int) -> Poses:
    return Poses(
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int64),
        keypoints=np.zeros((0, keypoints, 2), np.float32),
        keypoint_scores=np.zeros((0, keypoints), np.float32),
    )
