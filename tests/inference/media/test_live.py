"""Streams from a real server on this machine, which is cut off and comes back."""

import itertools
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from tests.inference.media.makers import Camera
from utils.inference.media import live
from utils.inference.media.sources import Source
from utils.inference.media.stages import Ahead


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera().plug_in()
    yield camera
    camera.unplug()


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("limber").propagate = True
    caplog.set_level(logging.INFO, logger="limber")


def test_a_stream_that_drops_is_found_again_and_told(camera: Camera, caplog: pytest.LogCaptureFixture) -> None:
    source = Source(camera.address)
    assert source.is_live and source.total is None
    frames = iter(source)
    first = list(itertools.islice(frames, 10))
    camera.unplug()
    threading.Timer(1.0, camera.plug_in).start()
    start = time.monotonic()
    after = list(itertools.islice(frames, 40))  # some are still on their way, then the connection is lost
    away = time.monotonic() - start
    assert [frame.index for frame in first + after] == list(range(50))
    assert len({frame.clip for frame in first + after}) == 1
    assert "connection lost after" in caplog.text and "back after" in caplog.text
    assert "secret" not in caplog.text and "somebody" not in caplog.text
    assert away < 1.0 + live.LONGEST_WAIT + 6
    source.close()
    assert list(frames) == []


def test_a_stream_that_never_comes_back_ends(camera: Camera, caplog: pytest.LogCaptureFixture) -> None:
    frames = live.stream(camera.address, threading.Event(), patience=0.5)
    assert next(frames).image.shape == (48, 64, 3)
    camera.unplug()
    rest = list(frames)
    camera.plug_in()
    assert len(rest) < 100 and "the stream ends here" in caplog.text


def test_closing_ends_a_stream_that_waits_for_its_connection_and_leaves_no_thread(camera: Camera) -> None:
    threads = threading.active_count()
    source = Source(camera.address)
    with Ahead(source, 2, newest=True) as frames:
        next(iter(frames))
        camera.unplug()
        time.sleep(0.5)
        source.close()
    camera.plug_in()
    time.sleep(0.3)
    assert threading.active_count() <= threads


def test_an_address_where_nobody_answers_is_a_clear_sentence(camera: Camera) -> None:
    camera.unplug()
    with pytest.raises(ValueError, match=r"http://127.0.0.1:\d+/live: no connection"):
        next(iter(Source(camera.address)))
    camera.plug_in()


def test_the_newest_picture_wins_when_the_model_is_slow(camera: Camera) -> None:
    source = Source(camera.address)
    with Ahead(source, 2, newest=True) as frames:
        indices = []
        for frame in frames:
            indices.append(frame.index)
            time.sleep(0.15)
            if len(indices) == 8:
                break
        source.close()
    assert frames.dropped > 10 and indices == sorted(indices) and indices[-1] > 20


def test_a_camera_that_is_not_there_is_a_clear_sentence() -> None:
    with pytest.raises(ValueError, match="webcam 97: there is no such camera"):
        next(iter(Source("97")))


def test_the_screen_is_refused_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ValueError, match=r"pip install mss|no screen here"):
        next(iter(Source("screen")))
