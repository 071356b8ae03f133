"""KAPAO's aids to learning: off as published, seen by nothing that decodes, and in no file."""

from dataclasses import replace

import pytest
import torch

from models.build import load
from models.layers import fused
from tests.export import small
from utils.core.contract import PoseModel
from utils.core.poses import Targets
from utils.core.tta import View
from utils.export.layout import Export

AIDS = {"kpt": 0.3, "kpt_tail": 0.5, "obj_kpt": 0.5, "heat": 10.0}


def network(**gains: float) -> PoseModel:
    torch.manual_seed(0)
    return load("kapao_n.yaml", recipe=gains)


def somebody(*, visibility: float) -> Targets:
    """One person of 40 x 60 pixels whose keypoints are all in the middle, in an input of 128."""
    return Targets(
        image_index=torch.zeros(1, dtype=torch.int64),
        boxes=torch.tensor([[40.0, 30.0, 80.0, 90.0]]),
        keypoints=torch.full((1, 17, 2), 60.0),
        visibility=torch.full((1, 17), visibility),
        areas=torch.tensor([2400.0]),
        classes=torch.zeros(1, dtype=torch.int64),
    )


def test_the_published_recipe_has_the_published_terms_alone() -> None:
    model = network()
    terms = model.loss(model(torch.rand(1, 3, 128, 128)), somebody(visibility=2.0), 0.0)
    assert list(terms) == ["box", "object", "class", "keypoint"]


def test_aids_add_a_map_and_two_terms_and_decoding_sees_none_of_it() -> None:
    plain, aided = network().eval(), network(**AIDS).eval()
    aided.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        raw, more = plain(images), aided(images)
        assert len(more) == len(raw) + 1 and more[-1].shape == (1, 17, 16, 16)
        for ours, theirs in zip(
            plain.decode([raw], [View()]).scores, aided.decode([more], [View()]).scores, strict=True
        ):
            assert torch.equal(ours, theirs)
    terms = aided.loss(more, somebody(visibility=2.0), 0.0)
    assert list(terms) == ["box", "object", "class", "keypoint", "similarity", "heat"]
    assert all(term.item() > 0 for term in terms.values())


def test_objectness_learns_from_keypoints_only_where_there_are_any() -> None:
    """Keypoints all at the guess are worth more than the box's overlap; without labelled ones the overlap is all."""
    model = network(obj_kpt=1.0).eval()
    plain = network().eval()
    with torch.no_grad():
        raw = plain(torch.rand(1, 3, 128, 128))
        for visibility, same in ((0.0, True), (2.0, False)):
            with_oks, with_iou = (
                each.loss(raw, somebody(visibility=visibility), 0.0)["object"].item() for each in (model, plain)
            )
            assert (with_oks == pytest.approx(with_iou, rel=1e-6)) is same


def test_the_map_that_helps_learning_is_in_no_file() -> None:
    taught = fused(network(heat=2.0))
    raw = small.file_of(taught, replace(Export((64, 64)), layout="raw"))
    inputs = small.pictures(1)[..., :64, :64].contiguous()
    assert len(small.run(raw, inputs)) == 4
    assert b"heat" not in raw
