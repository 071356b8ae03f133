"""A run over a source: frames are read ahead, looked at in batches, and drawn and written behind."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.console import log, progress
from utils.core.files import write_text
from utils.core.poses import Poses
from utils.inference.media.frames import Faults, Frame
from utils.inference.media.sources import Source
from utils.inference.media.stages import Ahead, Behind
from utils.inference.media.window import Window
from utils.inference.outputs import Output

Predict = Callable[[Sequence[Any]], list[Poses]]  # RGB images in, their people out
Alter = Callable[[Frame, Poses], Poses]
Draw = Callable[[np.ndarray, Poses], np.ndarray]
EVERY = 5.0  # seconds between two lines about a video, where there is no terminal for a progress bar


@dataclass
class Tally:
    """What a run has done and where its time went."""

    frames: int = 0
    people: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    decoding_seconds: float = 0.0
    writing_seconds: float = 0.0
    dropped: int = 0  # live pictures that came while the model was busy
    faults: Faults = field(default_factory=Faults)  # what could not be read

    @property
    def lines(self) -> str:
        """What a person is told at the end."""
        return self.line + (f"\nskipped: {self.faults}" if self.faults else "")

    def write(self, path: Path) -> None:
        """The same for programs: counts, and every file that was skipped with the reason."""
        counts = {"frames": self.frames, "people": self.people, "seconds": round(self.seconds, 3)}
        left_out = {"files": self.faults.files, "frames": self.faults.frames, "reasons": self.faults.reasons}
        values = {**counts, "dropped_live_frames": self.dropped, "skipped": left_out}
        write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    @property
    def line(self) -> str:
        if not self.frames:
            return "no frame was looked at"
        whole, model = self.frames / max(self.seconds, 1e-9), self.frames / max(self.model_seconds, 1e-9)
        shares = f"decoding {1000 * self.decoding_seconds / self.frames:.1f}, model {1000 / model:.1f}"
        shares += f", drawing and writing {1000 * self.writing_seconds / self.frames:.1f} ms per frame, side by side"
        late = f"; {self.dropped} live frames came too fast and were left out" if self.dropped else ""
        return (
            f"{self.people} people on {self.frames} frame{'s' * (self.frames != 1)} in {self.seconds:.1f} s: "
            f"{whole:.1f} FPS, {model:.1f} without decoding, drawing and writing ({shares}){late}"
        )


class Delivery:
    """Draws each frame if anybody wants to see it, and tells every output."""

    def __init__(self, outputs: Sequence[Output], draw: Draw | None) -> None:
        self.outputs, self.draw = outputs, draw
        self.latest: np.ndarray | None = None  # for a window, which only the main thread may touch

    def __call__(self, found: tuple[Frame, Poses]) -> None:
        frame, poses = found
        drawn = self.draw(frame.image, poses) if self.draw else None
        for output in self.outputs:
            output.add(frame, poses, drawn)
        self.latest = drawn

    def close(self) -> None:
        for output in self.outputs:
            output.close()


def process(
    source: Source,
    predict: Predict,
    delivery: Delivery,
    *,
    batch_size: int = 1,
    alter: Sequence[Alter] = (),
    window: Window | None = None,
) -> Tally:
    """Look at every frame of a source; three threads share the work, each at most a few frames apart."""
    tally, batch_size = Tally(faults=source.faults), 1 if source.is_live else batch_size
    room = max(4, 2 * batch_size)
    start = time.perf_counter()
    teller = _Teller(source.total, tally, start)
    with (
        closing(delivery),
        Ahead(source, room, newest=source.is_live) as ahead,
        Behind(delivery, room) as behind,
        closing(source),
    ):
        for batch in batches(teller.watch(ahead), batch_size):
            before = time.perf_counter()
            found = predict([frame.image for frame in batch])
            tally.model_seconds += time.perf_counter() - before
            for frame, poses in zip(batch, found, strict=True):
                for change in alter:
                    poses = change(frame, poses)
                tally.frames += 1
                tally.people += len(poses)
                teller.tell(frame, len(poses))
                behind.put((frame, poses))
            if window is not None and delivery.latest is not None and not window.show(delivery.latest):
                log.info("stopped by a key")
                break
    tally.seconds = time.perf_counter() - start
    tally.decoding_seconds, tally.writing_seconds, tally.dropped = ahead.seconds, behind.seconds, ahead.dropped
    return tally


def only_classes(wanted: Sequence[int], known: Sequence[str]) -> Alter:
    """Keep the people of some classes, by number."""
    strange = [number for number in wanted if not 0 <= number < len(known)]
    if strange:
        raise ValueError(f"--classes {strange[0]}: this model knows 0 to {len(known) - 1} ({', '.join(known[:10])})")
    return lambda _, poses: poses[np.isin(poses.classes, wanted)]


def batches(items: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """So many frames at a time; the last batch may be smaller."""
    batch: list[Frame] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Teller:
    """What is on the screen meanwhile: a progress bar, or lines where stderr is no terminal."""

    def __init__(self, total: int | None, tally: Tally, start: float) -> None:
        self.total, self.tally, self.start = total, tally, start
        self._people, self._told = 0, start
        self._in_lines = not sys.stderr.isatty()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        return progress(frames, "looking", self.total, note=self._note)

    def _note(self) -> str:
        rate = self.tally.frames / max(time.perf_counter() - self.start, 1e-9)
        return f"{self._people} people, {rate:.1f} FPS"

    def tell(self, frame: Frame, people: int) -> None:
        """A line for every picture, and now and then one about a video."""
        self._people = people
        now = time.perf_counter()
        if self._in_lines and (frame.clip.kind == "image" or now - self._told > EVERY):
            self._told = now
            part = f"frame {frame.index + 1}, " if frame.clip.kind != "image" else ""
            of = f" of {self.total}" if self.total else ""
            log.info("%d%s %s: %s%d people", self.tally.frames, of, frame.clip.name, part, people)
