"""Parameters, multiplications and names of the original YOLOX-Pose networks, size by size."""

import pytest
import torch

from models.build import read_model_yaml, renamed
from models.families.yolox_pose import Model
from models.summary import summarise
from models.yolox_published import recognise_yolox
from tests.models.original_yolox import Originals
from utils.core.published import Published

# Counted in the original networks: parameters of all and of the head, and what convolutions multiply in billions,
# at 416 and 640, and in the head at 640.
SIZES = [
    ("nano", 680_443, 228_363, 0.515, 1.220, 0.635),
    ("tiny", 6_045_339, 2_011_851, 4.374, 10.353, 5.620),
    ("s", 10_729_963, 3_567_147, 7.718, 18.267, 9.970),
    ("m", 29_296_203, 8_004_843, 20.224, 47.868, 22.387),
    ("l", 61_271_339, 14_212_011, 41.153, 97.404, 39.759),
]
TI_SIZES = [("s", 9_843_691), ("m", 27_303_243), ("l", 57_729_323)]
LITE = 348  # parameters more, for a convolution in place of the slices
RECORDED = {"nano": "nano", "tiny": "tiny", "s": "s", "edgeai_s_lite": "s_ti_lite"}


@pytest.fixture(scope="module")
def originals(shared) -> Originals:
    return Originals(shared)


def meta(name: str) -> Model:
    """The network of a YAML, without values."""
    with torch.device("meta"):
        return Model(read_model_yaml(f"yolox_pose_{name}.yaml"))


@pytest.mark.parametrize(("name", "params", "head_params", "at_416", "at_640", "head_at_640"), SIZES)
def test_every_size_has_the_parameters_and_multiplications_of_the_original(
    name: str, params: int, head_params: int, at_416: float, at_640: float, head_at_640: float
) -> None:
    model = meta(name)
    whole = summarise(model, (640, 640))
    head = next(part for part in whole.parts if part.name == "head")
    assert (whole.params, head.params) == (params, head_params)
    assert round(summarise(model, (416, 416)).conv_gmacs, 3) == at_416
    assert round(whole.conv_gmacs, 3) == at_640
    outputs = sum((6 + 3 * 17) * (640 // stride) ** 2 for stride in model.body.strides)
    towers = sum(8 * width * (640 // s) ** 2 for width, s in zip(model.body.channels, model.body.strides, strict=True))
    assert round(head.gmacs - (outputs + towers) / 1e9, 3) == head_at_640  # less the biases, one for each output


@pytest.mark.parametrize(("name", "params"), TI_SIZES)
def test_every_size_of_ti_has_the_parameters_of_the_original(name: str, params: int) -> None:
    assert sum(parameter.numel() for parameter in meta(f"{name}_ti_lite").parameters()) == params + LITE


def test_sizes_are_the_recorded_ones_to_the_last_multiplication(originals: Originals) -> None:
    recorded = originals.facts("sizes")
    for key, name in RECORDED.items():
        model = meta(name)
        for side in (416, 640):
            if f"conv_gmacs_{side}" in recorded[key]:
                found = summarise(model, (side, side))
                assert round(found.conv_gmacs * 1e9) == round(recorded[key][f"conv_gmacs_{side}"] * 1e9)
        assert found.params == recorded[key]["params"]
    for key in ("nano", "tiny", "s"):
        parts = {"body": recorded[key]["backbone"] + recorded[key]["neck"], "head": recorded[key]["head"]}
        for part, count in parts.items():
            assert sum(parameter.numel() for parameter in meta(key).get_submodule(part).parameters()) == count


@pytest.mark.parametrize(("layout", "size", "key"), [
    ("project", "nano", "nano"), ("core", "nano", "nano"), ("edgeai", "nano", "edgeai_nano"),
    ("edgeai", "nano_lite", "edgeai_nano_lite"), ("edgeai", "s", "edgeai_s"), ("edgeai", "s_lite", "edgeai_s_lite"),
])  # fmt: skip
def test_a_network_recognised_by_its_weights_is_the_recorded_one(
    originals: Originals, layout: str, size: str, key: str
) -> None:
    facts, shapes = originals.facts("sizes")[key], originals.shapes(layout, size)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    spec = recognise_yolox(Published(f"{layout} {size}", {"state_dict": state}))
    assert spec is not None
    with torch.device("meta"):
        model = Model(spec)
    found = summarise(model, (640, 640))
    assert found.params == facts["params"]
    multiplied = facts.get(f"{layout}_conv_gmacs_640", facts["conv_gmacs_640"])
    assert round(found.conv_gmacs * 1e9) == round(multiplied * 1e9)
    tensors = facts.get(f"{layout}_tensors", facts["tensors"])
    assert len(shapes) == tensors
    mapped = renamed(state, Model)
    assert {name: value.shape for name, value in mapped.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize(("layout", "size", "name"), [
    ("project", "tiny", "yolox_pose_tiny"), ("project", "s", "yolox_pose_s"), ("core", "s", "yolox_pose_s"),
    ("core", "tiny", "yolox_pose_tiny"), ("edgeai", "s_lite", "yolox_pose_s_ti_lite"),
])  # fmt: skip
def test_published_names_and_shapes_map_one_to_one_onto_our_yaml(
    originals: Originals, layout: str, size: str, name: str
) -> None:
    shapes = {key: torch.empty(value) for key, value in originals.shapes(layout, size).items()}
    with torch.device("meta"):
        own = Model(read_model_yaml(f"{name}.yaml")).state_dict()
    mapped = renamed(shapes, Model)
    assert {key: value.shape for key, value in mapped.items()} == {key: value.shape for key, value in own.items()}
    assert len(mapped) == sum(not key.endswith("sigmas") for key in shapes)
