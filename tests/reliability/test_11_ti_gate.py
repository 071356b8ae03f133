"""11, the gate to TI: every ti_lite model's prototxt passes TI's schema beside its graph, and mutations do not."""

import contextlib
import importlib.util
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from models import families
from models.build import load
from models.layers import fused
from tests.test_contract import schema_of
from utils.core.config import ROOT
from utils.core.contract import PoseModel
from utils.export import graphs
from utils.export.layout import Export
from utils.export.onnx import finished
from utils.export.ti import TiFiles, to_ti
from utils.export.trunk import parts

pytestmark = pytest.mark.slow
SIZES, CONTENTS = ((320, 320), (384, 640), (640, 640)), ((1, 17), (3, 4), (2, 1))  # classes, keypoints
OPERATORS = {"Conv", "Relu", "Concat", "Add", "MaxPool", "Resize", "Sigmoid", "Mul"}
SMALLEST = "yolov5n6_kpts_ti_lite"
MODELS = sorted(path.stem for path in (ROOT / "models" / "configs").glob("*_ti_lite.yaml"))
# The smallest at every size with every content, the others at their own size and one more.
CASES = [(SMALLEST, size, content) for size in SIZES for content in CONTENTS]
CASES += [(name, (640, 640), (1, 17)) for name in MODELS if name != SMALLEST]
CASES += [("yolox_pose_s_ti_lite", size, content) for size, content in zip(SIZES[:2], CONTENTS[1:], strict=True)]

MUTATIONS = {
    "no keypoints": ("  num_keypoint: 17\n", ""),
    "one keypoint less": ("num_keypoint: 17", "num_keypoint: 16"),
    "another class": ("num_classes: 1", "num_classes: 2"),
    "no class": ("num_classes: 1", "num_classes: 0"),
    "a background": ("background_label_id: -1", "background_label_id: 0"),
    "a tensor that is not there": ('input: "', 'input: "nowhere/'),
    "an anchor without height": ("    anchor_height:", "    anchor_width:"),
    "another input": ("in_width: 640", "in_width: 650"),
    "a threshold beyond one": ("nms_threshold: 0.", "nms_threshold: 1."),
    "more kept than looked at": ("keep_top_k: ", "keep_top_k: 9"),
    "no threshold": ("confidence_threshold: ", "# "),
    "another output": ('output: "', 'output: "other_'),
    "a word that TI does not know": ("share_location: true", "shared_location: true"),
    "another code": ("CODE_TYPE_YOLO_V5", "CENTER_SIZE"),
}


@pytest.fixture(scope="module")
def checker(shared: Path) -> ModuleType:
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("no grpcio-tools: pip install grpcio-tools to hold the prototxt to TI's schema")
    spec = importlib.util.spec_from_file_location("check_prototxt", shared / "fixtures/tidl/check_prototxt.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Check = Callable[[str], list[str]]


@pytest.fixture
def check(checker: ModuleType, tmp_path: Path) -> Check:
    """What the checker has against a prototxt beside m.onnx."""

    def errors(text: str) -> list[str]:
        (tmp_path / "m.prototxt").write_text(text)
        words = ["--pose", "--json", "--onnx", str(tmp_path / "m.onnx"), str(tmp_path / "m.prototxt")]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = checker.main(words)
        [found] = json.loads(said.getvalue())
        assert bool(status) == bool(found["errors"])
        return found["errors"]

    return errors


def built(name: str, content: tuple[int, int]) -> PoseModel:
    torch.manual_seed(0)
    classes = tuple(f"class{number}" for number in range(content[0]))
    spec = load(f"{name}.yaml", schema=schema_of(content[1]), classes=classes).spec
    if spec.family == "yolo_pose":
        spec = replace(spec, head={**spec.head, "layout": "published"})  # as the weights that there are
    return fused(families.find(spec.family)(spec))


def written(name: str, size: tuple[int, int], content: tuple[int, int], folder: Path) -> TiFiles:
    model = built(name, content)
    files = to_ti(model, Export(size), prototxt_name="m.prototxt")
    (folder / "m.onnx").write_bytes(finished(files.exported, model, Export(size, layout="rows"), {}))
    return files


@pytest.mark.parametrize(("name", "size", "content"), CASES, ids=lambda part: str(part).replace(" ", ""))
def test_the_prototxt_passes_beside_its_graph(
    check: Check, tmp_path: Path, name: str, size: tuple[int, int], content: tuple[int, int]
) -> None:
    files = written(name, size, content, tmp_path)
    assert check(files.prototxt) == []
    graph = files.exported.graph
    used = {node.op_type for node in parts(graph.graph, files.exported.raw).network}
    assert used <= OPERATORS and graph.ir_version <= 9 and graphs.opset_of(graph) <= 17
    print(
        f"{name} {size} {content}: passes; IR {graph.ir_version}, opset {graphs.opset_of(graph)}, {len(used)} operators"
    )


def test_mutations_of_the_prototxt_are_rejected(check: Check, tmp_path: Path) -> None:
    text = written(SMALLEST, (640, 640), (1, 17), tmp_path).prototxt
    assert check(text) == [] and len(MUTATIONS) >= 12
    for name, (before, after) in MUTATIONS.items():
        assert before in text, name
        errors = check(text.replace(before, after, 1))
        assert errors, name
        print(f"{name}: {errors[0]}")


def test_the_models_of_the_gate_are_all_there_are() -> None:
    assert {name for name, *_ in CASES} == set(MODELS) and len(MODELS) >= 7
