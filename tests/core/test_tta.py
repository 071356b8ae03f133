"""Views: what is seen in one leads back to the exact place in the image, whatever the sizes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.core.geometry import chain, mirror, move_boxes, move_points, scaling, upside_down
from utils.core.poses import Candidates
from utils.core.schema import KeypointSchema
from utils.core.tta import PADDING, View, read_views

SCHEMA = KeypointSchema(("left_hand", "right_hand", "nose"), (1, 0, 2), (0.1, 0.1, 0.1))
FLIPS = (None, "horizontal", "vertical")


def candidates(keypoints: int = 3) -> Candidates:
    """Two images with four candidates each."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 4, 2, generator=generator, dtype=torch.float64) * 50
    boxes = torch.cat((low, low + 10 + low / 7), -1)
    points = torch.rand(2, 4, keypoints, 2, generator=generator, dtype=torch.float64) * 90
    certain = torch.rand(2, 4, keypoints, generator=generator, dtype=torch.float64)
    return Candidates(boxes, torch.rand(2, 4, 1, generator=generator), points, certain)


def seen(found: Candidates, view: View, schema: KeypointSchema) -> Candidates:
    """The same candidates as a network would report them from the view: flipped, then scaled."""
    height, width = view.size
    flip = {"horizontal": mirror(width), "vertical": upside_down(height), None: scaling(1, 1)}[view.flip]
    there = chain(flip, scaling(int(width * view.scale) / width, int(height * view.scale) / height))
    order = list(schema.swap) if view.flip == "horizontal" else list(range(schema.count))
    return Candidates(
        boxes=move_boxes(found.boxes, there),
        scores=found.scores,
        keypoints=move_points(found.keypoints, there)[:, :, order],
        keypoint_scores=found.keypoint_scores[:, :, order],
    )


@given(st.floats(0.1, 4), st.sampled_from(FLIPS), st.integers(10, 1000), st.integers(10, 1000))
def test_what_is_seen_in_a_view_leads_back_to_the_exact_place(scale: float, flip: str, height: int, width: int) -> None:
    view, there = View(scale, flip, (height, width)), candidates()
    back = view.undo(seen(there, view, SCHEMA), SCHEMA)
    for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
        torch.testing.assert_close(getattr(back, name), getattr(there, name), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.83, 1.3])
@pytest.mark.parametrize("size", [(64, 96), (61, 97)])
def test_a_spot_painted_in_the_image_is_found_where_it_was_painted(
    flip: str | None, scale: float, size: tuple[int, int]
) -> None:
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    painted = torch.exp(-((columns - 30.5) ** 2 + (rows - 20.5) ** 2) / 18)[None, None]
    view = View(scale, flip).of(painted)
    image = view.apply(painted, stride=32)[0, 0]
    image = image[: int(height * scale), : int(width * scale)]  # without the fill
    rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 for side in image.shape), indexing="ij")
    spot = torch.stack(((image * columns).sum(), (image * rows).sum())) / image.sum()
    found = Candidates(torch.zeros(1, 1, 4), torch.zeros(1, 1, 1), spot.view(1, 1, 1, 2), torch.zeros(1, 1, 1))
    back = view.undo(found, KeypointSchema.unnamed(1)).keypoints.flatten()
    torch.testing.assert_close(back, torch.tensor([30.5, 20.5]), atol=0.03, rtol=0)


def test_left_becomes_right_in_a_mirror_and_stays_left_upside_down() -> None:
    """Hands at x = 10 and 30 in a mirror of a 100 wide image: at 90 and 70 in truth, and exchanged."""
    hands = torch.tensor([[[[10.0, 5.0], [30.0, 5.0], [20.0, 5.0]]]])
    found = Candidates(
        torch.tensor([[[5.0, 0.0, 35.0, 40.0]]]), torch.ones(1, 1, 1), hands, torch.tensor([[[0.1, 0.2, 0.3]]])
    )
    mirrored = View(flip="horizontal", size=(50, 100)).undo(found, SCHEMA)
    assert mirrored.keypoints.tolist() == [[[[70, 5], [90, 5], [80, 5]]]]
    torch.testing.assert_close(mirrored.keypoint_scores, torch.tensor([[[0.2, 0.1, 0.3]]]))
    assert mirrored.boxes.tolist() == [[[65, 0, 95, 40]]]
    turned = View(flip="vertical", size=(50, 100)).undo(found, SCHEMA)
    assert turned.keypoints.tolist() == [[[[10, 45], [30, 45], [20, 45]]]]
    assert torch.equal(turned.keypoint_scores, found.keypoint_scores)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("keypoints", [0, 1, 5])
def test_views_of_nobody_and_of_people_without_keypoints_lead_back_too(flip: str | None, keypoints: int) -> None:
    schema, view = KeypointSchema.unnamed(keypoints), View(0.5, flip, (64, 64))
    nobody = Candidates(
        torch.zeros(2, 0, 4), torch.zeros(2, 0, 1), torch.zeros(2, 0, keypoints, 2), torch.zeros(2, 0, keypoints)
    )
    assert view.undo(nobody, schema).keypoints.shape == (2, 0, keypoints, 2)
    assert view.undo(candidates(keypoints), schema).keypoints.shape == (2, 4, keypoints, 2)


def test_the_plain_view_touches_nothing() -> None:
    images, found = torch.rand(1, 3, 7, 9), candidates()
    assert View().is_plain and View().apply(images, stride=32) is images
    assert View().undo(found, SCHEMA) is found


def test_a_scaled_view_is_filled_up_to_whole_strides_with_grey() -> None:
    viewed = View(0.5).apply(torch.ones(1, 3, 50, 70), stride=32)
    assert viewed.shape == (1, 3, 32, 64)
    assert (viewed[:, :, :25, :35] == 1).all()
    assert (viewed[:, :, 25:] == PADDING).all() and (viewed[:, :, :, 35:] == PADDING).all()


def test_a_flipped_view_keeps_the_size_of_the_image() -> None:
    images = torch.arange(6.0).view(1, 1, 2, 3)
    assert View(flip="horizontal").apply(images, stride=32).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
    assert View(flip="vertical").apply(images, stride=32).tolist() == [[[[3, 4, 5], [0, 1, 2]]]]


def test_a_view_that_does_not_know_the_size_is_a_mistake_in_the_program() -> None:
    with pytest.raises(AssertionError, match="must know the size"):
        View(0.5).undo(candidates(), SCHEMA)


# ---------------------------------------------------------------------------------------------- flags


def test_scales_and_flips_are_read_as_users_of_yolov5_type_them() -> None:
    assert read_views([0.8, 1, 1.2], [-1, 3, 2]) == (View(0.8), View(1.0, "horizontal"), View(1.2, "vertical"))
    assert read_views([1], []) == (View(),)
    assert read_views([1, 2], []) == (View(), View(2.0))


@pytest.mark.parametrize(
    ("scales", "flips", "sentence"),
    [
        ([1, 1], [3], "--flips: 1 values but 2 --scales; give one flip for each scale"),
        ([1], [0], r"--flips: found 0; expected -1 \(none\), 2 \(upside down\) or 3 \(left and right\)"),
        ([0], [], "--scales: found 0; expected 0.1 to 4"),
        ([1, -1], [], "--scales: found -1; expected 0.1 to 4"),
        ([640], [], "--scales: found 640; expected 0.1 to 4"),
        ([float("nan")], [], "--scales: found nan; expected 0.1 to 4"),
        ([], [], "--scales: found nothing; expected at least one"),
    ],
)
def test_wrong_scales_and_flips_are_one_sentence(scales: list[float], flips: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_views(scales, flips)
