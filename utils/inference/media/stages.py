"""Stages of a pipeline: a thread that reads ahead, a thread that works behind; neither runs far from the middle."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
PATIENCE = 0.1  # seconds between two looks at whether to stop


class _End:
    """The last thing in a queue, with the exception that ended it early, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Ahead(Generic[Item]):
    """The items of an iterable, made in a thread, at most `room` of them waiting.

    With `newest` nobody waits for room: the oldest waiting item is dropped, as a live picture wants it.
    """

    def __init__(self, items: Iterable[Item], room: int = 8, *, newest: bool = False) -> None:
        self.seconds = 0.0  # spent making items
        self.dropped = 0
        self._newest = newest
        self._waiting: queue.Queue[Item | _End] = queue.Queue(room)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self._waiting.get()
            if isinstance(item, _End):
                self._waiting.put(item)  # whoever asks again is told again
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """Stop making items; the thread ends after the one that it is at."""
        self._stop.set()
        self._thread.join(timeout=10)

    def __enter__(self) -> "Ahead[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, items: Iterable[Item]) -> None:
        end = _End()
        try:
            maker = iter(items)
            while not self._stop.is_set():
                start = time.perf_counter()
                try:
                    item = next(maker)
                except StopIteration:
                    break
                self.seconds += time.perf_counter() - start
                self._put(item)
        except BaseException as error:  # handed to whoever waits for the items
            end = _End(error)
        self._put(end)

    def _put(self, item: "Item | _End") -> None:
        while not self._stop.is_set():
            try:
                self._waiting.put(item, timeout=0 if self._newest else PATIENCE)
                return
            except queue.Full:
                if self._newest:
                    self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            self._waiting.get_nowait()
            self.dropped += 1
        except queue.Empty:  # somebody took it in the meantime
            pass


class Behind(Generic[Item]):
    """Work on items in a thread, in order, at most `room` of them waiting; what fails there is raised here."""

    def __init__(self, work: Callable[[Item], None], room: int = 8) -> None:
        self.seconds = 0.0  # spent working
        self._work = work
        self._waiting: queue.Queue[Item | _End] = queue.Queue(room)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def __enter__(self) -> "Behind[Item]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is done: what was found before an interruption is kept too."""
        self._waiting.put(_End())
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is None:  # after a failure the rest is only taken away, so that nobody waits for room
                start = time.perf_counter()
                try:
                    self._work(item)
                except BaseException as error:  # raised again where the items come from
                    self._error = error
                self.seconds += time.perf_counter() - start
