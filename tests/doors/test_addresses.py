"""Every command takes weights by address, from a real server that cuts in the middle."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import detect
import export
from models.build import family_of, load, save
from tests.core.server import Server
from utils.core.config import ROOT
from utils.inference.predictor import Predictor

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Small networks that have learned nothing."""

    def made(name: str) -> bytes:
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("weights") / "small.safetensors"
        save(path, load(name), made={})
        return path.read_bytes()

    return made


@pytest.fixture
def data(small: Callable[[str], bytes]) -> bytes:
    return small("yolox_pose_nano.yaml")


@pytest.fixture
def server(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LIMBER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "")
    monkeypatch.setattr("utils.core.weights.PAUSE", 0)
    made = Server(data)
    made.cut = len(data) // 3
    yield made
    made.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def typed(door: object, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{door.__name__}.py", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            door.run(door.main)
        return int(ended.value.code or 0), *capfd.readouterr()

    return typed


def test_an_exported_file_is_made_here_and_not_in_the_cache_and_found_by_address_itself(
    server: Server, data: bytes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sha = hashlib.sha256(data).hexdigest()
    address = f"{server.home}/small.safetensors#sha256={sha}"
    status, _, err = run(export, "--weights", address, "--no-check", "--img", 64, "--conf-thres", 0, "--device", "cpu")
    assert status == 0, err
    assert len(server.asked) == 4 and server.asked[0] is None  # three cuts
    assert (tmp_path / "small.onnx").is_file()

    server.data = (tmp_path / "small.onnx").read_bytes()
    server.cut = len(server.data)
    words = ("--source", ROOT / "data" / "example.jpg", "--conf-thres", 0, "--nosave", "--save-json", "--device", "cpu")
    status, _, err = run(detect, "--weights", f"{server.home}/small.onnx", *words, "--project", tmp_path / "runs")
    assert status == 0, err
    assert json.loads((tmp_path / "runs" / "exp" / "results.json").read_text())


def test_two_stages_come_by_address(server: Server, small: Callable[[str], bytes], run: Run, tmp_path: Path):
    server.data = small("hrnet_w8_128x96.yaml")
    words = ("--pose-model", f"{server.home}/a.safetensors", "--det-model", ROOT / detect.EXAMPLE_WEIGHTS)
    words += ("--project", tmp_path, "--nosave", "--save-json", "--device", "cpu", "--img", 128)
    status, out, err = run(detect, *words)
    assert status == 0, err
    assert "no checksum was given" in err and "people on 1 frame" in out


def test_a_hub_serves_python(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", server.home)
    assert family_of("hf://some/body/small.safetensors", None).__module__ == "models.families.yolox_pose"
    assert Predictor("hf://some/body/small.safetensors").model.spec.family == "yolox_pose"
    assert server.paths[0] == "/some/body/resolve/main/small.safetensors"


def test_a_wrong_checksum_ends_the_command_in_one_line(server: Server, run: Run):
    status, _, err = run(export, "--weights", f"{server.home}/small.safetensors#sha256=00000000")
    assert status == 2
    assert err.count("\n") < 8 and "came, 00000000 was asked for" in err and "Traceback" not in err
