"""StopSignal: a polite end. What is asked for by SIGTERM or Ctrl-C happens after the current step."""

import signal
import threading
from types import FrameType, TracebackType

from utils.core.console import log

NAMES = ("SIGTERM", "SIGINT")


class StopSignal:
    """While it is entered, a first signal only leaves a mark; a second Ctrl-C ends the program at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for name in NAMES:
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        log.warning("%s: stopping after this step, with a checkpoint", self.received)
