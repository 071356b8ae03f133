"""Exported files behind the face of OneStage: the same people as the model that they were made from."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import families
from models.build import rebuilt
from tests.rounding import assert_near
from tests.test_contract import Case, briefly_trained, spec_of
from utils.core import images as pixels
from utils.core.contract import PoseModel
from utils.inference.onnx_model import OnnxModel
from utils.inference.predictor import OneStage

export = pytest.importorskip("utils.export.onnx", reason="this tree has no export")


@pytest.fixture(scope="module")
def model() -> PoseModel:
    torch.manual_seed(0)
    case = Case(5)
    trained = briefly_trained(families.find("yolo_pose")(spec_of("yolo_pose", case)), case)
    return rebuilt(trained, replace(trained.spec, select={"conf": 0.05, "max_poses": 20}))


def exported(model: PoseModel, path: Path, **settings: object) -> Path:
    wanted = export.Export(model.spec.input_size, **settings)
    path.write_bytes(export.finished(export.to_onnx(model, wanted), model, wanted, {}))
    return path


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    sizes = [(100, 80), (128, 128), (60, 200), (300, 220), (90, 91)][:count]
    return [pixels.resize(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8), size) for size in sizes]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layout": "rows"},
        *(pytest.param(s, marks=pytest.mark.slow) for s in ({"batch": 2}, {"dynamic_batch": True})),
    ],
    ids=str,
)
def test_a_file_finds_whom_its_model_finds(model: PoseModel, tmp_path: Path, settings: dict[str, object]) -> None:
    photos = pictures(5)
    expected = OneStage(model)(photos)
    exported_model = OnnxModel(exported(model, tmp_path / "a.onnx", **settings), batch_size=3)
    found = exported_model(photos)
    assert sum(map(len, expected)) > 0 and exported_model.spec.schema == model.spec.schema
    for ours, theirs in zip(expected, found, strict=True):
        assert len(ours) == len(theirs)
        for name in ("boxes", "keypoints"):
            assert_near(getattr(theirs, name), getattr(ours, name), pixels=0.02, side=300)
        assert np.allclose(ours.scores, theirs.scores, atol=1e-4) and (ours.classes == theirs.classes).all()


def test_a_higher_threshold_is_kept_and_a_lower_one_told(
    model: PoseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = exported(model, tmp_path / "a.onnx")
    [everybody], [some] = OnnxModel(path)(pictures(1)), OnnxModel(path, conf=0.5)(pictures(1))
    assert len(some) == (everybody.scores >= 0.5).sum()
    logging.getLogger("limber").propagate = True
    OnnxModel(path, conf=0.01)
    assert "a.onnx was exported with 0.05 and gives nobody below" in caplog.text


def test_files_that_are_not_ours_or_not_for_this_are_refused_in_words(model: PoseModel, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(ValueError, match=r"broken\.onnx: ONNX Runtime cannot open it"):
        OnnxModel(tmp_path / "broken.onnx")
    raw = exported(model, tmp_path / "raw.onnx", layout="raw")
    with pytest.raises(ValueError, match="without the selection"):
        OnnxModel(raw)
    with pytest.raises(ValueError, match="--dynamic size"):
        OnnxModel(exported(model, tmp_path / "a.onnx"), size=(64, 64))
