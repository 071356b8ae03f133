"""What a person sees while a command runs: plain lines on stderr, from one process."""

import io
import sys
from collections.abc import Iterator

import pytest

from utils.core.console import is_main_process, log, progress, start_logging


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate, log.level = before


def test_log_lines_are_plain_and_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    log.info("epoch %d  loss %.3f", 3, 0.5)
    log.debug("too much")
    assert capsys.readouterr() == ("", "epoch 3  loss 0.500\n")


def test_a_line_is_written_once_however_often_logging_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    start_logging()
    log.info("once")
    assert capsys.readouterr().err == "once\n"


def test_quiet_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(quiet=True)
    log.info("chatter")
    log.warning("something is wrong")
    assert capsys.readouterr().err == "something is wrong\n"


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID"])
def test_other_ranks_only_speak_up_when_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert not is_main_process()
    start_logging()
    log.info("chatter")
    log.warning("something is wrong")
    assert capsys.readouterr().err == "something is wrong\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("items", [[], [1, 2, 3]])
def test_progress_hands_on_every_item_and_is_silent_where_nobody_looks(
    items: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress(items, "training")) == items
    assert list(progress(iter(items), "training", total=3)) == items
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_on_a_terminal_by_the_first_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), "training")) == [0, 1, 2]
    assert "training" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("RANK", "1")
    assert list(progress(range(3), "training")) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""


def test_an_error_within_a_loop_reaches_its_caller() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the second image")

    with pytest.raises(ValueError, match="the second image"):
        list(progress(broken(), "reading"))
