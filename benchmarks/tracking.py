"""How well ids stay with their people: python -m benchmarks.tracking [--films 8] [--first 400]

Films of drawn people whose identities are known: they enter and leave, run and walk past each other, turn back, and
disappear behind a pillar for ten frames and more. A tracker is given what a detector would find: everybody who shows
enough, with a score that falls as less is to be seen. Then 20% of the finds are left out by chance, then what is left
trembles and somebody is seen who is not there. The same finds go to the tracker as it is, to one that reports nobody
who was missed, and to those that compare only poses or only boxes. IDF1 and switches of ids are
counted by utils/evaluation/identities.py.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from benchmarks.timing import machine
from utils.core.poses import Poses, person_areas
from utils.core.schema import KeypointSchema
from utils.data.film import FilmSettings, Frame, film
from utils.evaluation.identities import Identities, Sights, judge
from utils.inference.track import Tracker, TrackSettings

KEYPOINT_SCORES = np.array([0.1, 0.5, 0.9])  # outside, hidden, seen
SIZE = (180, 320)  # of the films
FIRST = 400  # number of the first film; the tracker's constants were chosen on those before
TRACKERS = {
    "keypoints and boxes": TrackSettings(),
    "the same, bridge=0": TrackSettings(bridge=0),
    "keypoints only": TrackSettings(keypoint_share=1.0),
    "boxes only": TrackSettings(keypoint_share=0.0),
}


@dataclass(frozen=True)
class Detector:
    """How well people are found."""

    missed: float = 0.0  # share of the sights
    tremble: float = 0.0  # standard deviation of keypoints and box corners, in person sizes
    ghosts: float = 0.0  # how many per frame are seen who are not there

    def find(self, frame: Frame, generator: np.random.Generator) -> Poses:
        """The people of a frame as a network would give them."""
        seen = generator.random(len(frame.ids)) >= self.missed
        boxes, keypoints = frame.boxes[seen].astype(float), frame.keypoints[seen]
        sizes = np.sqrt(person_areas(boxes))[:, None, None]
        found = Poses(
            boxes=boxes + self.tremble * generator.normal(size=boxes.shape) * sizes[:, 0],
            scores=0.25 + 0.7 * frame.shown[seen],
            classes=np.zeros(seen.sum(), np.int64),
            keypoints=keypoints + self.tremble * generator.normal(size=keypoints.shape) * sizes,
            keypoint_scores=KEYPOINT_SCORES[frame.visibility[seen]],
        )
        if len(found) and generator.random() < self.ghosts:
            found = joined(found, moved_elsewhere(found[0], generator))
        return found[np.argsort(-found.scores, kind="stable")]


def joined(first: Poses, second: Poses) -> Poses:
    names = ("boxes", "scores", "classes", "keypoints", "keypoint_scores")
    return Poses(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in names))


def moved_elsewhere(person: Poses, generator: np.random.Generator) -> Poses:
    """Somebody who is not there: a person of this frame in another place."""
    shift = generator.uniform(-200, 200, 2)
    return replace(
        person,
        boxes=person.boxes + np.tile(shift, 2),
        keypoints=person.keypoints + shift,
        scores=generator.uniform(0.3, 0.8, 1),
    )


DETECTORS = {
    "perfect": Detector(),
    "20% dropped": Detector(missed=0.2),
    "20% dropped, trembling, ghosts": Detector(missed=0.2, tremble=0.04, ghosts=0.1),
}


def sights_of(frame: Frame) -> Sights:
    return Sights(frame.ids, frame.keypoints, np.ones_like(frame.visibility), person_areas(frame.boxes))


def tracked(frames: Sequence[Poses], schema: KeypointSchema, settings: TrackSettings) -> list[Poses]:
    tracker = Tracker(schema, settings)
    return [tracker.update(poses) for poses in frames]


def measure(
    films: Sequence[Sequence[Frame]], detector: Detector, schema: KeypointSchema, settings: TrackSettings
) -> Identities:
    """All films together; the same films and detector give the same finds to every tracker."""
    parts = []
    for number, frames in enumerate(films):
        generator = np.random.default_rng(number)
        found = [detector.find(frame, generator) for frame in frames]
        truth = [sights_of(frame) for frame in frames]
        parts.append(judge(truth, tracked(found, schema, settings), schema.sigmas))
    return Identities.total(parts)


def hidden_for(films: Sequence[Sequence[Frame]]) -> list[int]:
    """For how many frames people are out of sight before they come back."""
    gaps = []
    for frames in films:
        for person in {int(i) for frame in frames for i in frame.ids}:
            seen = [number for number, frame in enumerate(frames) if person in frame.ids]
            gaps += [after - before - 1 for before, after in pairwise(seen) if after - before > 1]
    return gaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--frames", type=int, default=120, help="of each film")
    parser.add_argument("--people", type=int, default=5, help="in each film")
    parser.add_argument("--first", type=int, default=FIRST, help="number of the first film")
    args = parser.parse_args()
    schema = KeypointSchema.read("people.yaml")
    settings = FilmSettings(size=SIZE, frames=args.frames, people=args.people)
    films = [list(film(seed, settings)) for seed in range(args.first, args.first + args.films)]
    gaps = hidden_for(films)
    print(
        f"{args.films} films of {args.frames} frames, {args.people} people each; somebody disappears and comes back "
        f"{len(gaps)} times, {sum(gap >= 10 for gap in gaps)} times for 10 frames and more, at most for {max(gaps)}\n"
    )
    print(f"{'detections':<32}{'similarity':<22}{'IDF1':>7}{'switches':>10}")
    for name, detector in DETECTORS.items():
        for tracker, of_tracker in TRACKERS.items():
            found = measure(films, detector, schema, of_tracker)
            print(f"{name:<32}{tracker:<22}{found.idf1:>7.3f}{found.switches:>10}", flush=True)
    generator = np.random.default_rng(0)
    found = [Detector().find(frame, generator) for frames in films for frame in frames]
    start = time.perf_counter()
    tracked(found, schema, TrackSettings())
    people = sum(len(poses) for poses in found) / len(found)
    milliseconds = 1000 * (time.perf_counter() - start) / len(found)
    print(f"\n{milliseconds:.2f} ms per frame with {people:.1f} people; {machine()}")


if __name__ == "__main__":
    main()
