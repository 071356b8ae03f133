"""Rows that are chosen before they are computed: the same numbers from fewer of them."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from models import families
from models.layers import fused
from tests.export import small
from tests.test_contract import Case, briefly_trained, images, spec_of, with_few_people
from utils.export import graphs
from utils.export.early_rows import rows_first
from utils.export.layout import DETECTIONS, Export
from utils.export.onnx import to_onnx


class Decoding(nn.Module):
    """What families do with their candidates, in small."""

    def forward(self, raw: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(12.0)[:, None]  # (A, 1): a number of each row's own
        points = raw[..., 1:].unflatten(-1, (3, 2)).sigmoid() * 2 + rows[:, :, None]  # (B, A, 3, 2)
        together = torch.cat((points, points * points), -1)
        return together[1][chosen]


def graph_of(module: nn.Module, *inputs: torch.Tensor) -> onnx.ModelProto:
    import io

    buffer = io.BytesIO()
    names = {"input_names": ["raw", "chosen"], "output_names": ["out"], "dynamic_axes": {"chosen": {0: "n"}}}
    torch.onnx.export(module.eval(), inputs, buffer, dynamo=False, opset_version=17, **names)
    return graphs.simplified(onnx.load_model_from_string(buffer.getvalue()))


def results(graph: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_only_the_chosen_rows_are_computed_and_they_are_the_same() -> None:
    raw, chosen = torch.randn(2, 12, 7), torch.tensor([7, 0, 7])
    plain = graph_of(Decoding(), raw, chosen)
    early = rows_first(plain)
    graphs.check(early)
    everything = {"Sigmoid", "Mul", "Add", "Concat"}
    whole = [
        node for node in plain.graph.node if node.op_type in everything and 12 in graphs.shapes(plain)[node.output[0]]
    ]
    left = [
        node for node in early.graph.node if node.op_type in everything and 12 in graphs.shapes(early)[node.output[0]]
    ]
    assert len(whole) >= 4 and not left
    for indices in (chosen.numpy(), np.zeros(0, np.int64), np.arange(11, -1, -1)):
        ours, theirs = (results(graph, raw=raw.numpy(), chosen=indices) for graph in (early, plain))
        assert ours[0].shape == (len(indices), 3, 4)
        np.testing.assert_array_equal(ours[0], theirs[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_mixes_rows_stays_where_it_is() -> None:
    class Mixing(nn.Module):
        def forward(self, raw: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
            return raw.softmax(0).cumsum(0)[chosen]

    raw, chosen = torch.randn(12, 3), torch.tensor([3, 1])
    plain = graph_of(Mixing(), raw, chosen)
    early = rows_first(plain)
    assert graphs.operators(early) == graphs.operators(plain)
    np.testing.assert_array_equal(*(results(g, raw=raw.numpy(), chosen=chosen.numpy())[0] for g in (early, plain)))


def test_what_others_need_too_is_computed_once() -> None:
    class Both(nn.Module):
        def forward(self, raw: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            scores = raw.sigmoid()
            return scores[chosen], scores.sum(0)

    plain = graph_of(Both(), torch.randn(12, 3), torch.tensor([3, 1]))
    assert graphs.operators(rows_first(plain))["Sigmoid"] == 1


@pytest.mark.parametrize(
    "family", ["yolo_pose", *(pytest.param(name, marks=pytest.mark.slow) for name in ("kapao", "yolox_pose"))]
)
def test_a_family_decodes_the_keypoints_of_few(family: str) -> None:
    """No tensor with the coordinates of all candidates' keypoints is left, and the people are bit for bit the same."""
    torch.manual_seed(0)
    case = Case(5)
    model = briefly_trained(families.find(family)(spec_of(family, case)), case)
    inputs = images(model.spec.input_size)[:1]
    model = fused(with_few_people(model, inputs))
    exported = to_onnx(model, Export(model.spec.input_size, simplify=True))
    plain = graphs.with_outputs(exported.graph, exported.outputs)
    early = rows_first(plain)
    candidates = graphs.shapes(exported.graph)["keypoints"][1]
    decoded = lambda graph: [s for s in graphs.shapes(graph).values() if s[-3:] == (candidates, 5, 2)]  # noqa: E731
    assert decoded(plain) and len(decoded(early)) < len(decoded(plain))
    assert early.graph.output[0].name == DETECTIONS
    ours, theirs = small.run(early.SerializeToString(), inputs)[0], small.run(plain.SerializeToString(), inputs)[0]
    np.testing.assert_array_equal(ours, theirs)
