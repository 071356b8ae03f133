"""YOLO-Pose: each anchor proposes a person, box and keypoints together, and learns them by CIoU and OKS.

Maji et al., "YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using Object Keypoint Similarity Loss", 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from models.anchors import Matches, anchor_places, boxes_from_raw, last_writer, match_anchors
from models.graph import Graph
from models.losses import OBJECTNESS_WEIGHTS, class_loss, complete_iou, cross_entropy, heat_loss, keypoint_loss
from models.pickled import read_network
from models.pose_head import BOX, HeadSettings, PoseHead, anchor_table, heat_branch
from models.selection import select_by_box
from utils.core.config import into
from utils.core.contract import DetectionLayer, ModelSpec, PoseModel
from utils.core.geometry import cxcywh_to_xyxy, xyxy_to_cxcywh
from utils.core.oks import oks
from utils.core.poses import Candidates, Poses, Targets
from utils.core.published import Published
from utils.core.schema import KeypointSchema
from utils.core.tta import View


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
    obj_kpt: float = 0.0  # share of the keypoints' OKS in what objectness learns; the rest is the box's IoU
    heat: float = 0.0  # above 0 the finest level also learns where every keypoint is, as a map; nothing decodes it


@dataclass(frozen=True)
class Selection:
    conf: float = 0.25
    iou: float = 0.45
    max_poses: int = 300
    agnostic: bool = False  # people of different classes are rivals too


class Model(PoseModel):
    """Raw output: per level one map (B, anchors * slots, H, W), anchor after anchor; with `heat` one (B, K, H, W) more.

    The map of the keypoints is an aid to learning: it teaches the trunk what a wrist looks like from the first step on,
    long before a person's anchors know where to look for one.
    """

    published_names = (
        (r"^model\.\d+\.m\.(\d+)\.(weight|bias)$", r"head.box.\1.\2"),
        (r"^model\.\d+\.m_kpt\.(\d+)\.", r"head.keypoint.\1."),
        (r"^model\.\d+\.(anchors|anchor_grid)$", ""),  # they are in the spec
        (r"^model\.(\d+)\.", r"body.layers.\1."),
    )
    gains_type = Gains
    select_type = Selection
    usual_recipe = "hyp.limber.yaml"
    learning_aids = ("heat.",)

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.settings = into(HeadSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.selection = into(Selection, spec.select, "select")
        self.body = Graph(spec.rows, self.settings.inputs)
        anchors = anchor_table(self.settings)
        self.head = PoseHead(self.body.channels, anchors.shape[1], spec, self.settings)
        self.head.start_from_priors(self.body.strides)
        self.heat = heat_branch(self.body.channels[0], spec.schema.count) if self.gains.heat else None
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

    @classmethod
    def starting_from(cls, spec: ModelSpec, weights: ModelSpec) -> ModelSpec:
        """Weights of keypoints mean something in the layout alone that they were trained in."""
        if not weights.schema.count:
            return spec
        return replace(spec, head={**spec.head, "layout": into(HeadSettings, weights.head, "head").layout})

    @property
    def stride(self) -> int:
        return max(self.body.strides)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.body(images)
        levels = self.head(features)
        return levels if self.heat is None else (*levels, self.heat(features[0]))

    def slots(self, level: torch.Tensor) -> torch.Tensor:
        """A raw map by anchor and slot: (B, A, slots, H, W)."""
        anchors = self.anchors.shape[1]
        batch, channels, height, width = level.shape
        return level.view(batch, anchors, channels // anchors, height, width)

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]) -> Candidates:
        seen = zip(views, map(self._decode_view, raws), strict=True)
        return Candidates.pooled([view.undo(candidates, self.spec.schema) for view, candidates in seen])

    def _decode_view(self, raw: tuple[torch.Tensor, ...]) -> Candidates:
        raw = raw[: len(self.body.strides)]
        classes = BOX + 1 + len(self.spec.classes)  # where the class slots end
        # Joined first and computed then: one pass over each number. fp16 cannot tell neighbouring pixels apart beyond
        # 2048, so coordinates are always float32.
        slots = torch.cat([self.slots(level).permute(0, 1, 3, 4, 2).flatten(1, 3) for level in raw], 1).float()
        sizes = [(level.shape[-2], level.shape[-1]) for level in raw]
        corner, anchor, stride = anchor_places(sizes, self.body.strides, self.anchors.float())  # (A, 2), (A, 2), (A, 1)
        boxes = boxes_from_raw(slots[..., :BOX], anchor)
        boxes = torch.cat((boxes[..., :2] * stride + corner, boxes[..., 2:]), -1)
        scores = slots[..., BOX:classes].sigmoid()  # (B, A, 1 + C)
        points = slots[..., classes:].unflatten(-1, (self.spec.schema.count, 3))  # (B, A, K, 3)
        # (2 x - 0.5 + column) * stride, in one pass
        keypoints = torch.addcmul((corner - stride / 2)[:, None], points[..., :2], 2 * stride[:, None])
        return Candidates(cxcywh_to_xyxy(boxes), scores[..., :1] * scores[..., 1:], keypoints, points[..., 2].sigmoid())

    def select(self, candidates: Candidates) -> list[Poses]:
        return select_by_box(candidates, self.selection)

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
        maps = raw[: len(self.body.strides)]
        levels = [self._level_loss(i, self.slots(level).float(), targets) for i, level in enumerate(maps)]
        total = {name: torch.stack([level[name] for level in levels]).sum() for name in levels[0]}
        if self.heat is not None:
            total["heat"] = heat_loss(raw[-1].float(), targets, self.body.strides[0])
        batch = len(raw[0])  # the published recipes count on gradients that grow with the batch
        weights = self._weights()
        return {name: value * weights[name] * batch for name, value in total.items()}

    def _weights(self) -> dict[str, float]:
        """The gain of each term for this number of levels, classes and pixels."""
        gains, per_level = self.gains, 3 / len(self.body.strides)
        kind = gains.cls * len(self.spec.classes) / 80 * per_level
        size = (max(self.spec.input_size) / 640) ** 2
        box, objectness = gains.box * per_level, gains.obj * size * per_level
        return {
            "box": box, "object": objectness, "class": kind, "keypoint": gains.kpt, "visibility": kind,
            "heat": gains.heat,
        }  # fmt: skip

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
            points, similarity = self._keypoint_terms(matched, target, targets, found, stride)
            terms |= points
            worth = iou.detach().clamp(min=0)
            worth = worth.lerp(similarity.where(similarity.isfinite(), worth), gains.obj_kpt)
            quality = last_writer(quality, place, worth)
            if classes > 1:
                terms["class"] = class_loss(
                    matched[:, BOX + 1 : BOX + 1 + classes], targets.classes[found.person],
                    smoothing=gains.label_smoothing, positive_weight=gains.cls_pw, focus=gains.fl_gamma,
                )  # fmt: skip
        objectness = cross_entropy(slots[:, :, BOX], quality, positive_weight=gains.obj_pw, focus=gains.fl_gamma)
        terms["object"] = objectness * OBJECTNESS_WEIGHTS[len(self.body.strides)][index]
        return terms

    def _keypoint_terms(
        self, matched: torch.Tensor, target: torch.Tensor, targets: Targets, found: Matches, stride: int
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The terms of keypoints and visibility, and the OKS of each match (M), NaN where no keypoint is labelled."""
        count = self.spec.schema.count
        if count == 0:
            return {}, target.new_full((len(target),), torch.nan)
        points = matched[:, BOX + 1 + len(self.spec.classes) :].unflatten(-1, (count, 3))  # (M, K, 3)
        places = points[..., :2] * 2 - 0.5  # (M, K, 2)
        goal = targets.keypoints[found.person].float() / stride - found.corner[:, None]  # (M, K, 2)
        visible = (targets.visibility[found.person] > 0).float()  # (M, K)
        area = target[:, 2] * target[:, 3]  # of the box, in cells
        keypoint = keypoint_loss(
            places, goal, visible, area, self.sigmas,
            sharpness=self.gains.kpt_sharpness, tail=self.gains.kpt_tail,
        )  # fmt: skip
        seen = cross_entropy(points[..., 2], visible, positive_weight=self.gains.cls_pw, focus=self.gains.fl_gamma)
        similarity = oks(places.detach(), goal, visible, area, self.sigmas).where(visible.any(-1), torch.nan)
        return {"keypoint": keypoint, "visibility": seen}, similarity
