"""int8: which nodes become narrow, what stays wide, and that the cost is told."""

import onnx
import pytest
import torch

from tests.export import small
from tests.export.test_parity import as_uint8
from tests.rounding import assert_near
from tests.test_contract import SIDE
from utils.export import files, quantize
from utils.export.onnx import to_onnx
from utils.export.session import ProposedByFile, onnx_session
from utils.export.trunk import parts


@pytest.fixture(scope="module")
def exported():
    from dataclasses import replace

    return to_onnx(small.model(4), replace(small.EXPORT, simplify=True))


def weights_in_int8(graph: onnx.ModelProto) -> set[str]:
    """Convolutions whose weights come out of a DequantizeLinear."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    made = lambda name: makers[name].op_type if name in makers else "constant"  # noqa: E731
    return {
        node.name for node in graph.graph.node if node.op_type == "Conv" and made(node.input[1]) == "DequantizeLinear"
    }


def test_all_convolutions_are_narrow_but_the_stem_and_the_heads(exported) -> None:
    found = parts(exported.graph.graph, exported.raw)
    everything = {node.name for node in found.network if node.op_type == "Conv"}
    wide = {node.name for node in (found.stem, *found.heads) if node.op_type == "Conv"}
    narrow = quantize.with_wide_heads(exported, [as_uint8(small.pictures(2))])
    assert weights_in_int8(narrow) == everything - wide and len(wide) > 8
    assert {value.name for value in narrow.graph.output} == {value.name for value in exported.graph.graph.output}


def test_a_collapse_is_refused_and_the_cost_names_all_three(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are made up, so nothing has to be quantised for them."""
    for name in ("with_wide_heads", "everywhere"):
        monkeypatch.setattr(quantize, name, lambda exported, pictures: exported.graph)
    job = files.Job(small.model(4), small.EXPORT, tmp_path / "m", {}, [])
    scores = iter((0.55, 0.08, 0.05))
    with pytest.raises(ValueError, match=r"AP 0.5500 in fp32, 0.0800 in int8 .*\(-0.4700\).* 0.0500"):
        files.export_int8(job, [as_uint8(small.pictures(2))], small.model(4), lambda twin: next(scores))
    assert not list(tmp_path.iterdir())


def test_candidates_of_a_file_are_selected_as_those_of_the_model(exported) -> None:
    """What AP is counted on."""
    model, inputs = small.model(4), small.pictures(2)
    twin = ProposedByFile(onnx_session(quantize.candidates_of(exported.graph)), model)
    found = small.found(twin, inputs)
    for ours, expected in zip(found, small.found(model, inputs), strict=True):
        assert len(ours) == len(expected) > 0
        assert_near(ours.keypoints, expected.keypoints, pixels=0.05, side=SIDE)


def test_calibration_needs_single_images(tmp_path) -> None:
    from dataclasses import replace

    job = files.Job(small.model(4), replace(small.EXPORT, batch=2), tmp_path / "m", {}, [])
    with pytest.raises(ValueError, match="leave out --batch"):
        files.export_int8(job, [torch.zeros(1)], small.model(4), lambda twin: 0.0)
