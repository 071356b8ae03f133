"""python export.py, as users type it."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from utils.core.config import ROOT


def export(*flags: str, where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "export.py"), *flags]
    return subprocess.run(command, cwd=where, capture_output=True, text=True)


def test_the_command_of_the_original_writes_a_file_that_says_how_it_was_made(shared: Path, tmp_path: Path) -> None:
    weights = shared / "fixtures" / "yolo_pose" / "public" / "ckpt" / "tiny_s6_last.pt"
    done = export(
        "--weights", str(weights), "--img", "128", "--batch", "1", "--simplify", "--export-nms", "--conf-thres", "0.3",
        "--out", str(tmp_path), where=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "equals the model" in done.stderr or "nobody was found" in done.stderr
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "tiny_s6_last.onnx").metadata_props}
    made = json.loads(facts["made"])
    assert "--export-nms" in made["command"] and made["weights"] == "tiny_s6_last.pt" and made["simplified"]
    assert json.loads(facts["select"])["conf"] == 0.3 and json.loads(facts["input"])["size"] == [128, 128]


def test_all_formats_of_one_model_are_written_beside_each_other(tmp_path: Path) -> None:
    weights = ("--weights", "yolov5n6_kpts_ti_lite.yaml", "--img", "128")
    done = export(*weights, "--include", "onnx", "torchscript", "ti", "--no-check", where=tmp_path)
    assert done.returncode == 0, done.stderr
    stem = "yolov5n6_kpts_ti_lite"
    endings = (".onnx", ".torchscript", "_ti.onnx", "_ti_raw.onnx", "_ti.prototxt", "_ti_compile.json")
    assert {path.name for path in tmp_path.iterdir()} == {stem + ending for ending in endings}
    assert "nobody has looked" in done.stderr and "body.layers.10.cv1.1: SiLU" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--int8"], "--int8: needs pictures"),
        (["--weights", "yolov5n6_kpts.yaml", "--img", "128", "--include", "ti"], "a slice with steps"),
        (["--weights", "yolov5n6_kpts.yaml", "--img", "128", "--opset", "9"], "--opset: found 9"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(flags: list[str], words: str, tmp_path: Path) -> None:
    done = export(*flags, where=tmp_path)
    assert done.returncode == 2 and words in done.stderr and not list(tmp_path.iterdir())
    assert "Traceback" not in done.stderr


def test_help_answers_without_torch(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['export.py', '--help']\n"
    code += "import export\ntry:\n    export.parse()\nexcept SystemExit:\n    assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path).returncode == 0
