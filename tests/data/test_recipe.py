import pytest

from utils.data.recipe import Augment

INFINITE = float("inf")
# The published recipes, as they stand in a hyp YAML beside the optimiser's keys.
YOLO_POSE = {"hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4, "translate": 0.1, "scale": 0.5, "fliplr": 0.5, "mosaic": 1}
YOLO_POSE_FINETUNE = {
    "hsv_h": 0.0138,
    "hsv_s": 0.664,
    "hsv_v": 0.464,
    "degrees": 0.373,
    "translate": 0.245,
    "scale": 0.898,
    "shear": 0.602,
    "flipud": 0.00856,
    "fliplr": 0.5,
    "mosaic": 1,
    "mixup": 0.243,
}
KAPAO = {**YOLO_POSE, "scale": 0.9, "labelled_only": False}
YOLOX_POSE = {
    "mosaic": 1,
    "mixup": 1,
    "mixup_style": "image",
    "mixup_scale": [0.8, 1.6],
    "degrees": 10,
    "translate": 0.1,
    "scale": [0.75, 1.0],
    "shear": 2,
    "about": "origin",
    "hsv_add": [5, 30, 30],
    "fliplr": 0.5,
    "min_side": 1,
    "min_area": 0,
    "max_aspect": INFINITE,
    "needs_keypoint": True,
}
HRNET = {
    "half_body": 0.3,
    "half_body_over": 8,
    "crop_scale": 0.35,
    "rotation": 45,
    "rotation_chance": 0.6,
    "fliplr": 0.5,
}


@pytest.mark.parametrize("values", [YOLO_POSE, YOLO_POSE_FINETUNE, KAPAO, YOLOX_POSE, HRNET])
def test_every_published_recipe_can_be_written_down(values):
    recipe = Augment.from_values(values, "hyp.yaml")
    assert all(
        getattr(recipe, key) in (value, tuple(value) if isinstance(value, list) else value)
        for key, value in values.items()
    )
    assert set(values) <= set(Augment.keys())
    assert recipe.plain().scale_range == (1, 1)
