"""A file comes whole or not at all, however bad the line; tests/data/test_download.py unpacks archives of it."""

import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.server import Server
from utils.core.download import digest, fetch


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(bytes(range(256)) * 40)
    yield made
    made.close()


def get(server: Server, folder: Path, **more: object) -> Path:
    fetch(server.url, folder / "file", tries=3, pause=0, **more)
    return folder / "file"


def test_a_file_that_changes_while_it_is_fetched_is_fetched_anew(server: Server, tmp_path: Path):
    server.etag = '"new"'
    (tmp_path / "file.part").write_bytes(b"old" * 500)
    (tmp_path / "file.part.etag").write_text('"older"')
    assert get(server, tmp_path).read_bytes() == server.data
    assert server.asked == ["bytes=1500-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_part_of_the_same_version_is_gone_on_with(server: Server, tmp_path: Path):
    server.etag, server.cut = '"one"', 3000
    assert get(server, tmp_path).read_bytes() == server.data
    assert server.asked == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]


def test_an_answer_that_begins_elsewhere_is_not_appended(server: Server, tmp_path: Path):
    (tmp_path / "file.part").write_bytes(b"x" * 100)
    server.shift = 7
    assert get(server, tmp_path).read_bytes() == server.data
    assert server.asked == ["bytes=100-", None]


def test_what_is_wrong_with_a_file_is_found_before_it_has_its_name(server: Server, tmp_path: Path):
    def refuse(part: Path) -> None:
        assert part.read_bytes() == server.data
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        get(server, tmp_path, verify=refuse)
    assert not (tmp_path / "file").exists()


def test_an_answer_in_pieces_that_breaks_is_not_taken_for_the_whole(server: Server, tmp_path: Path):
    server.in_pieces, server.cut = True, 4000
    with pytest.raises(ValueError, match="the connection ended early, 3 times"):
        get(server, tmp_path)
    server.cut = len(server.data)
    (tmp_path / "file.part").unlink()
    assert get(server, tmp_path).read_bytes() == server.data


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_no_broken_line(server: Server, tmp_path: Path):
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"file\.part: cannot be written \(No space left on device\)") as told:
        get(server, tmp_path)
    assert told.value.errno is None or told.value.errno == errno.ENOSPC
    assert len(server.asked) == 1


def test_a_file_larger_than_the_disk_is_not_begun(server: Server, tmp_path: Path):
    server.promised = 10**15
    with pytest.raises(OSError, match=r"1000000000\.0 MB are to come and [\d.]+ MB are free"):
        get(server, tmp_path)
    assert not (tmp_path / "file.part").exists()


def test_a_host_that_is_not_there_is_said_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(
        ValueError, match=r"this host is not found \(no internet .*, 2 times; put it at .*a\.pt by hand"
    ):
        fetch("http://nowhere.invalid/a.pt", tmp_path / "a.pt", tries=2, pause=0)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.pt"
        with pytest.raises(ValueError, match=r"no connection \(Connection refused\), 2 times"):
            fetch(url, tmp_path / "a.pt", tries=2, pause=0)


def test_a_bar_is_drawn_where_somebody_looks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    get(server, tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (tmp_path / "file.part").write_bytes(server.data[: len(server.data) // 2])
    server.cut = len(server.data) // 4
    get(server, tmp_path)
    shown = capsys.readouterr().err
    assert "file: [###############.....] 75% of 0.0 MB" in shown
    assert "file: [####################] 100% of 0.0 MB\n" in shown


def test_digests_are_those_of_everybody(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
