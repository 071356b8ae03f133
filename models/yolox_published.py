"""Published YOLOX-Pose checkpoints: what mmpose, MMYOLO and TI call each weight, and which network it makes."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from utils.core.contract import ModelSpec, Row
from utils.core.published import Published
from utils.core.schema import KeypointSchema

# The rows of models/configs/yolox_*.yaml: source and layer; how wide and how deep each is, the weights say.
ROWS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((-1,), "Focus"), ((-1,), "Conv"), ((-1,), "C3"), ((-1,), "Conv"), ((-1,), "C3"), ((-1,), "Conv"), ((-1,), "C3"),
    ((-1,), "Conv"), ((-1,), "SPP"), ((-1,), "C3"), ((-1,), "Conv"), ((-1,), "Upsample"), ((-1, 6), "Concat"),
    ((-1,), "C3"), ((-1,), "Conv"), ((-1,), "Upsample"), ((-1, 4), "Concat"), ((-1,), "C3"), ((-1,), "Conv"),
    ((-1, 14), "Concat"), ((-1,), "C3"), ((-1,), "Conv"), ((-1, 10), "Concat"), ((-1,), "C3"), ((17,), "Conv"),
    ((20,), "Conv"), ((23,), "Conv"),
)  # fmt: skip
HEAD_ROWS = (24, 25, 26)
HALVING = (1, 3, 5, 7, 18, 21)  # rows of 3x3 convolutions with stride 2
RESIDUAL = (2, 4, 6)  # blocks that add their input

# Where each original keeps the rows, except for its stem.
_MMPOSE_BACKBONE = {
    "backbone.stage1.0": 1, "backbone.stage1.1": 2, "backbone.stage2.0": 3, "backbone.stage2.1": 4,
    "backbone.stage3.0": 5, "backbone.stage3.1": 6, "backbone.stage4.0": 7, "backbone.stage4.1": 8,
    "backbone.stage4.2": 9,
}  # fmt: skip
_PROJECT_NECK = {
    "neck.reduce_layers.2": 10, "neck.top_down_layers.0.0": 13, "neck.top_down_layers.0.1": 14,
    "neck.top_down_layers.1": 17, "neck.downsample_layers.0": 18, "neck.bottom_up_layers.0": 20,
    "neck.downsample_layers.1": 21, "neck.bottom_up_layers.1": 23, "neck.out_layers.0": 24, "neck.out_layers.1": 25,
    "neck.out_layers.2": 26,
}  # fmt: skip
_CORE_NECK = {
    "neck.reduce_layers.0": 10, "neck.top_down_blocks.0": 13, "neck.reduce_layers.1": 14, "neck.top_down_blocks.1": 17,
    "neck.downsamples.0": 18, "neck.bottom_up_blocks.0": 20, "neck.downsamples.1": 21, "neck.bottom_up_blocks.1": 23,
    "neck.out_convs.0": 24, "neck.out_convs.1": 25, "neck.out_convs.2": 26,
}  # fmt: skip
_TI = {
    "backbone.backbone.dark2.0": 1, "backbone.backbone.dark2.1": 2, "backbone.backbone.dark3.0": 3,
    "backbone.backbone.dark3.1": 4, "backbone.backbone.dark4.0": 5, "backbone.backbone.dark4.1": 6,
    "backbone.backbone.dark5.0": 7, "backbone.backbone.dark5.1": 8, "backbone.backbone.dark5.2": 9,
    "backbone.lateral_conv0": 10, "backbone.C3_p4": 13, "backbone.reduce_conv1": 14, "backbone.C3_p3": 17,
    "backbone.bu_conv2": 18, "backbone.C3_n3": 20, "backbone.bu_conv1": 21, "backbone.C3_n4": 23, "head.stems.0": 24,
    "head.stems.1": 25, "head.stems.2": 26,
}  # fmt: skip
_BLOCK = {  # the parts of a CSP block or a pyramid, in ours and in theirs
    "main_conv": "cv1", "short_conv": "cv2", "final_conv": "cv3", "blocks": "m", "m": "m",
    "conv1": "cv1", "conv2": "cv2", "conv3": "cv3",
}  # fmt: skip
_TOWERS = {
    r"bbox_head\.head_module\.multi_level_cls_convs": "class_tower", r"head\.head_module\.conv_cls": "class_tower",
    r"head\.cls_convs": "class_tower", r"bbox_head\.head_module\.multi_level_reg_convs": "box_tower",
    r"head\.head_module\.conv_reg": "box_tower", r"head\.reg_convs": "box_tower",
    r"bbox_head\.head_module\.multi_level_pose_convs": "pose_tower", r"head\.head_module\.conv_pose": "pose_tower",
    r"head\.kpts_convs": "pose_tower",
    r"bbox_head\.head_module\.multi_level_conv_cls": "classes", r"head\.head_module\.out_cls": "classes",
    r"head\.cls_preds": "classes", r"bbox_head\.head_module\.multi_level_conv_reg": "box",
    r"head\.head_module\.out_bbox": "box", r"head\.reg_preds": "box",
    r"bbox_head\.head_module\.multi_level_conv_obj": "object", r"head\.head_module\.out_obj": "object",
    r"head\.obj_preds": "object", r"bbox_head\.head_module\.multi_level_conv_offsets": "keypoints",
    r"head\.head_module\.out_kpt": "keypoints", r"head\.kpts_preds": "keypoints",
    r"bbox_head\.head_module\.multi_level_conv_vis": "visibility", r"head\.head_module\.out_kpt_vis": "visibility",
}  # fmt: skip


def _names_of_rows() -> list[tuple[str, str]]:
    """Patterns for every row: a convolution's own weights, and those of the parts of a block."""
    found = []
    for prefix, row in (_MMPOSE_BACKBONE | _PROJECT_NECK | _CORE_NECK | _TI).items():
        start = "^" + re.escape(prefix) + r"\."
        if ROWS[row][1] == "Conv":
            found.append((start + r"(conv|bn)\.", rf"body.layers.{row}.\1."))
            continue
        for theirs in ("blocks", "m"):
            for part in ("conv1", "conv2"):
                pattern = start + rf"{theirs}\.(\d+)\.{part}\."
                found.append((pattern, rf"body.layers.{row}.m.\1.{_BLOCK[part]}."))
        for theirs in ("main_conv", "short_conv", "final_conv", "conv1", "conv2", "conv3"):
            found.append((start + theirs + r"\.", f"body.layers.{row}.{_BLOCK[theirs]}."))
    return found


PUBLISHED_NAMES: tuple[tuple[str, str], ...] = (
    (r"sigmas$", ""),  # they belong to the data
    (r"^(?:backbone\.)?backbone\.stem\.0\.", "body.layers.0.conv_slice."),  # TI's ti_lite
    (r"^(?:backbone\.)?backbone\.stem\.1\.", "body.layers.0.conv."),
    (r"^(?:backbone\.)?backbone\.stem\.conv\.", "body.layers.0.conv."),
    *_names_of_rows(),
    *((rf"^{theirs}\.(\d+)\.", rf"head.{ours}.\1.") for theirs, ours in _TOWERS.items()),
)

# A name that each original has: keypoints of the head, and how it puts images into the input.
_ORIGINALS = {
    "bbox_head.head_module.multi_level_conv_offsets.0.weight": ("offsets", True, "corner"),
    "head.head_module.out_kpt.0.weight": ("offsets", False, "centre"),
    "head.kpts_preds.0.weight": ("doubled", False, "corner_down"),
}


def recognise_yolox(published: Published) -> ModelSpec | None:
    """The spec of a checkpoint of mmpose, MMYOLO or TI; they are plain state dicts, and shapes say the rest."""
    if published.module is not None:
        return None
    tensors = published.tensors()
    sign = next((name for name in _ORIGINALS if name in tensors), None)
    if sign is None:
        return None
    kind, prior, letterbox = _ORIGINALS[sign]
    ours = _renamed(tensors)
    activation = "relu" if "body.layers.0.conv_slice.conv.weight" in ours else "silu"  # only ti_lite has neither
    outputs = ours["head.keypoints.0.weight"].shape[0]
    classes = ours["head.classes.0.weight"].shape[0]
    head: dict[str, Any] = {
        "inputs": HEAD_ROWS,
        "pose_depth": len({name.split(".")[3] for name in ours if name.startswith("head.pose_tower.0.")}),
        "keypoints": kind,
        "visibility_prior": prior,
        "letterbox": letterbox,
        "activation": activation,
    }
    return ModelSpec(
        family="yolox_pose",
        schema=KeypointSchema.of_weights(outputs // (3 if kind == "doubled" else 2)),
        classes=("person",) if classes == 1 else tuple(f"class_{i}" for i in range(classes)),
        rows=tuple(_row(index, ours, activation) for index in range(len(ROWS))),
        head=head,
    )


def _renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in PUBLISHED_NAMES:
            if re.search(pattern, name):
                found[re.sub(pattern, replacement, name)] = tensor
                break
    return found


def _row(index: int, ours: Mapping[str, torch.Tensor], activation: str) -> Row:
    """One row of the network, as wide and as deep as its weights are."""
    source, layer = ROWS[index]
    if layer == "Upsample":
        return Row(source, 1, layer, (2,))
    if layer == "Concat":
        return Row(source, 1, layer)
    last = {"C3": "cv3.conv", "SPP": "cv2.conv"}.get(layer, "conv.conv" if index == 0 else "conv")
    key = f"body.layers.{index}.{last}.weight"
    if key not in ours:
        raise ValueError(f"row {index} ({layer}) has no weights; the file is not a whole yolox_pose checkpoint")
    width = ours[key].shape[0]
    options: dict[str, Any] = {"activation": activation}
    if index == 0:
        if activation == "relu":
            return Row(source, 1, "ConvFocus", (width, 3), options)
        return Row(source, 1, "Focus", (width, 3), {**options, "order": "columns"})
    if layer == "SPP":
        return Row(source, 1, layer, (width, (5, 9, 13)), options)
    if layer == "Conv":
        return Row(source, 1, layer, (width, 3, 2) if index in HALVING else (width, 1, 1), options)
    blocks = {name.split(".")[4] for name in ours if name.startswith(f"body.layers.{index}.m.")}
    return Row(source, len(blocks), layer, (width, index in RESIDUAL), options)
