"""A file that differs from its model is found out; one that does not is not."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from models.build import load
from models.layers import fused
from tests.export import small
from utils.core import images as pixels
from utils.core.config import ROOT
from utils.core.poses import Poses
from utils.export import files, parity
from utils.export.layout import Export
from utils.export.session import FromFile, onnx_session

PHOTOGRAPHS = 50


def shifted(poses: Poses, pixels: float) -> Poses:
    return replace(poses, keypoints=poses.keypoints + pixels)


def as_uint8(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def test_the_differences_are_those_between_the_matched_people() -> None:
    [people] = small.found(small.model(4), small.pictures(1))
    found = parity.Parity(parity.Bounds())
    found.add(people, shifted(people, 0.25)[[*range(1, len(people)), 0]])  # in another order
    assert found.matched == len(people) and found.alone == 0
    assert found.pixels == pytest.approx(0.25, abs=1e-4) and found.score == 0 and not found.holds


def test_a_missing_person_is_not_overlooked() -> None:
    [people] = small.found(small.model(4), small.pictures(1))
    found = parity.Parity(parity.Bounds())
    found.add(people, people[1:])
    assert found.alone == 1 and not found.holds
    nobody = parity.Parity(parity.Bounds())
    nobody.add(people[:0], people[:0])
    assert "nothing could be compared" in str(nobody)


@pytest.mark.parametrize(("layout", "batch"), [("fixed", 2), ("rows", 1), ("raw", 2)])
def test_every_layout_equals_the_model(layout: str, batch: int) -> None:
    model, export = small.model(4), Export(small.EXPORT.size, batch, layout)
    from_file = FromFile(onnx_session(small.file_of(model, export)), model, layout=layout, batch=batch)
    found = parity.compare(model, from_file, [as_uint8(small.pictures(3))], parity.Bounds())
    assert found.holds and found.pictures == 3 and found.people > 5, found


def test_a_file_with_wrong_numbers_is_refused_with_the_difference(tmp_path: Path) -> None:
    model = small.model(4)
    graph = onnx.load_model_from_string(small.file_of(model, small.EXPORT))
    biases = [value for value in graph.graph.initializer if list(value.dims) == [3 * 3 * 4]]  # of the keypoints
    assert len(biases) == 4
    for bias in biases:
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.02), bias.name))
    job = files.Job(model, small.EXPORT, tmp_path / "m", {}, [as_uint8(small.pictures(2))])
    with pytest.raises(ValueError, match=r"differs from the model: 2 pictures, \d+ of \d+ people matched.*--no-check"):
        job.compare(onnx_session(graph.SerializeToString()), small.EXPORT, "the ONNX file")


def test_the_report_is_given_before_the_file_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job = files.Job(small.model(4), small.EXPORT, tmp_path / "m", {}, [as_uint8(small.pictures(2))])
    files.export_onnx(job)
    text = caplog.text
    assert text.index("equals the model") < text.index("m.onnx") and (tmp_path / "m.onnx").stat().st_size > 1e5


@pytest.mark.slow
def test_fifty_photographs_give_the_same_people(shared: Path) -> None:
    """A trained network at its input size. It has learned drawn people, so photographs need a low threshold."""
    weights = ROOT / "weights" / "yolov5n6_kpts_people.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    paths = sorted((shared / "data").glob("*/**/*.jpg"))[:PHOTOGRAPHS]
    model = fused(load(weights, select={"conf": 0.02, "iou": 0.65}))
    export = Export((640, 640), simplify=True)
    pictures = (pixels.stack([pixels.fit(pixels.read(path), export.size, model.letterbox)[0]]) for path in paths)
    from_file = FromFile(onnx_session(small.file_of(model, export)), model, layout="fixed", batch=1)
    found = parity.compare(model, from_file, pictures, parity.Bounds(pixels=0.05, score=1e-4))
    assert found.holds and found.pictures == PHOTOGRAPHS and found.matched >= 50, found
    print(found)
