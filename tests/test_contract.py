"""Every promise of the contract against every family file that exists, for skeletons of several kinds.

A new file in models/families with a YAML in models/configs is tested here without a word being added. A family of view
"image" sees two people in one picture and nobody in another. One of view "person" sees two crops with one person each,
which count from pixel centres: there the mirror image of x is W - 1 - x, and there is always exactly one pose.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from models import families
from models.build import read_model_yaml
from tests.rounding import assert_equal_but_for_rounding, in_both_precisions
from utils.core.config import ROOT, read_yaml
from utils.core.contract import ModelSpec, PoseModel
from utils.core.geometry import mirror, move_boxes, move_points
from utils.core.poses import Poses, Targets
from utils.core.schema import KeypointSchema
from utils.core.tta import View

SIDE = 128


@dataclass(frozen=True)
class Case:
    keypoints: int
    classes: tuple[str, ...] = ("person",)

    def __str__(self) -> str:
        return f"{self.keypoints}_keypoints_{len(self.classes)}_classes"


CASES = (Case(17), Case(14), Case(5), Case(1), Case(17, ("person", "horse")))


def schema_of(count: int) -> KeypointSchema:
    """Pairs of left and right, and one in the middle when the number is odd; wide sigmas, so that learning is quick."""
    names = [f"{side}_{i}" for i in range(count // 2) for side in ("left", "right")] + ["middle"] * (count % 2)
    swap = [i ^ 1 if i < count - count % 2 else i for i in range(count)]
    return KeypointSchema(tuple(names), tuple(swap), (0.3,) * count)


def smallest_yaml(family: str) -> str:
    """The YAML of the family with the smallest network."""
    found = {path.name: read_yaml(path) for path in sorted((ROOT / "models" / "configs").glob("*.yaml"))}
    own = {name: _width(values) for name, values in found.items() if values["family"] == family}
    assert own, f"models/configs has no YAML for the family {family}"
    return min(own, key=own.get)


def _width(values: dict) -> tuple[float, float]:
    """How many channels a network has: as a share of its rows', or of its trunk."""
    return values.get("width_multiple", 1), values["head"].get("width", 0)


def cases_of(family: str) -> list[Case]:
    """Of a crop a detector knows the class, the family does not."""
    if read_yaml(ROOT / "models" / "configs" / smallest_yaml(family)).get("view") == "person":
        return [case for case in CASES if len(case.classes) == 1]
    return list(CASES)


def spec_of(family: str, case: Case) -> ModelSpec:
    spec = read_model_yaml(smallest_yaml(family), schema_of(case.keypoints), case.classes)
    if spec.view == "person":
        return spec
    return replace(spec, input_size=(SIDE, SIDE), select={**spec.select, "conf": 0.01})


def with_select(model: PoseModel, **select: float) -> PoseModel:
    """The same weights with other thresholds, where the family has such."""
    known = {name: value for name, value in select.items() if name in model.select_type.__dataclass_fields__}
    twin = families.find(model.spec.family)(model.spec.with_settings(select=known)).eval()
    twin.load_state_dict(model.state_dict())
    return twin


def images(size: tuple[int, int] = (SIDE, SIDE)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, size[0] // 16, size[1] // 16, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


def people(case: Case, spec: ModelSpec | None = None) -> Targets:
    """Who is to be found: two people in the first image and nobody in the second, or one in each of two crops."""
    return two_crops(case, spec.input_size) if spec and spec.view == "person" else two_people(case)


def two_crops(case: Case, size: tuple[int, int]) -> Targets:
    """Keypoints lie on every fourth pixel, the cells of heat maps: so that no coding has to round."""
    height, width = size
    rng = np.random.default_rng(3)
    cells = rng.integers((3, 3), (width // 4 - 3, height // 4 - 3), (2, case.keypoints, 2))
    visibility = torch.full((2, case.keypoints), 2.0)
    visibility[1, 1:2] = 0  # one point is not labelled
    return Targets(
        image_index=torch.arange(2),
        boxes=torch.tensor([[0.0, 0.0, width, height]]).repeat(2, 1),
        keypoints=torch.from_numpy(4 * cells).float(),
        visibility=visibility,
        areas=torch.full((2,), float(width * height)),
        classes=torch.zeros(2, dtype=torch.int64),
    )


def two_people(case: Case) -> Targets:
    """Two people in the first image, of different classes where there are two, and nobody in the second."""
    rng = np.random.default_rng(3)
    boxes = torch.tensor([[10.0, 14.0, 52.0, 112.0], [60.0, 8.0, 118.0, 100.0]])
    share = torch.from_numpy(rng.uniform(0.15, 0.85, (2, case.keypoints, 2))).float()
    keypoints = boxes[:, None, :2] + share * (boxes[:, 2:] - boxes[:, :2])[:, None]
    visibility = torch.full((2, case.keypoints), 2.0)
    visibility[1, 1:2] = 0  # one point is not labelled
    return Targets(
        image_index=torch.zeros(2, dtype=torch.int64),
        boxes=boxes,
        keypoints=keypoints,
        visibility=visibility,
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(-1),
        classes=torch.tensor([0, len(case.classes) - 1]),
    )


@pytest.fixture(
    scope="module",
    params=[(family, case) for family in families.names() for case in cases_of(family)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def built(request: pytest.FixtureRequest) -> tuple[PoseModel, Case]:
    family, case = request.param
    torch.manual_seed(0)
    return briefly_trained(families.find(family)(spec_of(family, case)), case), case


def briefly_trained(model: PoseModel, case: Case, steps: int = 15) -> PoseModel:
    """Outputs that differ from place to place, as a new model's do not: no two scores are nearly equal."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.001)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.5  # the statistics keep up with so few steps
    for _ in range(steps):
        optimizer.zero_grad()
        total(model.loss(model(images(model.spec.input_size)), people(case, model.spec), progress=0.0)).backward()
        optimizer.step()
    for norm in norms:
        norm.momentum = 0.03
    return model.eval()


def with_few_people(model: PoseModel, inputs: torch.Tensor) -> PoseModel:
    """The same with a threshold that leaves few people, so that no last digit decides between rivals."""
    with torch.no_grad():
        scores, kinds = model.eval().decode([model(inputs)], [View()]).scores[0].max(-1)
    people = scores[kinds < len(model.spec.classes)].sort(descending=True).values  # further kinds are no people
    return with_select(model, conf=people[:21][-2:].mean().item())


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def found_by(model: PoseModel, raw: object, view: View | None = None) -> list[Poses]:
    return model.select(model.decode([raw], [view or View()]))


def test_forward_returns_the_same_type_in_training_and_in_evaluation(built: tuple[PoseModel, Case]) -> None:
    model, _ = built
    with torch.no_grad():
        inputs = images(model.spec.input_size)
        trained, evaluated = model.train()(inputs), model.eval()(inputs)
    kinds = [[(type(leaf), leaf.shape) for leaf in pytree.tree_leaves(raw)] for raw in (trained, evaluated)]
    assert type(trained) is type(evaluated) and kinds[0] == kinds[1]


def test_the_spec_survives_a_round_trip_through_plain_values(built: tuple[PoseModel, Case]) -> None:
    model, _ = built
    again = ModelSpec.from_values(model.spec.to_values(), "header")
    twin = families.find(again.family)(again)
    assert again.schema == model.spec.schema and again.rows == model.spec.rows
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_loss_is_finite_and_falls_in_thirty_steps_on_one_batch(built: tuple[PoseModel, Case]) -> None:
    model, case = built
    torch.manual_seed(0)
    model = families.find(model.spec.family)(model.spec).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    losses = []
    for _ in range(30):
        terms = model.loss(model(images(model.spec.input_size)), people(case, model.spec), progress=0.5)
        assert terms and all(torch.isfinite(term) for term in terms.values())
        losses.append(total(terms).item())
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
    first, last = np.mean(losses[:3]), np.mean(losses[-5:])
    assert last < first - 0.1 * abs(first)  # a likelihood may well be below zero


def test_loss_survives_images_with_nobody_in_them(built: tuple[PoseModel, Case]) -> None:
    model, case = built
    terms = model.train().loss(model(images(model.spec.input_size)), Targets.nobody(case.keypoints), progress=0.0)
    total(terms).backward()
    assert torch.isfinite(total(terms))
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    model.zero_grad()


def test_loss_survives_people_without_a_labelled_keypoint(built: tuple[PoseModel, Case]) -> None:
    model, case = built
    hidden = replace(people(case, model.spec), visibility=torch.zeros(2, case.keypoints))
    terms = model.train().loss(model(images(model.spec.input_size)), hidden, progress=0.0)
    assert torch.isfinite(total(terms))


def test_one_identity_view_equals_no_augmentation(built: tuple[PoseModel, Case]) -> None:
    model, _ = built
    inputs = images(model.spec.input_size)
    view = View().of(inputs)
    with torch.no_grad():
        plain = model.eval().decode([model(inputs)], [View()])
        viewed = model.decode([model(view.apply(inputs, model.stride))], [view])
    for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
        assert torch.equal(getattr(plain, name), getattr(viewed, name))


def test_flipping_the_image_mirrors_the_poses(built: tuple[PoseModel, Case]) -> None:
    """Seen through the mirror and put back: x becomes W - x, the left wrist becomes the right one.

    In crops it becomes W - 1 - x, to within the pixel by which the corner of a map's cell differs from its middle; maps
    that are shifted by a cell know nothing about the very edge.
    """
    model, case = built
    swap = list(model.spec.schema.swap)
    inputs = images(model.spec.input_size)
    model = with_few_people(model, inputs)
    view = View(flip="horizontal").of(inputs)
    with torch.no_grad():
        raw = model(inputs)
        [mirrored, *_], [back, *_] = found_by(model, raw), found_by(model, raw, view)
    assert len(mirrored) == len(back) > 0
    crop = model.spec.view == "person"
    across, off = (mirror(inputs.shape[3] - 1), 1.0) if crop else (mirror(SIDE), 0.0)
    exact = {"atol": 1e-3, "rtol": 1e-5}
    if not crop:  # the box of a crop is the crop
        torch.testing.assert_close(move_boxes(back.boxes, across), mirrored.boxes, **exact)
    difference = move_points(back.keypoints, across)[:, swap] - mirrored.keypoints
    if crop:
        size = torch.tensor([inputs.shape[3], inputs.shape[2]])
        difference = difference[((mirrored.keypoints > 8) & (mirrored.keypoints < size - 9)).all(-1)]
        assert len(difference) or case.keypoints == 1  # a single point may well be at the edge
    assert (difference[..., 0].abs() <= off + 1e-3 + 1e-5 * SIDE).all()
    torch.testing.assert_close(difference[..., 1], torch.zeros_like(difference[..., 1]), **exact)
    edge = {"atol": 2e-3, "rtol": 0} if crop else {}  # what is shifted out of a crop is missing from its sums
    torch.testing.assert_close(back.keypoint_scores[:, swap], mirrored.keypoint_scores, **edge)


def test_a_scaled_view_of_the_same_raw_doubles_no_coordinate(built: tuple[PoseModel, Case]) -> None:
    """A view at half the size: what lies at 30 there lies at 60 in the image. Maps of crops are averaged, not pooled:
    there a view of another size is refused.
    """
    model, _ = built
    inputs = images(model.spec.input_size)
    if model.spec.view == "person":
        with torch.no_grad(), pytest.raises(ValueError, match=r"a view at scale 0\.5"):
            model.decode([model.eval()(inputs)], [View(scale=0.5).of(inputs)])
        return
    view = View(scale=0.5).of(inputs)
    with torch.no_grad():
        raw = model.eval()(view.apply(inputs, model.stride))
        small, full = model.decode([raw], [View()]), model.decode([raw], [view])
    torch.testing.assert_close(full.boxes, small.boxes * 2)
    torch.testing.assert_close(full.keypoints, small.keypoints * 2)
    torch.testing.assert_close(full.scores, small.scores)


def test_decoding_what_the_loss_asks_for_returns_the_people(built: tuple[PoseModel, Case]) -> None:
    """The raw output that minimises the loss is the encoded truth: decoded and selected it is the truth again."""
    model, case = built
    with torch.no_grad():
        template = model.eval()(images(model.spec.input_size))
    leaves, structure = pytree.tree_flatten(template)
    free = [torch.zeros_like(leaf).requires_grad_() for leaf in leaves]
    optimizer = torch.optim.Adam(free, lr=0.1)
    goal = people(case, model.spec)
    new = families.find(model.spec.family)(model.spec)  # whatever a loss itself has learned does not count yet
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.1 if step < 250 else 0.01 if step < 350 else 0.001
        optimizer.zero_grad()
        terms = new.loss(pytree.tree_unflatten(free, structure), goal, progress=1.0)
        total(terms).backward()
        optimizer.step()
    with torch.no_grad():
        raw = pytree.tree_unflatten([leaf.detach() for leaf in free], structure)
        first, second = found_by(with_select(model, conf=0.3), raw)
    if model.spec.view == "person":
        assert len(first) == len(second) == 1
        assert_near(torch.cat((first.keypoints, second.keypoints)), goal)
        scores = torch.cat((first.keypoint_scores, second.keypoint_scores))
        assert (scores > 0.5).tolist() == (goal.visibility > 0).tolist()
        return
    assert len(second) == 0
    assert len(first) == len(goal)
    order = first.boxes[:, 0].argsort()
    torch.testing.assert_close(first.boxes[order], goal.boxes, atol=1.5, rtol=0)
    assert first.classes[order].tolist() == goal.classes.tolist()
    assert_near(first.keypoints[order], goal)
    sure = first.keypoint_scores[order] > 0.5
    assert sure[goal.visibility > 0].all()
    if "visibility" in terms:  # other families do not learn that a keypoint is not labelled
        assert not sure[goal.visibility == 0].any()


def assert_near(keypoints: torch.Tensor, goal: Targets) -> None:
    off = (keypoints - goal.keypoints).norm(dim=-1)  # (N, K)
    assert off[goal.visibility > 0].max() < 2.0


def test_at_most_so_many_people_are_returned_as_the_spec_allows(built: tuple[PoseModel, Case]) -> None:
    model, _ = built
    limited = with_select(model, max_poses=2)
    with torch.no_grad():
        assert all(len(poses) <= 2 for poses in found_by(limited, limited(images(model.spec.input_size))))


class EndToEnd(torch.nn.Module):
    """Images in, the fields of one image's Poses out: what an exported file does."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        [poses] = found_by(self.model, self.model(inputs))
        return poses.boxes, poses.scores, poses.classes, poses.keypoints, poses.keypoint_scores


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_an_exported_model_gives_the_same_people_as_torch(built: tuple[PoseModel, Case], tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = built
    inputs = images(model.spec.input_size)[:1]
    shifted = inputs.roll(7, 3)  # not the image that the graph is traced with
    whole = EndToEnd(with_few_people(model, shifted)).eval()
    path = tmp_path / "model.onnx"
    torch.onnx.export(whole, (inputs,), str(path), dynamo=False, opset_version=17, input_names=["images"])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = in_both_precisions(whole, shifted, lambda network, inputs: network(inputs))
    found = session.run(None, {"images": shifted.numpy()})
    assert len(expected[0][0]) > 0
    for theirs, ours in zip(found, expected, strict=True):
        assert_equal_but_for_rounding(theirs, ours, least=1e-3)
