"""What users call a source."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.inference.media.makers import numbered, write_video
from utils.core import images
from utils.inference.media.sources import Source, is_live, items_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in (10, 2, 1):
        images.write(tmp_path / f"picture {index}.png", numbered(index))
    write_video(tmp_path / "film.MP4", 4)
    (tmp_path / "notes.txt").write_text("film.MP4\n# a comment\n\npicture 2.png\n")
    (tmp_path / "data.bin").write_bytes(b"?")
    (tmp_path / "looks like.jpg").mkdir()
    return tmp_path


def clips(where: str | Path) -> list[str]:
    """Names of what the frames of a source come from, each once."""
    return list(dict.fromkeys(Path(frame.clip.name).name for frame in Source(str(where))))


def test_a_folder_is_its_pictures_and_videos_in_the_order_that_people_count(folder: Path) -> None:
    assert clips(folder) == ["film.MP4", "picture 1.png", "picture 2.png", "picture 10.png"]
    assert Source(str(folder)).total is None


def test_a_pattern_is_what_it_matches(folder: Path) -> None:
    assert clips(folder / "pict*1*.png") == ["picture 1.png", "picture 10.png"]
    assert Source(str(folder / "*.png")).total == 3
    (folder / "deep" / "down").mkdir(parents=True)
    images.write(folder / "deep" / "down" / "x.png", numbered(1))
    assert "x.png" in clips(folder / "**" / "*.png")


def test_a_list_names_files_beside_it(folder: Path) -> None:
    assert clips(folder / "notes.txt") == ["film.MP4", "picture 2.png"]


def test_a_single_file_is_itself(folder: Path) -> None:
    assert clips(folder / "picture 2.png") == ["picture 2.png"]
    assert Source(str(folder / "film.MP4")).total == 4


def test_cameras_the_screen_and_addresses_without_a_file_are_live() -> None:
    assert all(is_live(item) for item in ("0", "screen", "screen 2", "rtsp://camera/1", "http://h:80/mjpg?fps=5"))
    assert not any(is_live(item) for item in ("http://h/a.jpg", "https://h/b.mp4?token=1", "film.mp4"))


@pytest.mark.parametrize(
    "content, told",
    [("", "the list is empty"), ("rtsp://me:pw@camera/1\n", "'rtsp://camera/1' never ends"), (None, "no such file")],
)
def test_lists_that_cannot_work_say_why(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    with pytest.raises(ValueError, match=told):
        items_of(str(tmp_path / "list.txt"))


def test_what_is_no_source_says_what_would_be(folder: Path) -> None:
    with pytest.raises(ValueError, match="neither a picture nor a video"):
        items_of(str(folder / "data.bin"))
    with pytest.raises(ValueError, match=r"did you mean '.*picture 2.png'"):
        items_of(str(folder / "pictur 2.png"))
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures and no videos"):
        items_of(str(folder / "empty"))
    with pytest.raises(ValueError, match="--vid-stride 0"):
        Source(str(folder), stride=0)


def test_an_entry_that_is_gone_is_named_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "list.txt").write_text("gone.jpg\npicture 1.png\ngone.mp4\n")
    source = Source(str(folder / "list.txt"))
    assert [Path(frame.clip.name).name for frame in source] == ["picture 1.png"]
    assert source.faults.files == 2


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_and_videos_are_fetched_from_their_addresses(server: str) -> None:
    [frame] = Source(f"{server}/picture%2010.png")
    assert (frame.image == numbered(10)).all() and frame.clip.stem == "picture%2010".replace("%", "_")
    assert len(list(Source(f"{server}/film.MP4"))) == 4


def test_an_address_without_the_picture_is_named(server: str) -> None:
    source = Source(f"{server}/nothing.jpg")
    assert list(source) == [] and source.faults.files == 1
