"""Downloads go on where they broke off, and nothing wrong is taken for the real thing."""

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.core.server import Server
from utils.core.config import ROOT

SCRIPTS = ROOT / "data" / "scripts"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


download = module("download")


def zipped(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return data.getvalue()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(zipped(val__a=b"picture" * 5000, val__b=b"other"))
    yield made
    made.close()


def archive(server: Server, **changes: object) -> "download.Archive":
    values = {"md5": hashlib.md5(server.data).hexdigest(), "unpack_into": ".", "contains": "val"} | changes
    return download.Archive(server.url, "file.zip", **values)


def obtain(server: Server, folder: Path, **changes: object) -> None:
    download.obtain(archive(server, **changes), folder, tries=3, pause=0)


def test_a_file_is_fetched_checked_unpacked_and_not_fetched_again(server: Server, tmp_path: Path):
    obtain(server, tmp_path)
    assert (tmp_path / "val/a").read_bytes() == b"picture" * 5000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val"]
    obtain(server, tmp_path)
    assert len(server.asked) == 1


def test_a_connection_that_breaks_every_few_bytes_still_brings_all_of_it(server: Server, tmp_path: Path):
    server.cut = 3000
    obtain(server, tmp_path)
    assert (tmp_path / "val/b").read_bytes() == b"other"
    assert server.asked[:3] == [None, "bytes=3000-", "bytes=6000-"]
    assert len(server.asked) == -(-len(server.data) // 3000)


def test_the_next_run_goes_on_with_the_part_of_the_last(server: Server, tmp_path: Path):
    (tmp_path / "file.zip.part").write_bytes(server.data[:1234])
    obtain(server, tmp_path)
    assert server.asked == ["bytes=1234-"]


def test_a_part_that_is_the_whole_file_is_taken(server: Server, tmp_path: Path):
    (tmp_path / "file.zip.part").write_bytes(server.data)
    obtain(server, tmp_path)
    assert (tmp_path / "val/a").exists()


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path):
    (tmp_path / "file.zip.part").write_bytes(server.data + b"more")
    obtain(server, tmp_path)
    assert server.asked == [f"bytes={len(server.data) + 4}-", None]


def test_a_server_that_cannot_resume_sends_all_of_it_again(server: Server, tmp_path: Path):
    server.resumes = False
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    obtain(server, tmp_path)
    assert (tmp_path / "val/a").read_bytes() == b"picture" * 5000


def test_a_dead_line_is_given_up_and_what_came_is_kept(server: Server, tmp_path: Path):
    (tmp_path / "file.zip.part").write_bytes(server.data[:50])
    server.cut = 0
    with pytest.raises(ValueError, match=r"3 times; what came is kept in .*file\.zip\.part"):
        obtain(server, tmp_path)
    assert (tmp_path / "file.zip.part").read_bytes() == server.data[:50]


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_gone_is_not_asked_for_again(server: Server, tmp_path: Path, status: int):
    server.status = status
    with pytest.raises(ValueError, match=rf"{status} .*; fetch it by hand and put it at .*file\.zip"):
        obtain(server, tmp_path)
    assert len(server.asked) == 1


def test_an_overloaded_server_is_asked_again(server: Server, tmp_path: Path):
    server.status = 503
    with pytest.raises(ValueError, match="503"):
        obtain(server, tmp_path)
    assert len(server.asked) == 3


def test_a_web_page_is_not_taken_for_the_file(server: Server, tmp_path: Path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="a web page came instead of the file"):
        obtain(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_with_the_wrong_checksum_is_set_aside(server: Server, tmp_path: Path):
    with pytest.raises(ValueError, match=r"file\.zip\.wrong: checksum \w+; expected 0000 as published"):
        obtain(server, tmp_path, md5="0000")
    assert [path.name for path in tmp_path.iterdir()] == ["file.zip.wrong"]


def test_without_a_published_checksum_later_downloads_must_equal_the_first(server: Server, tmp_path: Path):
    obtain(server, tmp_path, md5=None, unpack_into=None)
    noted = json.loads((tmp_path / download.LOCK).read_text())
    assert noted == {"file.zip": hashlib.sha256(server.data).hexdigest()}
    (tmp_path / "file.zip").unlink()
    obtain(server, tmp_path, md5=None, unpack_into=None)
    (tmp_path / "file.zip").unlink()
    server.data = server.data[:-1] + b"!"
    with pytest.raises(ValueError, match=r"as noted in .*downloads\.lock\.json"):
        obtain(server, tmp_path, md5=None, unpack_into=None)


def test_a_file_that_is_no_zip_says_what_to_do(server: Server, tmp_path: Path):
    server.data = b"not a zip"
    with pytest.raises(ValueError, match=r"not a usable zip file .*remove it and run the command again"):
        obtain(server, tmp_path)
    assert not (tmp_path / "val").exists()


def test_half_an_unpacked_archive_is_never_taken_for_the_whole(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(self: zipfile.ZipFile, path: Path) -> None:
        self.extract("val/a", path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            obtain(server, tmp_path)
    assert not (tmp_path / "val").exists()
    obtain(server, tmp_path)
    assert sorted(path.name for path in (tmp_path / "val").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("name", ["get_coco", "get_coco_test", "get_crowdpose", "download_models"])
def test_every_script_explains_itself(name: str):
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--to DIR" in done.stdout


def test_the_scripts_put_files_where_the_data_yamls_look():
    from utils.data.annotations import DataSpec

    for script, name in (("get_coco", "coco_kpts"), ("get_coco_test", "coco_kpts"), ("get_crowdpose", "crowdpose")):
        data = DataSpec.read(name)
        wanted = {path.relative_to(data.root).as_posix() for split in data.splits.values() for path in split.images}
        wanted |= {split.annotations.relative_to(data.root).as_posix() for split in data.splits.values()}
        for each in module(script).ARCHIVES:
            assert {each.contains or each.name} & (wanted | {"annotations/person_keypoints_val2017.json"})
