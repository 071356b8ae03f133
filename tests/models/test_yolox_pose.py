"""YOLOX-Pose beside what is published: the aids to learning, and people whose keypoints are alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.build import load, rebuilt
from models.families.yolox_pose import Model
from tests.export import small
from utils.core.poses import Candidates, Targets
from utils.export.layout import Export

NANO = "yolox_pose_nano.yaml"
SIDE = 64


def one_person() -> Targets:
    points = torch.stack((torch.linspace(12, 48, 17), torch.linspace(10, 60, 17)), -1)[None]
    box = torch.tensor([[10.0, 8.0, 50.0, 62.0]])
    return Targets(torch.tensor([0]), box, points, torch.full((1, 17), 2.0), torch.tensor([1100.0]), torch.tensor([0]))


def terms_of(**gains: float) -> tuple[Model, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = load(NANO, recipe=gains)
    return model, model.loss(model(torch.rand(2, 3, SIDE, SIDE)), one_person(), 0.0)


def test_maps_of_the_keypoints_teach_the_trunk_and_change_no_candidate() -> None:
    model, terms = terms_of(heat=2.0)
    terms["heat"].backward()
    assert model.heat.weight.grad.abs().sum() > 0 and model.body.layers[1].conv.weight.grad.abs().sum() > 0
    plain = load(NANO)
    plain.load_state_dict({name: v for name, v in model.state_dict().items() if not name.startswith("heat.")})
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        raws = [network.eval()(images) for network in (model, plain)]
    assert len(raws[0]) == len(raws[1]) + 1
    found, expected = (network._decode_view(raw) for network, raw in zip((model, plain), raws, strict=True))
    assert torch.equal(found.keypoints, expected.keypoints) and torch.equal(found.scores, expected.scores)
    assert "heat" not in terms_of()[1]


def test_far_off_keypoints_are_pulled_by_the_tail_alone() -> None:
    """A network that has learned nothing has them a body away, where 1 - OKS is flat."""
    pulls = {}
    for tail in (0.0, 0.5):
        model, terms = terms_of(kpt_tail=tail)
        terms["keypoint"].backward()
        pulls[tail] = sum(conv.weight.grad.abs().sum().item() for conv in model.head.keypoints)
    assert pulls[0.5] > 3 * pulls[0.0]


def three_people() -> Candidates:
    """The second stands in the first one's pose, but its box is elsewhere; the third is someone else."""
    points = torch.stack((torch.linspace(10, 30, 17), torch.linspace(10, 60, 17)), -1)  # (K, 2)
    boxes = torch.tensor([[10.0, 10, 30, 60], [30, 10, 50, 60], [60, 10, 80, 60]])
    keypoints = torch.stack((points, points + 0.2, points + torch.tensor([50.0, 0.0])))  # (A, K, 2)
    scores = torch.tensor([0.9, 0.8, 0.7])[:, None]
    return Candidates(boxes[None], scores[None], keypoints[None], torch.ones(1, 3, 17))


@pytest.mark.parametrize(("limit", "kept"), [(1.0, [0.9, 0.8, 0.7]), (0.9, [0.9, 0.7])])
def test_people_whose_keypoints_are_alike_are_one_where_that_is_asked_for(limit: float, kept: list[float]) -> None:
    [poses] = load(NANO, select={"oks": limit}).select(three_people())
    assert poses.scores.tolist() == pytest.approx(kept)


def test_an_exported_file_suppresses_by_keypoints_as_the_model_does() -> None:
    torch.manual_seed(0)
    model = load(NANO, select={"conf": 0.0, "oks": 0.1, "max_poses": 40, "iou": 0.95})
    inputs = torch.rand(4, 3, SIDE, SIDE)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one look is enough for a network that tells places apart
    with torch.no_grad():
        model.train()(inputs)
        model.eval()
        for convolution in model.head.keypoints:
            convolution.weight.mul_(5)  # poses of some size, or nobody resembles anybody
        candidates = model._decode_view(model(inputs[:1]))
        [expected] = model.select(candidates)
        [everybody] = rebuilt(model, model.spec.with_settings(select={"oks": 1.0})).select(candidates)
    [rows] = small.run(small.file_of(model, replace(Export((SIDE, SIDE)), layout="rows")), inputs[:1])
    assert 1 < len(expected) < len(everybody)
    np.testing.assert_allclose(rows[:, 4], expected.scores.numpy(), rtol=1e-3)
    np.testing.assert_allclose(rows[:, :4], expected.boxes.numpy(), atol=1e-2)
