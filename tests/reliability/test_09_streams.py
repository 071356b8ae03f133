"""9, streams: a camera that dies for five seconds, three times; threads and memory over many connections and frames."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inference.media.makers import Camera
from utils.inference.media.sources import Source
from utils.inference.media.stages import Ahead

pytestmark = pytest.mark.slow
AWAY, TIMES, CYCLES = 5.0, 3, 50


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera(pause=0.005).plug_in()
    yield camera
    camera.unplug()


def native_threads() -> int:
    """Of the system, so OpenCV's and ffmpeg's too."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


def resident() -> float:
    """Memory of this process in MB."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("needs Linux to know its memory")
    return int(pages.read_text().split()[1]) * 4096 / 1e6


def test_a_camera_that_dies_for_five_seconds_is_back_within_two(camera: Camera) -> None:
    source = Source(camera.address)
    frames = iter(source)
    last = -1
    for frame in itertools.islice(frames, 20):
        last = frame.index
    delays = []
    for _ in range(TIMES):
        camera.unplug()
        returned: list[float] = []
        sent = camera.sent

        def return_(back: list[float] = returned) -> None:
            camera.plug_in()
            back.append(time.monotonic())

        threading.Timer(AWAY, return_).start()
        for frame in frames:  # what was on its way, then nothing, then again
            assert frame.index == last + 1
            last = frame.index
            if camera.sent > sent + 3 and returned:
                break
        delays.append(time.monotonic() - returned[0])
        for frame in itertools.islice(frames, 10):
            last = frame.index
    source.close()
    print(f"{TIMES} times away for {AWAY:g} s; a picture again after {', '.join(f'{d:.2f}' for d in delays)} s")
    assert max(delays) < 2.0


def test_no_thread_is_left_over_after_fifty_connections(camera: Camera) -> None:
    counts = []
    for _ in range(CYCLES):
        source = Source(camera.address)
        with Ahead(source, 2, newest=True) as frames:
            next(iter(frames))
            source.close()
        counts.append((threading.active_count(), native_threads()))
    time.sleep(1)
    end = (threading.active_count(), native_threads())
    print(f"{CYCLES} connections; threads after the first {counts[0]}, the last {counts[-1]}, a second later {end}")
    assert end[0] <= counts[0][0] and end[1] <= counts[0][1]


def test_memory_does_not_grow_with_the_frames(camera: Camera) -> None:
    camera.pause = 0.0
    source = Source(camera.address)
    taken = {}
    with Ahead(source, 4, newest=False) as frames:
        for number, _ in enumerate(frames, 1):
            if number % 1000 == 0:
                taken[number] = resident()
            if number == 5000:
                break
        source.close()
    drift = (taken[5000] - taken[1000]) / 4
    print(f"resident {', '.join(f'{memory:.1f} MB after {number}' for number, memory in taken.items())}; "
          f"{drift:.2f} MB per 1,000 frames")  # fmt: skip
    assert drift < 5


def test_what_a_slow_model_misses_is_counted(camera: Camera) -> None:
    source = Source(camera.address)
    seen = []
    with Ahead(source, 2, newest=True) as frames:
        for frame in frames:
            seen.append(frame.index)
            time.sleep(0.1)
            if len(seen) == 20:
                break
        source.close()
    missed = seen[-1] + 1 - len(seen)
    print(f"{len(seen)} of {seen[-1] + 1} frames were looked at, {frames.dropped} counted as dropped")
    assert frames.dropped >= missed > 0  # some more may have come while it ended
