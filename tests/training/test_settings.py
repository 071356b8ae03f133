"""Recipes: the published values, the keys of each reader, and what is said about a wrong one."""

from dataclasses import dataclass, replace

import pytest
import torch

from models import families
from tests.training.small import QUICK
from utils.training.learner import choose_dtype
from utils.training.settings import TrainSettings, read_recipe, share_out

KEYS = ("lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
PUBLISHED = {
    "hyp.scratch.yaml": [0.01, 0.2, 0.937, 0.0005, 3.0, 0.8, 0.1],
    "hyp.scratch_lite.yaml": [0.0032, 0.2, 0.937, 0.0005, 3.0, 0.8, 0.1],
    "hyp.finetune.yaml": [0.0032, 0.12, 0.843, 0.00036, 2.0, 0.5, 0.05],
}
GAIN_KEYS = ("box", "kpt", "cls", "cls_pw", "obj", "obj_pw", "anchor_t", "fl_gamma")
GAINS = {
    "hyp.scratch.yaml": [0.05, 0.1, 0.5, 1.0, 1.0, 1.0, 4.0, 0.0],
    "hyp.scratch_lite.yaml": [0.05, 0.1, 0.5, 1.0, 1.0, 1.0, 4.0, 0.0],
    "hyp.finetune.yaml": [0.0296, 0.1, 0.243, 0.631, 0.301, 0.911, 2.91, 0.0],
}
KEPT_AS_PUBLISHED = {"kpt_sharpness": 2.0, "kpt_tail": 0.0}  # constants of the original's source, settings here
AUGMENT = {
    "hyp.scratch.yaml": [0.015, 0.7, 0.4, 0.0, 0.1, 0.5, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0],
    "hyp.scratch_lite.yaml": [0.015, 0.7, 0.4, 0.0, 0.1, 0.5, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0],
    "hyp.finetune.yaml": [0.0138, 0.664, 0.464, 0.373, 0.245, 0.898, 0.602, 0.0, 0.00856, 0.5, 1.0, 0.243],
}


@dataclass(frozen=True)
class Augment:
    """The keys of the augmentation, as its own pillar reads them."""

    hsv_h: float
    hsv_s: float
    hsv_v: float
    degrees: float
    translate: float
    scale: float
    shear: float
    perspective: float
    flipud: float
    fliplr: float
    mosaic: float
    mixup: float


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_recipes_hold_the_published_values(name: str) -> None:
    gains_type = families.find("yolo_pose").gains_type
    training, gains, augment = read_recipe(name, TrainSettings, gains_type, Augment)
    assert training == dict(zip(KEYS, PUBLISHED[name], strict=True))
    assert gains == dict(zip(GAIN_KEYS, GAINS[name], strict=True)) | KEPT_AS_PUBLISHED
    assert list(augment.values()) == AUGMENT[name]
    TrainSettings.from_values(training, name)


def test_the_defaults_are_those_of_the_published_recipe() -> None:
    training, _, _ = read_recipe("hyp.scratch.yaml", TrainSettings, families.find("yolo_pose").gains_type, Augment)
    assert TrainSettings.from_values(training, "hyp") == TrainSettings()


def test_a_key_that_nobody_reads_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"my\.yaml: no key 'momemtum'; did you mean 'momentum'\?"):
        share_out({"momemtum": 0.9}, "my.yaml", [TrainSettings])


def test_recipes_of_the_originals_may_keep_their_idle_keys_but_not_wake_them() -> None:
    assert share_out({"iou_t": 0.2, "copy_paste": 0.0}, "their.yaml", [TrainSettings]) == [{}]
    with pytest.raises(ValueError, match=r"their\.yaml: copy_paste: found 0\.3; people are not copied here"):
        share_out({"copy_paste": 0.3}, "their.yaml", [TrainSettings])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs: found 0; expected 1 or more"),
        ("lr0", -1.0, "lr0: found -1.0; expected a number above 0"),
        ("momentum", 1.0, "momentum: found 1.0; expected a share from 0 to below 1"),
        ("lrf", 2.0, "lrf: found 2.0; expected a share above 0, at most 1"),
        ("optimizer", "Lion", "optimizer: found 'Lion'; expected SGD or Adam or AdamW"),
        ("multi_scale", [1.5, 0.5], r"multi_scale: found \[1.5, 0.5\]; expected two shares, the smaller first"),
        ("patience", "long", "patience: found 'long'; expected a whole number"),
        ("seed", -1, "seed: found -1; expected 0 or more"),
    ],
)
def test_a_wrong_value_is_told_with_the_right_ones(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^my.yaml: {message}"):
        TrainSettings.from_values({key: value}, "my.yaml")


def test_half_precision_is_chosen_for_the_machine_and_refused_where_it_does_not_exist() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("auto", cpu) == torch.float32
    assert choose_dtype("bf16", cpu) == torch.bfloat16
    with pytest.raises(ValueError, match="precision: fp16 needs a GPU; on the CPU use bf16 or fp32"):
        choose_dtype("fp16", cpu)


def test_settings_cannot_be_changed_after_they_are_made() -> None:
    with pytest.raises(AttributeError):
        QUICK.lr0 = 1.0
    assert replace(QUICK, lr0=1.0).lr0 == 1.0
