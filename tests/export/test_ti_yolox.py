"""YOLOX-Pose for TI: a graph that starts at its stem, and the layer as TI's own exporter writes it."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models.build import load, read_model_yaml
from models.families.yolox_pose import Model
from models.layers import fused
from tests.export import small
from tests.export.test_ti import checked
from tests.test_contract import schema_of
from utils.core.config import ROOT
from utils.export import graphs
from utils.export.layout import Export
from utils.export.ti import TiFiles, to_ti
from utils.export.ti_input import with_plain_input
from utils.export.trunk import parts

EXPORT = Export((128, 192))


def narrow(folder: Path, width: float) -> Model:
    """yolox_pose_s_ti_lite, as deep and not as wide."""
    text = (ROOT / "models" / "configs" / "yolox_pose_s_ti_lite.yaml").read_text()
    path = folder / "yolox_pose_ti_lite.yaml"
    path.write_text(text.replace("width_multiple: 0.5", f"width_multiple: {width}"))
    torch.manual_seed(0)
    return fused(Model(read_model_yaml(str(path), schema_of(17), ("person",))))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return narrow(tmp_path_factory.mktemp("ti"), 0.125)


@pytest.fixture(scope="module")
def files(model: Model) -> TiFiles:
    return to_ti(model, EXPORT, prototxt_name="m_ti.prototxt")


def test_the_prototxt_names_a_map_for_each_level_with_its_stride_as_anchor(files: TiFiles) -> None:
    shapes = graphs.shapes(files.exported.graph)
    inputs = re.findall(r'input: "(.*)"', files.prototxt)
    assert inputs == [value.name for value in files.raw.graph.output]
    assert [shapes[name] for name in inputs] == [(1, 57, 128 // s, 192 // s) for s in (8, 16, 32)]
    for side in ("width", "height"):
        assert re.findall(rf"anchor_{side}: (.*)", files.prototxt) == ["8.0", "16.0", "32.0"]
    assert "CODE_TYPE_YOLO_X" in files.prototxt and "framework" not in files.prototxt


def test_the_prototxt_is_the_one_of_ti_but_for_names_and_numbers_of_the_export(files: TiFiles, shared: Path) -> None:
    theirs = (shared / "fixtures/tidl/ti_export/yolox_s_human_pose_ti_lite.prototxt").read_text()
    fields = [re.findall(r"^\s*(\w+)", text, re.MULTILINE) for text in (files.prototxt, theirs)]
    assert fields[0] == fields[1]


def test_the_prototxt_of_the_smallest_network_is_the_one_of_ti_letter_by_letter(shared: Path, tmp_path: Path) -> None:
    """But for the names of the three maps, which are the exporter's own."""
    theirs = (shared / "fixtures/yolox_pose/public/edgeai_pico_lite_128.prototxt").read_text()
    found = to_ti(narrow(tmp_path, 0.0625), Export((128, 128)), prototxt_name="m_ti.prototxt")
    for index, name in enumerate(re.findall(r'input: "(.*)"', theirs)):
        theirs = theirs.replace(f'"{name}"', f'"{found.raw.graph.output[index].name}"')
    assert found.prototxt.split() == theirs.split()


def test_the_prototxt_passes_the_checker_against_its_graph(
    model: Model, files: TiFiles, shared: Path, tmp_path: Path
) -> None:
    found = checked(files, model, shared, tmp_path)
    assert found["errors"] == [] and found["warnings"] == [] and found["accepts"] == ["yolox"]


def test_the_graph_starts_at_the_stem_and_holds_what_the_importer_reads(files: TiFiles) -> None:
    found = parts(files.exported.graph.graph, files.exported.raw)
    assert found.stem.input[0] == "images" and found.network[0].op_type == "Conv"
    assert {node.op_type for node in found.network} == {"Conv", "Relu", "Concat", "Add", "MaxPool", "Resize"}
    assert files.remarks == ()


def test_colours_and_scale_in_the_stem_change_no_number(model: Model, files: TiFiles) -> None:
    """The maps are logits, as the ones that TI's exporter names: the sigmoid comes after them."""
    inputs = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    found = small.run(files.raw.SerializeToString(), inputs)
    with torch.no_grad():
        expected = model(inputs)
    assert min(level[:, 4:6].min() for level in found) < 0, "logits, not shares"
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-3)


def test_the_stem_and_the_last_convolutions_stay_in_sixteen_bits(files: TiFiles) -> None:
    listed = json.loads(files.config)["runtime_options"]["advanced_options:output_feature_16bit_names_list"].split(", ")
    makers = {name: node.op_type for node in files.exported.graph.graph.node for name in node.output}
    kinds = [makers[name] for name in listed]
    assert kinds.count("Relu") == 1 and kinds.count("Conv") == 12 and kinds.count("Concat") == 3 and len(kinds) == 16


def test_a_head_that_ti_does_not_decode_is_refused_by_name() -> None:
    nano = load("yolox_pose_nano.yaml")
    with pytest.raises(ValueError, match="no layer for the head of yolox_pose"):
        to_ti(nano, small.EXPORT, prototxt_name="m.prototxt")


def test_what_is_no_mixture_of_colours_stays_before_the_stem() -> None:
    """A square of the image is not; the graph is handed back as it was."""
    from onnx import helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Mul", ["images", "images"], ["square"], name="mul"),
        helper.make_node("Conv", ["square", "w"], ["raw_0"], name="stem/Conv"),
    ]
    sides = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 4, 4])
             for name, channels in (("images", 3), ("raw_0", 2))]  # fmt: skip
    graph = helper.make_model(
        helper.make_graph(nodes, "g", sides[:1], sides[1:], [weight]),
        opset_imports=[helper.make_opsetid("", 16)],
        ir_version=8,
    )
    assert with_plain_input(graph, ("raw_0",)) is graph
