"""YOLO-Pose beyond the published numbers: the clean head, the mended loss, detectors without keypoints."""

from dataclasses import replace

import pytest
import torch

from models import families
from models.build import load, read_model_yaml
from models.layers import fused
from models.losses import heat_loss, keypoint_loss, render_heat
from tests.test_contract import Case, images, people, schema_of
from utils.core.poses import Targets
from utils.core.schema import KeypointSchema
from utils.core.tta import View


def nano(layout: str = "published", keypoints: int = 17):
    spec = read_model_yaml("yolov5n6_kpts.yaml", schema_of(keypoints), ("person",))
    spec = replace(spec, head={**spec.head, "layout": layout}, input_size=(128, 128))
    torch.manual_seed(0)
    return families.find("yolo_pose")(spec).eval()


def test_in_the_published_layout_two_anchors_live_in_the_keypoint_branch() -> None:
    """171 channels in three parts of 57: of the 18 box channels all go to the first anchor."""
    model = nano("published")
    for branch in (*model.head.box, *(branch[-1] for branch in model.head.keypoint)):
        torch.nn.init.zeros_(branch.weight)
        torch.nn.init.zeros_(branch.bias)
    for branch in model.head.box:
        torch.nn.init.ones_(branch.bias)
    with torch.no_grad():
        slots = model.slots(model(images())[0])  # (B, 3, 57, H, W)
    assert (slots[:, 0, :18] == 1).all() and (slots[:, 0, 18:] == 0).all()
    assert (slots[:, 1:] == 0).all()


def test_in_the_clean_layout_every_anchor_has_box_and_keypoint_channels_of_its_own() -> None:
    model = nano("clean")
    for branch in model.head.keypoint:
        torch.nn.init.zeros_(branch[-1].weight)
        torch.nn.init.zeros_(branch[-1].bias)
    for branch in model.head.box:
        torch.nn.init.zeros_(branch.weight)
        branch.bias.data = torch.arange(18.0)
    with torch.no_grad():
        slots = model.slots(model(images())[0])  # (B, 3, 57, H, W)
    for anchor in range(3):
        assert slots[0, anchor, :6, 0, 0].tolist() == [6 * anchor + i for i in range(6)]
        assert (slots[:, anchor, 6:] == 0).all()


@pytest.mark.parametrize(("layout", "with_prior"), [("published", 1), ("clean", 3)])
def test_the_prior_of_few_people_reaches_one_anchor_as_published_and_every_one_in_the_clean_layout(
    layout: str, with_prior: int
) -> None:
    model = nano(layout)
    with torch.no_grad():
        objectness = model.slots(model(images())[0])[:, :, 4].mean((0, 2, 3))  # (3)
    assert (objectness < -4).sum() == with_prior


def test_both_layouts_have_the_same_weights_by_name_and_shape() -> None:
    shapes = [{k: v.shape for k, v in nano(layout).state_dict().items()} for layout in ("published", "clean")]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("layout", ["published", "clean"])
def test_a_loss_step_moves_the_keypoints_of_every_anchor(layout: str) -> None:
    model = nano(layout).train()
    terms = model.loss(model(images()), people(Case(17)), progress=0.0)
    sum(terms.values()).backward()
    assert all(branch[-1].weight.grad.abs().sum() > 0 for branch in model.head.keypoint[:2])


def test_a_far_keypoint_of_a_small_person_has_no_gradient_as_published_and_one_with_a_tail() -> None:
    gradients = []
    for tail in (0.0, 0.1):
        predicted = torch.tensor([[[9.0, 0.0]]], requires_grad=True)  # nine cells off, person of two by two cells
        loss = keypoint_loss(
            predicted, torch.zeros(1, 1, 2), torch.ones(1, 1), torch.tensor([4.0]), torch.tensor([0.05]), tail=tail
        )
        loss.backward()
        gradients.append(predicted.grad.abs().max().item())
    assert gradients[0] == 0
    assert gradients[1] == pytest.approx(2 * 0.1 / 9, rel=0.01)  # d/dx of tail * log(x²) far from the target


def test_sharpness_one_is_cocos_own_similarity() -> None:
    """At a distance of sigma * 2 * sqrt(area) COCO's OKS is exp(-1/2)."""
    sigma, area = 0.1, 25.0
    off = torch.tensor([[[2 * sigma * area**0.5, 0.0]]])
    loss = keypoint_loss(
        off, torch.zeros(1, 1, 2), torch.ones(1, 1), torch.tensor([area]), torch.tensor([sigma]), sharpness=1.0
    )
    assert loss.item() == pytest.approx(1 - 0.60653066, abs=1e-6)


def aided(**gains: float):
    return load("yolov5n6_kpts.yaml", recipe=gains)


def test_the_map_of_a_keypoint_is_one_in_its_cell_and_falls_around_it() -> None:
    """A keypoint at (20, 12) with cells of 8 lies in the middle of column 2, row 1; one cell on it is e^(-1 / 1.28)."""
    heat = render_heat(one_person(20.0, 12.0), (2, 1, 4, 6), 8)
    assert heat[0, 0, 1, 2] == 1 and heat[0, 0].argmax() == 1 * 6 + 2
    assert heat[0, 0, 1, 3].item() == pytest.approx(0.4578, abs=1e-4)
    assert heat[1].abs().sum() == 0


def one_person(x: float, y: float, visibility: float = 2.0) -> Targets:
    return Targets(
        image_index=torch.zeros(1, dtype=torch.int64),
        boxes=torch.tensor([[0.0, 0.0, 40.0, 40.0]]),
        keypoints=torch.tensor([[[x, y]]]),
        visibility=torch.tensor([[visibility]]),
        areas=torch.tensor([1600.0]),
        classes=torch.zeros(1, dtype=torch.int64),
    )


def test_the_loss_of_a_map_is_least_where_the_keypoint_is_and_unlabelled_ones_are_not_asked_for() -> None:
    def loss_with_peak_at(column: int) -> float:
        logits = torch.full((1, 1, 4, 6), -8.0)
        logits[0, 0, 1, column] = 8.0
        return heat_loss(logits, one_person(20.0, 12.0), 8).item()

    assert loss_with_peak_at(2) < min(loss_with_peak_at(column) for column in (0, 1, 3, 4))
    nothing = torch.full((1, 1, 4, 6), -30.0)
    assert heat_loss(nothing, one_person(20.0, 12.0, visibility=0.0), 8) == 0


def test_maps_of_the_keypoints_are_learned_and_change_nothing_of_what_is_found() -> None:
    torch.manual_seed(0)
    model = aided(heat=2.0)
    terms = model.train().loss(model(images()), people(Case(17)), progress=0.0)
    assert terms["heat"] > 0
    terms["heat"].backward()
    assert model.heat.weight.grad.abs().sum() > 0 and model.body.layers[1].conv.weight.grad.abs().sum() > 0
    plain = aided()
    plain.load_state_dict({name: v for name, v in model.state_dict().items() if not name.startswith("heat.")})
    with torch.no_grad():
        ours, theirs = (m.eval().decode([m(images())], [View()]) for m in (model, plain))
    assert torch.equal(ours.keypoints, theirs.keypoints) and torch.equal(ours.scores, theirs.scores)


def test_objectness_can_learn_how_good_the_keypoints_are() -> None:
    """Boxes that fit and keypoints that are far off: the more the keypoints count, the less such an anchor is worth."""
    torch.manual_seed(0)
    raw = [level.detach() for level in aided()(images())]
    for level in raw:  # sure of itself everywhere
        level[:, 4::57] = 6.0
    losses = [aided(obj_kpt=share).loss(raw, people(Case(17)), progress=0.0)["object"].item() for share in (0.0, 1.0)]
    assert losses[1] > losses[0]


def test_a_detector_has_no_keypoint_branch_and_finds_boxes() -> None:
    spec = replace(
        read_model_yaml("yolov5n6_kpts.yaml", KeypointSchema.unnamed(0), ("person", "dog")), input_size=(128, 128)
    )
    model = families.find("yolo_pose")(spec).eval()
    with torch.no_grad():
        raw = model(images())
        candidates = model.decode([raw], [View()])
        [first, _] = families.find("yolo_pose")(spec.with_settings(select={"conf": 0.0})).select(candidates)
    assert raw[0].shape[1] == 3 * (5 + 2) and first.keypoints.shape[1:] == (0, 2)
    goal = people(Case(1, ("person", "dog")))
    goal = replace(goal, keypoints=torch.zeros(2, 0, 2), visibility=torch.zeros(2, 0))
    terms = model.train().loss(model(images()), goal, progress=0.0)
    assert terms["keypoint"].item() == 0 and terms["class"].item() > 0 and torch.isfinite(sum(terms.values()))


def test_two_people_in_one_cell_leave_the_later_ones_quality() -> None:
    """The same box twice: objectness has one target there, the last writer's, on every device alike."""
    model = nano().train()
    one = people(Case(17))
    twin = Targets(*(torch.cat((getattr(one, n)[:1], getattr(one, n)[:1])) for n in one.__dataclass_fields__))
    raw = model(images())
    single = Targets(*(getattr(one, n)[:1] for n in one.__dataclass_fields__))
    torch.testing.assert_close(model.loss(raw, twin, 0.0)["object"], model.loss(raw, single, 0.0)["object"])


def test_the_fused_network_gives_the_same_maps() -> None:
    model = nano()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
    with torch.no_grad():
        for plain, folded in zip(model(images()), fused(model)(images()), strict=True):
            torch.testing.assert_close(plain, folded, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused(model).modules())


def test_the_ti_layer_names_strides_and_anchors() -> None:
    layer = load("yolov5s6_kpts_ti_lite.yaml").ti_layer()
    assert layer.strides == (8, 16, 32, 64) and layer.keypoints == 17 and layer.classes == 1
    assert layer.anchors[0] == ((19.0, 27.0), (44.0, 40.0), (38.0, 94.0))
