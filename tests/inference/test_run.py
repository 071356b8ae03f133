"""A whole run with a model that is a function: everything is looked at once, in order, in bounded memory."""

import gc
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.inference.media.makers import number_of, numbered, write_video
from utils.core import images
from utils.core.geometry import translation
from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.draw import draw_poses
from utils.inference.following import Following
from utils.inference.media.frames import Frame
from utils.inference.media.sources import Source
from utils.inference.outputs import CocoResults, Pictures, Table
from utils.inference.run import Delivery, only_classes, process

ONE = KeypointSchema(("ball",), (0,), (0.05,))


def one_person_each(pictures: Sequence[np.ndarray]) -> list[Poses]:
    """A person whose score is the number that the picture shows."""
    return [
        Poses(
            boxes=np.array([[4, 4, 20, 30]], np.float32),
            scores=np.array([number_of(picture) / 100], np.float32),
            classes=np.array([number_of(picture) % 2]),
            keypoints=np.array([[[10, 10]]], np.float32),
            keypoint_scores=np.ones((1, 1), np.float32),
        )
        for picture in pictures
    ]


class Remembers:
    """An output that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Frame, Poses, np.ndarray | None]] = []
        self.closed = 0

    def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
        self.told.append((frame, poses, drawn))

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_frame_is_told_once_in_order_with_its_own_people(tmp_path: Path, batch_size: int) -> None:
    write_video(tmp_path / "a.mp4", 10)
    images.write(tmp_path / "b.png", numbered(13))
    heard = Remembers()
    tally = process(Source(str(tmp_path)), one_person_each, Delivery([heard], None), batch_size=batch_size)
    scores = [round(100 * float(poses.scores[0])) for _, poses, _ in heard.told]
    assert scores == [*range(10), 13] == [number_of(frame.image) for frame, _, _ in heard.told]
    assert (tally.frames, tally.people, heard.closed) == (11, 11, 1)
    assert "11 people on 11 frames" in tally.line and "without decoding" in tally.line


def test_people_can_be_changed_on_their_way(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 6)
    heard = Remembers()
    alter = [only_classes([1], ("person", "dog"))]
    tally = process(Source(str(tmp_path)), one_person_each, Delivery([heard], None), alter=alter)
    assert [len(poses) for _, poses, _ in heard.told] == [0, 1, 0, 1, 0, 1] and tally.people == 3
    with pytest.raises(ValueError, match=r"--classes 2: this model knows 0 to 1 \(person, dog\)"):
        only_classes([2], ("person", "dog"))


def test_everybody_keeps_an_id_within_a_clip_and_the_next_clip_begins_anew(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, 6)
    images.write(tmp_path / "c.png", numbered(3))

    def walking(pictures: Sequence[np.ndarray]) -> list[Poses]:
        steps = [translation(number_of(picture), 0) for picture in pictures]
        [person] = one_person_each([numbered(29)])
        sure = replace(person, scores=np.ones(1, np.float32), classes=np.zeros(1, int))
        return [sure.moved(step) for step in steps]

    heard = Remembers()
    process(Source(str(tmp_path)), walking, Delivery([heard], None), alter=[Following(ONE, smooth=True)])
    ids = [None if poses.ids is None else poses.ids.tolist() for _, poses, _ in heard.told]
    assert ids == [[1]] * 12 + [None]
    across = [float(poses.keypoints[0, 0, 0]) for _, poses, _ in heard.told[:6]]
    assert across == sorted(across)


def test_a_disk_that_is_full_ends_the_run_and_closes_what_is_open(tmp_path: Path) -> None:
    class Full(Remembers):
        def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
            raise OSError("No space left on device")

    write_video(tmp_path / "a.mp4", 40)
    full = Full()
    with pytest.raises(OSError, match="No space left"):
        process(Source(str(tmp_path)), one_person_each, Delivery([full], None))
    assert full.closed == 1


def test_reading_looking_and_writing_happen_side_by_side(tmp_path: Path) -> None:
    """Each of the three takes 10 ms for a frame; one after another would be 30."""
    write_video(tmp_path / "a.mp4", 40)

    class Slow(Source):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                time.sleep(0.01)
                yield frame

    class SlowOutput(Remembers):
        def add(self, frame: Frame, poses: Poses, drawn: np.ndarray | None) -> None:
            time.sleep(0.01)

    def slow_model(pictures: Sequence[np.ndarray]) -> list[Poses]:
        time.sleep(0.01)
        return one_person_each(pictures)

    tally = process(Slow(str(tmp_path)), slow_model, Delivery([SlowOutput()], None))
    apart = tally.decoding_seconds + tally.model_seconds + tally.writing_seconds
    assert tally.frames == 40 and tally.seconds < 0.7 * apart


@pytest.mark.slow
def test_ten_thousand_frames_leave_the_memory_flat(tmp_path: Path) -> None:
    """Resident memory after the second thousand and after the tenth, everything being written."""
    film = write_video(tmp_path / "long.mp4", 10_000, size=(96, 128), fps=100)
    out = tmp_path / "out"
    out.mkdir()
    outputs = [Pictures(out), CocoResults(out / "results.json"), Table(out / "results.csv", ONE, ("a", "b"))]
    resident: list[float] = []

    def watched(pictures: Sequence[np.ndarray]) -> list[Poses]:
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
        return one_person_each(pictures)

    gc.collect()
    delivery = Delivery(outputs, lambda image, poses: draw_poses(image, poses, ONE))
    tally = process(Source(str(film)), watched, delivery)
    print(f"resident after 2,000 frames {resident[2000]:.1f} MiB, after 10,000 {resident[-1]:.1f} MiB; {tally.line}")
    assert tally.frames == 10_000 and resident[-1] - resident[2000] < 5
