"""The consumers in docs/export.md do what they say."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.export import small
from utils.core.config import ROOT
from utils.inference.predictor import OneStage


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)[0]


def test_the_python_consumer_gives_the_people_of_the_model(tmp_path: Path) -> None:
    model = small.model(4)
    (tmp_path / "best.onnx").write_bytes(small.file_of(model, replace(small.EXPORT, simplify=True)))
    picture = (small.pictures(1)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "picture.jpg"), cv2.resize(picture, (256, 192)))
    code = block("python") + "np.save('found.npy', keypoints)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [expected] = OneStage(model, size=(128, 128))([tmp_path / "picture.jpg"])
    np.testing.assert_allclose(np.load(tmp_path / "found.npy")[..., :2], expected.keypoints, atol=0.1)


def test_the_cpp_consumer_compiles_and_reads_two_rows(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    main = """
int main() {  // one person at scale 2 with one keypoint, then a row that fills up
  const float rows[] = {10, 20, 30, 40, 0.9f, 0, 14, 24, 0.8f, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  auto people = people_of(rows, 2, 1, 2.0f, 4.0f, 0.0f);
  return people.size() == 1 && people[0].x1 == 3 && people[0].keypoints[0].y == 12 ? 0 : 1;
}
"""
    (tmp_path / "c.cpp").write_text(block("cpp") + main)
    subprocess.run([compiler, "-std=c++17", "-Wall", "-Werror", "c.cpp", "-o", "c"], cwd=tmp_path, check=True)
    assert subprocess.run([str(tmp_path / "c")]).returncode == 0
