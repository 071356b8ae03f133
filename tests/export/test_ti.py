"""The files for TI: the prototxt parses under the importer's schema and names tensors that the graph has."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from models import families
from models.build import load
from models.layers import fused
from tests.export import small
from utils.core.contract import PoseModel
from utils.export import graphs
from utils.export.layout import Export
from utils.export.onnx import finished
from utils.export.ti import Limits, TiFiles, to_ti
from utils.export.trunk import parts

EXPORT = Export((128, 192))


def lite() -> PoseModel:
    """As the published weights are: ReLU but for two SiLUs, and the head in the published layout."""
    torch.manual_seed(0)
    spec = load("yolov5n6_kpts_ti_lite.yaml").spec
    return fused(families.find(spec.family)(replace(spec, head={**spec.head, "layout": "published"})))


@pytest.fixture(scope="module")
def files() -> TiFiles:
    return to_ti(lite(), EXPORT, prototxt_name="m_ti.prototxt", limits=Limits(people=25))


def test_every_name_in_the_prototxt_is_a_tensor_of_the_graph_with_its_anchors(files: TiFiles) -> None:
    shapes = graphs.shapes(files.exported.graph)
    inputs = re.findall(r'input: "(.*)"', files.prototxt)
    assert [shapes[name] for name in inputs] == [(1, 171, 128 // s, 192 // s) for s in (8, 16, 32, 64)]
    assert inputs == [value.name for value in files.raw.graph.output]
    model = lite()
    for what, column in (("width", 0), ("height", 1)):
        written = [float(value) for value in re.findall(rf"anchor_{what}: (.*)", files.prototxt)]
        assert written == model.anchors[..., column].flatten().tolist()
    assert "in_width: 192\n  in_height: 128" in files.prototxt and "keep_top_k: 25" in files.prototxt


def checked(files: TiFiles, model: PoseModel, shared: Path, tmp_path: Path) -> dict:
    """What the checker says of a prototxt beside its graph."""
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("no grpcio-tools: pip install grpcio-tools to hold the prototxt to TI's schema")
    (tmp_path / "m.onnx").write_bytes(finished(files.exported, model, Export((128, 192), layout="rows"), {}))
    (tmp_path / "m.prototxt").write_text(files.prototxt)
    checker = [sys.executable, str(shared / "fixtures/tidl/check_prototxt.py"), "--pose", "--json"]
    done = subprocess.run([*checker, "--onnx", "m.onnx", "m.prototxt"], cwd=tmp_path, capture_output=True, text=True)
    [found] = json.loads(done.stdout)
    assert done.returncode == 0, found["errors"]
    return found


def test_the_prototxt_passes_the_checker_against_its_graph(files: TiFiles, shared: Path, tmp_path: Path) -> None:
    found = checked(files, lite(), shared, tmp_path)
    assert found["errors"] == [] and found["accepts"] == ["yolox"]


def test_the_map_that_helps_learning_is_no_level_of_the_prototxt() -> None:
    taught = load("yolov5n6_kpts_ti_lite.yaml", recipe={"heat": 2.0})
    found = to_ti(fused(taught), EXPORT, prototxt_name="m_ti.prototxt")
    assert found.prototxt.count("yolo_param") == len(found.raw.graph.output) == len(taught.ti_layer().strides) == 4


def test_the_graph_keeps_within_what_the_importer_reads(files: TiFiles) -> None:
    graph = files.exported.graph
    assert graph.ir_version <= 9 and graphs.opset_of(graph) <= 17
    network = parts(graph.graph, files.exported.raw).network
    assert {node.op_type for node in network} == {
        "Conv",
        "Relu",
        "Concat",
        "Add",
        "MaxPool",
        "Resize",
        "Sigmoid",
        "Mul",
    }
    pools = [onnx.helper.get_node_attr_value(node, "kernel_shape") for node in network if node.op_type == "MaxPool"]
    assert pools == [[3, 3]] * 3  # the pyramid of 3, 5 and 7 shares its first pools


def test_the_two_silus_of_the_published_weights_are_said_by_layer(files: TiFiles) -> None:
    layers = [remark.partition(": ")[0] for remark in files.remarks]
    assert layers == ["body.layers.10.cv1.1", "body.layers.10.cv2.1"]
    assert all("SiLU" in remark for remark in files.remarks)


def test_stem_and_heads_are_listed_for_sixteen_bits_by_names_of_the_graph(files: TiFiles) -> None:
    options = json.loads(files.config)["runtime_options"]
    listed = options["advanced_options:output_feature_16bit_names_list"].split(", ")
    tensors = {name for node in files.exported.graph.graph.node for name in node.output}
    assert set(listed) <= tensors and set(files.exported.raw) <= set(listed)
    assert len(listed) == 1 + 4 + 3 * 4  # after the stem; what enters the heads; two convolutions and their sum
    assert options["object_detection:meta_layers_names_list"] == "m_ti.prototxt"


def test_strided_slices_are_refused_by_layer() -> None:
    with pytest.raises(ValueError, match=r"body\.layers\.0: a slice with steps.*ti_lite"):
        to_ti(small.model(4), small.EXPORT, prototxt_name="m.prototxt")


def test_a_newer_opset_than_the_importer_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="--opset 18: TI's importer reads 11 to 17"):
        to_ti(small.model(4), Export((128, 128), opset=18), prototxt_name="m.prototxt")
