"""YOLO-Pose: each anchor proposes a person, box and keypoints together, and learns them by CIoU and OKS.

Maji et al., "YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using Object Keypoint Similarity Loss", 2022.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.anchors import Matches, boxes_from_raw, cell_corners, match_anchors
from models.graph import Graph
from models.layers import Conv, DWConv
from models.losses import complete_iou, cross_entropy, keypoint_loss
from models.pickled import read_network
from utils.core.config import into
from utils.core.contract import DetectionLayer, ModelSpec, PoseModel
from utils.core.geometry import cxcywh_to_xyxy, xyxy_to_cxcywh
from utils.core.nms import keep_by_box
from utils.core.poses import Candidates, Poses, Targets
from utils.core.published import Published
from utils.core.schema import KeypointSchema
from utils.core.tta import View

BOX = 4  # numbers of a box; objectness follows, then the classes, then x, y and visibility of each keypoint
LEVEL_WEIGHTS = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06), 5: (4.0, 1.0, 0.25, 0.06, 0.02)}  # of objectness


@dataclass(frozen=True)
class HeadSettings:
    inputs: tuple[int, ...]  # rows of the graph, finest first
    anchors: tuple[tuple[float, ...], ...]  # per level: width, height, width, height, ... in pixels
    # published: box and keypoint channels are joined first and cut into anchors then, so that the second and third
    # anchor live in the keypoint branch alone. clean: every anchor has box and keypoint channels of its own.
    layout: Literal["published", "clean"] = "published"
    keypoint_depth: int = 6  # depthwise convolutions in the keypoint branch; 0 for a single 1x1


@dataclass(frozen=True)
class Gains:
    """Weights and constants of the loss, under the names of the hyp YAML."""

    box: float = 0.05
    obj: float = 1.0
    cls: float = 0.5
    kpt: float = 0.10
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    anchor_t: float = 4.0  # a person is at most this many times larger or smaller than an anchor
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0
    kpt_sharpness: float = 2.0  # 1 is COCO's OKS, 2 is what the published weights were trained with
    kpt_tail: float = 0.0  # above 0 far-off keypoints of small people keep a gradient


@dataclass(frozen=True)
class Selection:
    conf: float = 0.25
    iou: float = 0.45
    max_poses: int = 300
    agnostic: bool = False  # people of different classes are rivals too


class Model(PoseModel):
    """Raw output: per level one map (B, anchors * slots, H, W), anchor after anchor."""

    published_names = (
        (r"^model\.\d+\.m\.(\d+)\.(weight|bias)$", r"head.box.\1.\2"),
        (r"^model\.\d+\.m_kpt\.(\d+)\.", r"head.keypoint.\1."),
        (r"^model\.\d+\.(anchors|anchor_grid)$", ""),  # they are in the spec
        (r"^model\.(\d+)\.", r"body.layers.\1."),
    )
    gains_type = Gains

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.settings = into(HeadSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.selection = into(Selection, spec.select, "select")
        self.body = Graph(spec.rows, self.settings.inputs)
        anchors = _anchors(self.settings)
        self.head = Head(self.body.channels, anchors.shape[1], spec, self.settings)
        self.head.start_from_priors(self.body.strides)
        self.register_buffer("anchors", anchors, persistent=False)  # (levels, A, 2) pixels
        self.register_buffer("sigmas", torch.tensor(spec.schema.sigmas), persistent=False)  # (K)

    @classmethod
    def recognise(cls, published: Published) -> ModelSpec | None:
        network = read_network(published)
        if network is None or "num_coords" in network.head.attributes:  # KAPAO's head has those
            return None
        facts = network.head
        branch = facts.children["m_kpt"].children["0"] if "m_kpt" in facts.children else None
        return ModelSpec(
            family="yolo_pose",
            schema=KeypointSchema.of_weights(int(facts.attributes.get("nkpt") or 0)),
            classes=network.class_names,
            rows=network.rows,
            head={
                "inputs": network.inputs,
                "anchors": network.anchors,
                "layout": "published",
                "keypoint_depth": len(branch.children) // 2 if branch else 0,
            },
        )

    @property
    def stride(self) -> int:
        return max(self.body.strides)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.head(self.body(images))

    def slots(self, level: torch.Tensor) -> torch.Tensor:
        """A raw map by anchor and slot: (B, A, slots, H, W)."""
        anchors = self.anchors.shape[1]
        batch, channels, height, width = level.shape
        return level.view(batch, anchors, channels // anchors, height, width)

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]) -> Candidates:
        seen = [Candidates.pooled([self._decode_level(i, level) for i, level in enumerate(raw)]) for raw in raws]
        return Candidates.pooled(
            [view.undo(candidates, self.spec.schema) for view, candidates in zip(views, seen, strict=True)]
        )

    def _decode_level(self, index: int, level: torch.Tensor) -> Candidates:
        stride, classes = self.body.strides[index], len(self.spec.classes)
        # fp16 cannot tell neighbouring pixels apart beyond 2048; coordinates are always float32.
        slots = self.slots(level).permute(0, 1, 3, 4, 2).float()  # (B, A, H, W, slots)
        corner = cell_corners((level.shape[-2], level.shape[-1]), slots)  # (H, W, 2)
        anchors = self.anchors[index][:, None, None].float()  # (A, 1, 1, 2)
        boxes = boxes_from_raw(slots[..., :BOX], anchors / stride)
        boxes = torch.cat((boxes[..., :2] + corner, boxes[..., 2:]), -1) * stride
        scores = slots[..., BOX : BOX + 1 + classes].sigmoid()
        scores = scores[..., :1] * scores[..., 1:]  # (B, A, H, W, C)
        points = slots[..., BOX + 1 + classes :].unflatten(-1, (self.spec.schema.count, 3))  # (B, A, H, W, K, 3)
        keypoints = (points[..., :2] * 2 - 0.5 + corner[..., None, :]) * stride
        return Candidates(
            cxcywh_to_xyxy(boxes).flatten(1, 3),
            scores.flatten(1, 3),
            keypoints.flatten(1, 3),
            points[..., 2].sigmoid().flatten(1, 3),
        )

    def select(self, candidates: Candidates) -> list[Poses]:
        return [self._select_image(candidates, image) for image in range(candidates.boxes.shape[0])]

    def _select_image(self, candidates: Candidates, image: int) -> Poses:
        scores, classes = candidates.scores[image].max(-1)  # (A)
        likely = (scores > self.selection.conf).nonzero()[:, 0]
        rivals = None if self.selection.agnostic or len(self.spec.classes) == 1 else classes[likely]
        boxes, scores = candidates.boxes[image][likely], scores[likely]
        kept = keep_by_box(boxes, scores, rivals, iou=self.selection.iou, limit=self.selection.max_poses)
        chosen = likely[kept]
        return Poses(
            boxes=boxes[kept],
            scores=scores[kept],
            classes=classes[chosen],
            keypoints=candidates.keypoints[image][chosen],
            keypoint_scores=candidates.keypoint_scores[image][chosen],
        )

    def ti_layer(self) -> DetectionLayer:
        return DetectionLayer(
            kind="yolo_v5",
            strides=self.body.strides,
            anchors=tuple(tuple(tuple(anchor) for anchor in level) for level in self.anchors.tolist()),
            classes=len(self.spec.classes),
            keypoints=self.spec.schema.count,
        )

    # ------------------------------------------------------------------------------------------ learning

    def loss(self, raw: tuple[torch.Tensor, ...], targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        levels = [self._level_loss(i, self.slots(level).float(), targets) for i, level in enumerate(raw)]
        total = {name: torch.stack([level[name] for level in levels]).sum() for name in levels[0]}
        batch = len(raw[0])  # the published recipes count on gradients that grow with the batch
        return {
            name: value * weight * batch for (name, value), weight in zip(total.items(), self._weights(), strict=True)
        }

    def _weights(self) -> tuple[float, ...]:
        """Gains of box, object, class, keypoint and visibility for this number of levels, classes and pixels."""
        gains, per_level = self.gains, 3 / len(self.body.strides)
        kind = gains.cls * len(self.spec.classes) / 80 * per_level
        size = (max(self.spec.input_size) / 640) ** 2
        return gains.box * per_level, gains.obj * size * per_level, kind, gains.kpt, kind

    def _level_loss(self, index: int, slots: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """The five terms of one level before weighting: slots (B, A, slots, H, W)."""
        gains, stride, classes = self.gains, self.body.strides[index], len(self.spec.classes)
        zero = slots.new_zeros(())
        terms = {"box": zero, "object": zero, "class": zero, "keypoint": zero, "visibility": zero}
        boxes_grid = xyxy_to_cxcywh(targets.boxes.float()) / stride  # (N, 4)
        anchors_grid = self.anchors[index] / stride  # (A, 2)
        size = (slots.shape[-2], slots.shape[-1])
        found = match_anchors(boxes_grid, anchors_grid, size, ratio_limit=gains.anchor_t)
        quality = torch.zeros_like(slots[:, :, BOX])  # (B, A, H, W): how well each anchor's box fits its person
        if len(found):
            image = targets.image_index[found.person]
            matched = slots[image, found.anchor, :, found.row, found.column]  # (M, slots)
            target = boxes_grid[found.person]
            target = torch.cat((target[:, :2] - found.corner, target[:, 2:]), -1)  # (M, 4) relative to the cell
            iou = complete_iou(boxes_from_raw(matched[:, :BOX], anchors_grid[found.anchor]), target)  # (M)
            terms["box"] = (1 - iou).mean()
            place = (image, found.anchor, found.row, found.column)
            quality = _last_writer(quality, place, iou.detach().clamp(min=0))
            terms |= self._keypoint_terms(matched, target, targets, found, stride)
            if classes > 1:
                terms["class"] = self._class_term(
                    matched[:, BOX + 1 : BOX + 1 + classes], targets.classes[found.person]
                )
        objectness = cross_entropy(slots[:, :, BOX], quality, positive_weight=gains.obj_pw, focus=gains.fl_gamma)
        terms["object"] = objectness * LEVEL_WEIGHTS[len(self.body.strides)][index]
        return terms

    def _keypoint_terms(
        self, matched: torch.Tensor, target: torch.Tensor, targets: Targets, found: Matches, stride: int
    ) -> dict[str, torch.Tensor]:
        count = self.spec.schema.count
        if count == 0:
            return {}
        points = matched[:, BOX + 1 + len(self.spec.classes) :].unflatten(-1, (count, 3))  # (M, K, 3)
        goal = targets.keypoints[found.person].float() / stride - found.corner[:, None]  # (M, K, 2)
        visible = (targets.visibility[found.person] > 0).float()  # (M, K)
        area = target[:, 2] * target[:, 3]  # of the box, in cells
        keypoint = keypoint_loss(
            points[..., :2] * 2 - 0.5, goal, visible, area, self.sigmas,
            sharpness=self.gains.kpt_sharpness, tail=self.gains.kpt_tail,
        )  # fmt: skip
        seen = cross_entropy(points[..., 2], visible, positive_weight=self.gains.cls_pw, focus=self.gains.fl_gamma)
        return {"keypoint": keypoint, "visibility": seen}

    def _class_term(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        smoothing = self.gains.label_smoothing
        target = torch.full_like(logits, smoothing / 2)
        target.scatter_(1, classes[:, None], 1 - smoothing / 2)
        return cross_entropy(logits, target, positive_weight=self.gains.cls_pw, focus=self.gains.fl_gamma)


class Head(nn.Module):
    """Two branches on each level: a 1x1 for boxes, a chain of depthwise convolutions for keypoints."""

    def __init__(self, channels: Sequence[int], anchors: int, spec: ModelSpec, settings: HeadSettings) -> None:
        super().__init__()
        self.anchors = anchors
        self.clean = settings.layout == "clean"
        self.classes = len(spec.classes)
        keypoints = spec.schema.count
        self.box = nn.ModuleList(nn.Conv2d(c, anchors * (BOX + 1 + self.classes), 1) for c in channels)
        self.keypoint = nn.ModuleList(
            _keypoint_branch(c, anchors * 3 * keypoints, settings.keypoint_depth) for c in channels if keypoints
        )

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if not len(self.keypoint):
            return tuple(box(x) for x, box in zip(features, self.box, strict=True))
        return tuple(
            self._join(box(x), keypoint(x)) for x, box, keypoint in zip(features, self.box, self.keypoint, strict=True)
        )

    def _join(self, box: torch.Tensor, keypoint: torch.Tensor) -> torch.Tensor:
        if not self.clean:
            return torch.cat((box, keypoint), 1)
        pairs = zip(box.chunk(self.anchors, 1), keypoint.chunk(self.anchors, 1), strict=True)
        return torch.cat([part for pair in pairs for part in pair], 1)

    def start_from_priors(self, strides: Sequence[int]) -> None:
        """Biases that begin with eight people in an image of 640, and class probabilities near 0.6 of a share."""
        for conv, stride in zip(self.box, strides, strict=True):
            bias = conv.bias.detach().view(self.anchors, -1)
            bias[:, BOX] += math.log(8 / (640 / stride) ** 2)
            bias[:, BOX + 1 :] += math.log(0.6 / (self.classes - 0.99))


def _keypoint_branch(channels: int, outputs: int, depth: int) -> nn.Module:
    """Depthwise 3x3 and pointwise 1x1 in turn, then the output; depth 0 is the output alone."""
    output = nn.Conv2d(channels, outputs, 1)
    if depth == 0:
        return output
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [DWConv(channels, channels, 3), Conv(channels, channels)]
    return nn.Sequential(*layers[:-1], output)


def _anchors(settings: HeadSettings) -> torch.Tensor:
    """(levels, A, 2) in pixels, checked against the levels of the head."""
    counts = {len(level) for level in settings.anchors}
    if len(settings.anchors) != len(settings.inputs):
        raise ValueError(f"head: {len(settings.inputs)} inputs but anchors for {len(settings.anchors)} levels")
    if len(settings.inputs) not in LEVEL_WEIGHTS:
        raise ValueError(f"head: {len(settings.inputs)} inputs found; expected 3 to 5")
    if len(counts) != 1 or counts.pop() % 2 or min(min(level, default=0) for level in settings.anchors) <= 0:
        raise ValueError("head: anchors: expected as many width, height pairs on every level, all above 0")
    return torch.tensor(settings.anchors).view(len(settings.anchors), -1, 2)


def _last_writer(
    canvas: torch.Tensor, place: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Values put into their places; where two persons share one, the later wins, on every device alike."""
    flat = place[0]
    for index, length in zip(place[1:], canvas.shape[1:], strict=True):
        flat = flat * length + index
    order = torch.arange(len(values), device=values.device)
    writer = torch.full((canvas.numel(),), -1, device=values.device).scatter_reduce(0, flat, order, "amax")
    wins = writer[flat] == order
    return canvas.flatten().index_put((flat[wins],), values[wins].to(canvas.dtype)).view_as(canvas)
