"""Pictures of a run: batches with their labels, what was found on them, the people who were met worst and best."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from utils.core import images
from utils.core.console import is_main_process, log
from utils.core.poses import Batch, Poses, Targets
from utils.core.schema import KeypointSchema
from utils.evaluation.evaluator import Evaluation
from utils.inference.draw import Style, draw_poses, grid

BATCHES = 3  # of a validation that are drawn
MOST = 16  # pictures on a page
CERTAIN, CROWD = 0.25, 20  # score from which a person is drawn, and at most so many in a picture
SEEN, HIDDEN = 1.0, 0.5  # how strongly a labelled keypoint is drawn
LABELS, FOUND = Style(labels=True, scores=False), Style()


def labelled(targets: Targets, image: int) -> Poses:
    """The annotated persons of one image of a batch, as if they had been found."""
    own = targets.image_index == image
    visibility = targets.visibility[own].float().numpy()
    return Poses(
        boxes=targets.boxes[own].numpy(),
        scores=np.ones(int(own.sum()), np.float32),
        classes=targets.classes[own].numpy(),
        keypoints=targets.keypoints[own].numpy(),
        keypoint_scores=np.where(visibility == 2, SEEN, np.where(visibility == 1, HIDDEN, 0.0)),
    )


def save_labels(path: Path, batch: Batch, schema: KeypointSchema) -> None:
    """A batch as the network learns it, with its labels: train_batch0.jpg."""
    save_batch(path, batch, [labelled(batch.targets, image) for image in range(len(batch.images))], schema, LABELS)


def save_batch(path: Path, batch: Batch, people: Sequence[Poses], schema: KeypointSchema, style: Style) -> None:
    """The pictures of a batch side by side, people in its pixels drawn on them."""
    pixels = batch.images[:MOST].permute(0, 2, 3, 1).cpu().numpy()
    drawn = [draw_poses(np.ascontiguousarray(image), poses, schema, style)
             for image, poses in zip(pixels, people, strict=False)]  # fmt: skip
    images.write(path, grid(drawn, tile=_tile(drawn[0].shape)))


class Pictured:
    """A predict function that leaves pictures of its first batches: labels beside what was found."""

    def __init__(
        self, predict: Callable[[Batch], list[Poses]], folder: Path, schema: KeypointSchema, *, labels: bool = True
    ) -> None:
        self.labels = labels
        self.predict, self.folder, self.schema = predict, folder, schema
        self._drawn = 0

    def __call__(self, batch: Batch) -> list[Poses]:
        found = self.predict(batch)
        if self._drawn < BATCHES and is_main_process():
            seen = [poses.moved(origin.to_input) for poses, origin in zip(found, batch.origins, strict=True)]
            certain = [likely(poses) for poses in seen]
            if self.labels:
                save_labels(self.folder / f"val_batch{self._drawn}_labels.jpg", batch, self.schema)
            save_batch(self.folder / f"val_batch{self._drawn}_pred.jpg", batch, certain, self.schema, FOUND)
            self._drawn += 1
        return found


def likely(people: Poses) -> Poses:
    """Those who would be shown to a user."""
    return people[people.scores >= CERTAIN][:CROWD]


def save_people(path: Path, found: Evaluation, chosen: np.ndarray, schema: KeypointSchema) -> None:
    """Some images of an evaluation with the people who were found on them."""
    origins = {int(origin.image_id): origin for origin in found.results.images}
    drawn = []
    for image_id in chosen.tolist():
        if image_id not in origins:
            continue
        people = found.results.of_image(image_id)
        picture = images.read(origins[image_id].path)
        drawn.append(draw_poses(picture, likely(people), schema, FOUND))
    if drawn:
        images.write(path, grid(drawn, columns=2, tile=(480, 640)))
    else:
        log.info("%s: nobody is annotated with keypoints, no picture", path.name)


def _tile(shape: tuple[int, ...]) -> tuple[int, int]:
    """Small enough for a page of sixteen, large enough to see a wrist."""
    scale = min(1.0, 448 / max(shape[:2]))
    return round(shape[0] * scale), round(shape[1] * scale)
