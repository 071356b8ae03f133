"""OpenVINO reads the files and gives the same people."""

from dataclasses import replace

import pytest

from tests.export import small


@pytest.mark.parametrize("settings", [{"simplify": True}, {"layout": "rows"}, {"batch": 2}, {"dynamic_batch": True}])
def test_openvino_gives_the_people_of_the_model(settings: dict) -> None:
    openvino = pytest.importorskip("openvino", reason="no openvino: pip install openvino")
    model, export = small.model(4), replace(small.EXPORT, **settings)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(small.file_of(model, export)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    inputs = small.pictures(2 if export.batch == 2 or export.dynamic_batch else 1)
    found = compiled(inputs.numpy())[0]
    for rows, expected in zip([found] if export.layout == "rows" else found, small.found(model, inputs), strict=True):
        small.assert_same(rows, expected)
