"""12, start-up: no command imports a heavy library before its flags are parsed, and an ONNX file needs no torch.

How long that takes is printed by `python -m benchmarks.start_up`; here stands what must never come back.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.doors import DOORS
from utils.core.config import ROOT

HEAVY = ("torch", "torchvision", "cv2", "matplotlib", "onnx", "onnxruntime", "tqdm")
STANDS_ALONE = "onnx_inference/yolo_pose_onnx_inference.py"  # its whole work is done by OpenCV and onnxruntime

# Runs a command as Python itself would, and tells which modules were there when it ended.
WATCH = """
import atexit, runpy, sys
words = {words!r}
atexit.register(lambda: print("heavy:", sorted(set({heavy!r}) & set(sys.modules))))
sys.argv = words[1:] if words[0] == "-m" else words
if words[0] == "-m":
    sys.path.insert(0, "")
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, str(__import__("pathlib").Path(words[0]).resolve().parent))
    runpy.run_path(words[0], run_name="__main__")
"""


def watched(words: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program = WATCH.format(words=words, heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)


def every_command() -> set[str]:
    """What can be typed: files of the product that do something when they are run."""
    folders = ("demos", "models", "utils", "data", "onnx_inference")
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    return {
        path.relative_to(ROOT).as_posix() for path in files if "\nif __name__ == " in path.read_text(encoding="utf-8")
    }


def test_the_list_of_commands_is_complete() -> None:
    listed = {door if door.endswith(".py") else door[3:].replace(".", "/") + ".py" for door in DOORS}
    assert listed == every_command()


@pytest.mark.parametrize("door", DOORS)
def test_help_answers_before_anything_heavy_is_imported(door: str) -> None:
    done = watched([*door.split(" "), "--help"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
    loaded = ast.literal_eval(done.stdout.rpartition("heavy: ")[2])
    assert set(loaded) <= ({"cv2", "onnxruntime"} if door == STANDS_ALONE else set()), loaded


def test_a_mistyped_flag_is_answered_before_anything_heavy_is_imported() -> None:
    done = watched(["detect.py", "--wieghts", "x.pt"])
    assert done.returncode == 2 and "did you mean '--weights'" in done.stderr
    assert done.stdout.rstrip().endswith("heavy: []")


def test_a_picture_is_looked_at_without_importing_all_of_torchvision(tmp_path: Path) -> None:
    from utils.core.nms import _kernel

    if _kernel() is None:
        pytest.skip("this torchvision keeps its library elsewhere: it is imported whole")
    done = watched(["detect.py", "--device", "cpu", "--project", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    loaded = ast.literal_eval(done.stdout.rpartition("heavy: ")[2])
    assert "torchvision" not in loaded and "matplotlib" not in loaded, loaded


@pytest.mark.slow
def test_an_exported_file_is_run_without_torch(tmp_path: Path) -> None:
    from tests.export.small import EXPORT, file_of, model

    (tmp_path / "small.onnx").write_bytes(file_of(model(), EXPORT))
    words = [STANDS_ALONE, "--model-path", str(tmp_path / "small.onnx"), "--img-path", "data/example.jpg"]
    done = watched([*words, "--dst-path", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("example.jpg:")
    assert done.stdout.rstrip().endswith("heavy: ['cv2', 'onnxruntime']")
