"""Weights by address: fetched once, in spite of cuts, and held to their checksum or to what came the first time."""

import hashlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.server import Server
from utils.core.config import ROOT
from utils.core.console import start_logging
from utils.core.download import DRIVE, direct
from utils.core.weights import Address, located, suffix_of

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMBER_CACHE", str(tmp_path / "my cache"))
    monkeypatch.setattr("utils.core.weights.PAUSE", 0)
    return tmp_path / "my cache"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(DATA)
    yield made
    made.close()


def test_weights_come_in_spite_of_cuts_and_are_asked_for_once(server: Server, cache: Path):
    server.cut = 3000
    path = located(f"{server.home}/a/last.pt#sha256={SHA}")
    assert (path.name, path.read_bytes()) == ("last.pt", DATA)
    assert cache in path.parents
    assert server.asked == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]
    assert located(f"{server.home}/a/last.pt#sha256={SHA}") == path
    assert len(server.asked) == 4
    assert not [name for name in path.parent.iterdir() if ".part" in name.name]


def test_files_of_one_name_from_two_places_do_not_meet(server: Server):
    first, second = located(f"{server.home}/a/last.pt"), located(f"{server.home}/b/last.pt")
    assert first != second
    assert first.name == second.name == "last.pt"


def test_a_run_that_was_killed_in_the_middle_is_gone_on_with(server: Server):
    place = Address.read(f"{server.home}/a/last.pt")
    place.folder.mkdir(parents=True)
    (place.folder / "last.pt.part").write_bytes(DATA[:777])
    assert located(place.typed).read_bytes() == DATA
    assert server.asked == ["bytes=777-"]


@pytest.mark.parametrize("digits", [8, 64])
def test_the_beginning_of_a_checksum_is_enough(server: Server, digits: int):
    assert located(f"{server.home}/a.pt#sha256={SHA[:digits].upper()}").read_bytes() == DATA


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server: Server, cache: Path):
    with pytest.raises(ValueError, match=rf"a\.pt: sha256 {SHA} came, 0123456789 was asked for; another file is there"):
        located(f"{server.home}/a.pt#sha256=0123456789")
    assert not [path for path in cache.rglob("*") if path.name.startswith("a.pt")]


def test_without_a_checksum_the_first_download_decides(server: Server, cache: Path, capsys: pytest.CaptureFixture[str]):
    start_logging()
    path = located(f"{server.home}/a.pt")
    assert f"a.pt: no checksum was given; #sha256={SHA} was found and is remembered" in capsys.readouterr().err
    path.unlink()
    server.data = DATA[:-1] + b"?"
    other = hashlib.sha256(server.data).hexdigest()
    with pytest.raises(ValueError, match=rf"sha256 {other} came, the first download was {SHA}; .* #?.*sha256={other}"):
        located(f"{server.home}/a.pt")
    assert not path.exists()
    assert located(f"{server.home}/a.pt#sha256={other}").read_bytes() == server.data  # as the message says
    assert located(f"{server.home}/a.pt").read_bytes() == server.data


def test_a_file_that_was_altered_in_the_cache_is_fetched_again(server: Server):
    path = located(f"{server.home}/a.pt")
    path.write_bytes(b"damaged")
    assert located(f"{server.home}/a.pt").read_bytes() == DATA
    assert len(server.asked) == 2


def test_a_file_that_somebody_put_into_the_cache_is_taken(server: Server):
    place = Address.read(f"{server.home}/a.pt")
    place.folder.mkdir(parents=True)
    (place.folder / "a.pt").write_bytes(DATA)
    assert located(f"{server.home}/a.pt#sha256={SHA}").read_bytes() == DATA
    assert server.asked == []


def test_a_hub_is_asked_at_its_own_address(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", server.home + "/")
    server.moved, server.cut = f"{server.home}/there/file", 6000
    path = located("hf://some/pose/weights/best one.pt@v1.0")
    assert (path.name, path.read_bytes()) == ("best_one.pt", DATA)
    assert server.paths[0] == "/some/pose/resolve/v1.0/weights/best%20one.pt"
    assert server.asked == [None, "bytes=6000-"]  # the range survives the redirection


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("hf://o/r/a.pt", "https://huggingface.co/o/r/resolve/main/a.pt"),
        ("hf://o/r/b/c/a.pt@refs/pr/1", "https://huggingface.co/o/r/resolve/refs%2Fpr%2F1/b/c/a.pt"),
        ("hf://o/r@v2/a.pt", "https://huggingface.co/o/r/resolve/v2/a.pt"),
        ("https://h/a b.pt?x=1&y=%20", "https://h/a%20b.pt?x=1&y=%20"),
        ("https://drive.google.com/open?id=1a-b", f"{DRIVE}1a-b"),
        ("https://drive.google.com/uc?export=download&id=1a-b", f"{DRIVE}1a-b"),
        (
            "https://drive.google.com/file/d/1B-QGa99n7ZrxkgKCQ1XHnm6j0Y-lvOQz/view?usp=sharing",
            "https://drive.usercontent.google.com/download?export=download&confirm=t"
            "&id=1B-QGa99n7ZrxkgKCQ1XHnm6j0Y-lvOQz",
        ),
    ],
)
def test_addresses_are_understood(typed: str, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert Address.read(typed).url == url


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("hf://owner/repo", "expected hf://owner/repo/path/file"),
        ("hf://owner/repo/folder/", "expected hf://owner/repo/path/file"),
        ("https:///a.pt", "no host in this address"),
        ("https://h/a.pt#md5=00", "'#md5=00' found; expected #sha256= and 8 to 64 hexadecimal digits"),
        ("https://h/a.pt#sha256=12", "expected #sha256= and 8 to 64 hexadecimal digits"),
    ],
)
def test_addresses_that_make_no_sense_say_so(typed: str, told: str):
    with pytest.raises(ValueError, match=told):
        located(typed)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, r"404 Not Found \(is the address right\?\); fetch it by hand"),
        (401, r"401 .*private or gated"),
        (503, "5"),
    ],
)
def test_a_server_that_has_no_file_is_quoted(server: Server, status: int, told: str):
    server.status = status
    with pytest.raises(ValueError, match=told):
        located(f"{server.home}/a.pt")
    assert len(server.asked) == (5 if status == 503 else 1)


def test_a_cache_that_cannot_be_made_names_the_way_out(server: Server, cache: Path):
    cache.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"my cache/weights.*; LIMBER_CACHE may name another place"):
        located(f"{server.home}/a.pt")


def test_the_cache_lies_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("LIMBER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "limber" / "weights" in Address.read("https://h/a.pt").folder.parents


def test_two_processes_that_want_the_same_file_fetch_it_once(server: Server):
    server.pause = 0.3
    code = f"from utils.core.weights import located; print(located('{server.home}/a.pt'))"
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in both)
    assert first == second
    assert Path(first.strip()).read_bytes() == DATA
    assert server.asked == [None]


def test_a_name_that_is_nowhere_points_to_the_list_of_published_weights():
    with pytest.raises(ValueError, match=r"no such file here.*where published weights are to be had: docs/models\.md"):
        located("kapao_s_coco.pt")


def test_what_kind_of_file_an_address_means_is_known_before_it_is_fetched():
    assert suffix_of("https://h/best.ONNX?x=1#sha256=01234567") == ".onnx"
    assert suffix_of("hf://o/r/best.onnx@main") == ".onnx"
    assert suffix_of("runs/best.safetensors") == ".safetensors"


PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition("## Published checkpoints")[2]


def test_every_address_of_the_page_is_understood_and_every_model_on_it_is_there():
    links = re.findall(r"\]\((http[^)]+)\)", PAGE)
    assert len(links) > 40
    addresses = [Address.read(link) for link in links]
    assert len({address.folder for address in addresses}) == len({*links})
    assert all(not address.url.endswith("/view") for address in addresses)
    models = {name for name in re.findall(r"`(\w+)`", PAGE) if (ROOT / "models" / "configs" / f"{name}.yaml").exists()}
    named = {name for name in re.findall(r"\| `(\w+)` \|", PAGE) if not re.fullmatch(r"[0-9a-f]{8}", name)}
    assert len(models) > 12 and named <= models
    for name, digits in re.findall(r"\]\(\S+/(\S+\.pth)\) .* `([0-9a-f]{8})` \|", PAGE):
        assert digits in name


def test_the_page_and_the_script_mean_the_same_files_of_kapao(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "data" / "scripts")
    archives = importlib.import_module("download_models").ARCHIVES
    links = [re.search(rf"\[{re.escape(archive.name)}.*?\]\((\S+)\)", PAGE) for archive in archives]
    assert [Address.read(link[1]).url for link in links] == [direct(archive.url) for archive in archives]


def test_the_page_lists_every_file_that_the_originals_publish(shared: Path):
    seeds = "\n".join(path.read_text(encoding="utf-8") for path in (shared / "seeds").glob("*.md"))
    wanted = set(re.findall(r"https?://[^ )\"<>]+\.(?:pth|pt|onnx)\b", seeds))
    wanted |= set(re.findall(r"https://drive\.google\.com/file/d/[\w-]+", seeds))
    wanted -= {"https://drive.google.com/file/d/1n4so5WN6snyCYxeUk4xX1glADqQuitXP"}  # XPOSE's depth video
    assert len(wanted) > 25
    assert not [address for address in wanted if address not in PAGE]
