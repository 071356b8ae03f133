"""mmpose's own YOLOX-Pose training against its numbers: mosaic, movement, mixup and filter; then the letterbox."""

from pathlib import Path

import numpy as np

from models.yolox_head import LETTERBOXES
from tests.data.test_original_augmentation import COCO, EVERYBODY, Stage, assert_same_people, numbers, recipe
from utils.core import images
from utils.core.poses import untouched
from utils.data.augment import alone, blend, mosaic, place_mixed
from utils.data.recipe import Movement
from utils.data.sample import Limits, People, Sample, kept, sample_of

SIZE = (128, 128)


def recorded(arrays: dict[str, np.ndarray], step: str) -> Sample:
    """There whoever has left the picture stays until the filter, without an extent; here they go at once."""
    boxes, keypoints, visible, areas = (
        arrays[f"{step}/{name}"] for name in ("bbox", "keypoints", "keypoints_visible", "area")
    )
    people = People(boxes, keypoints, visible.astype(np.uint8), areas, np.zeros(len(boxes)))
    extent = boxes[:, 2:] - boxes[:, :2]
    return sample_of(arrays[f"{step}/img"], people.chosen((extent > 0).all(1)), untouched(0, "", SIZE))


def test_mosaic_movement_mixup_and_filter_leave_the_same_people_with_the_same_areas(shared: Path) -> None:
    """The same four pictures and draws as the project's, moved about the middle of the input instead of the corner."""
    facts, arrays = numbers(shared, "yolox_pose/public/core_stage1.json")
    stage, draws = Stage(shared), facts["C1"]
    movement = Movement(draws["scale"], draws["rotate"], tuple(draws["shear"]), tuple(draws["offset"]), about="output")
    sample = mosaic(stage.source, (0, 1, 2, 3), stage.tiles, size=SIZE, movement=movement, augment=EVERYBODY)
    room = int(128 * draws["jit"]) - 128
    y, x = ((offset + 0.5) / room for offset in draws["offs"])
    matrix = place_mixed(stage.source.size(4), SIZE, scale=draws["jit"], flip=True, where=(x, y))
    second = alone(stage.source, 4, matrix, SIZE, EVERYBODY.limits).renamed(COCO)
    mixed = blend(sample, second, 0.5)
    limits = Limits(side=1, area=0, aspect=float("inf"), seen=True)
    left = mixed.chosen(kept(mixed, mixed.boxes, limits))
    for found, step in ((sample, "2_affine"), (mixed, "3_mixup"), (left, "4_filter")):
        expected = recorded(arrays, f"C1/{step}")
        if step != "2_affine":  # it mirrors pixel numbers, W - 1 - x, where we mirror the picture, W - x
            expected.boxes[-len(second) :, [0, 2]] += 1
            expected.keypoints[-len(second) :, :, 0] += 1
        assert_same_people(found, expected)
        np.testing.assert_allclose(found.areas, expected.areas, rtol=0.02)  # there sides are rounded after areas


def test_the_second_stage_is_the_exact_letterbox_with_its_people(shared: Path) -> None:
    arrays = np.load(shared / "fixtures/yolox_pose/public/core_stage2.npz")
    made = recipe(shared, "yolox_pose")
    values = made.make_targets(1106, 100, 150, [3])[0]
    people = People(values["bboxes"], values["keypoints"], values["keypoints_visible"], values["areas"], np.zeros(3))
    found, matrix = images.fit(made.make_image(106, 100, 150), SIZE, LETTERBOXES["centre"])
    assert np.abs(found.astype(int) - arrays["stage2/img"]).max() <= 1
    np.testing.assert_allclose(matrix[:2], arrays["stage2/warp_mat"], atol=1e-6)
    expected, moved = recorded(arrays, "stage2"), people.carried(matrix)
    assert_same_people(moved, expected)
    np.testing.assert_allclose(moved.boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(moved.areas, expected.areas, rtol=1e-5)
