"""Keypoint objects: the small square boxes around keypoints that a network learns to find beside the people."""

from collections.abc import Sequence
from dataclasses import fields

import torch

from utils.core.geometry import clip_boxes
from utils.core.poses import Targets


def with_keypoint_objects(
    people: Targets, size: tuple[int, int], *, sides: float | Sequence[float], first_class: int
) -> Targets:
    """Each person followed by an object for each of their labelled keypoints, hidden ones too.

    The boxes are squares around the keypoints, cut to the input of (height, width); `sides` is a share of its longer
    side, one for all keypoints or one for each. Keypoint k is of the class `first_class + k` and has no keypoints itself.
    """
    person, keypoint = (people.visibility > 0).nonzero(as_tuple=True)  # (M)
    centre = people.keypoints[person, keypoint].float()  # (M, 2)
    count = people.visibility.shape[1]
    shares = centre.new_tensor([sides] * count if isinstance(sides, float) else sides)  # (K)
    half = shares[keypoint, None] * max(size) / 2  # (M, 1)
    boxes = clip_boxes(torch.cat((centre - half, centre + half), 1), size)
    objects = Targets(
        image_index=people.image_index[person],
        boxes=boxes,
        keypoints=people.keypoints.new_zeros(len(person), count, 2),
        visibility=people.visibility.new_zeros(len(person), count),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(-1),
        classes=first_class + keypoint,
    )
    owners = torch.cat((torch.arange(len(people), device=person.device), person))
    order = owners.argsort(stable=True)  # as in published label files: where anchors are shared, the later row counts
    return Targets(*(torch.cat((getattr(people, f.name), getattr(objects, f.name)))[order] for f in fields(Targets)))
