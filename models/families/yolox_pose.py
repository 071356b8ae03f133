"""YOLOX-Pose: every cell may propose a person, and SimOTA decides which ones learn.

Maji et al., "YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using Object Keypoint Similarity Loss", 2022,
on Ge et al., "YOLOX: Exceeding YOLO Series in 2021". Published by mmpose (a project, later its core), MMYOLO and TI.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from models.graph import Graph
from models.losses import complete_iou, heat_loss
from models.pose_head import heat_branch
from models.selection import select_by_box
from models.simota import Costs, Pairs, People, Predicted, assign
from models.yolox_head import (
    LETTERBOXES,
    Grid,
    HeadSettings,
    Slots,
    YoloxHead,
    boxes_of,
    grid_of,
    keypoints_of,
    slots_of,
)
from models.yolox_published import PUBLISHED_NAMES, recognise_yolox
from utils.core.config import into
from utils.core.contract import DetectionLayer, ModelSpec, PoseModel
from utils.core.distributed import mean_over_ranks
from utils.core.geometry import box_areas, xyxy_to_cxcywh
from utils.core.nms import keep_ranked_by_oks
from utils.core.oks import oks_exponent
from utils.core.poses import Candidates, Poses, Targets
from utils.core.published import Published
from utils.core.tta import View


@dataclass(frozen=True)
class Gains:
    """Weights and constants of the loss, under the names of the hyp YAML; the defaults are MMYOLO's."""

    box: float = 5.0
    obj: float = 1.0
    cls: float = 1.0
    kpt: float = 30.0
    vis: float = 1.0
    l1: float = 1.0  # of the raw box numbers, in the end of the training
    l1_from: float = 0.93  # share of the training from which on it counts: 279 of 300 epochs
    cost_iou: float = 3.0  # what counts when persons choose their cells
    cost_oks: float = 3.0  # 0: boxes alone
    count_by: Literal["iou", "oks"] = "iou"  # which similarity decides how many cells a person gets
    half_cell: bool = True  # a cell stands at its middle, not at its corner
    # What distances of keypoints are measured against: the diagonal of the box, the annotated area as COCO does it, or
    # the area of the box.
    oks_scale: Literal["diagonal", "area", "box"] = "diagonal"
    kpt_mean: Literal["person", "keypoint"] = "person"  # over what the keypoint term is averaged
    vis_mean: Literal["visible", "all"] = "visible"  # by which number of keypoints the visibility term is divided
    cls_target: Literal["oks", "one"] = "oks"  # the square root of the similarity, or certainty
    box_loss: Literal["iou", "ciou"] = "iou"  # 1 - IoU squared, or complete IoU
    kpt_tail: float = 0.0  # above 0 far-off keypoints keep a gradient
    heat: float = 0.0  # above 0 the finest level also learns where every keypoint is, as a map; nothing decodes it


@dataclass(frozen=True)
class Selection:
    conf: float = 0.01
    iou: float = 0.65
    max_poses: int = 300
    agnostic: bool = False  # people of different classes are rivals too
    oks: float = 1.0  # of people whose keypoints are more alike than this the best stays; 1 keeps all


class Model(PoseModel):
    """Raw output: per level one map (B, slots, H, W); with `heat` one (B, K, H, W) more, an aid to learning."""

    published_names = PUBLISHED_NAMES
    gains_type = Gains
    usual_recipe = "hyp.yolox_pose.yaml"
    select_type = Selection
    learning_aids = ("heat.",)

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.settings = into(HeadSettings, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.selection = into(Selection, spec.select, "select")
        self.letterbox = LETTERBOXES[self.settings.letterbox]
        self.body = Graph(spec.rows, self.settings.inputs)
        self.head = YoloxHead(self.body.channels, spec, self.settings)
        self.heat = heat_branch(self.body.channels[0], spec.schema.count) if self.gains.heat else None
        self.register_buffer("sigmas", torch.tensor(spec.schema.sigmas), persistent=False)  # (K)

    @classmethod
    def recognise(cls, published: Published) -> ModelSpec | None:
        return recognise_yolox(published)

    @property
    def stride(self) -> int:
        return max(self.body.strides)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.body(images.flip(1) * 255)  # published weights want blue first, and 0..255
        levels = self.head(features)
        return levels if self.heat is None else (*levels, self.heat(features[0]))

    # ------------------------------------------------------------------------------------------ from raw to people

    def decode(self, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]) -> Candidates:
        seen = zip(views, map(self._decode_view, raws), strict=True)
        return Candidates.pooled([view.undo(candidates, self.spec.schema) for view, candidates in seen])

    def _decode_view(self, raw: tuple[torch.Tensor, ...]) -> Candidates:
        slots, grid = self._read(raw)
        return Candidates(
            boxes=boxes_of(slots.box, *grid),
            scores=slots.classes.sigmoid() * slots.object[..., None].sigmoid(),
            keypoints=keypoints_of(slots.keypoints, *grid),
            keypoint_scores=slots.visibility.sigmoid(),
        )

    def _read(self, raw: tuple[torch.Tensor, ...]) -> tuple[Slots, Grid]:
        raw = raw[: len(self.body.strides)]
        grid = grid_of(raw, self.body.strides)
        return slots_of(raw, grid, self.spec, self.settings), grid

    def select(self, candidates: Candidates) -> list[Poses]:
        people = select_by_box(candidates, self.selection)
        return people if self.selection.oks >= 1 else [self._unlike(poses) for poses in people]

    def _unlike(self, poses: Poses) -> Poses:
        """As the evaluation of mmpose's project and MMYOLO: a person is as large as the keypoints reach."""
        areas = (poses.keypoints.amax(1) - poses.keypoints.amin(1)).prod(-1)  # (N)
        return poses[keep_ranked_by_oks(poses.keypoints, areas, self.sigmas, threshold=self.selection.oks)]

    def ti_layer(self) -> DetectionLayer | None:
        """TI's runtime decodes the doubled keypoints only; like `decode` it takes objectness and classes for logits."""
        if self.settings.keypoints != "doubled":
            return None
        return DetectionLayer("yolo_x", self.body.strides, (), len(self.spec.classes), self.spec.schema.count)

    # ------------------------------------------------------------------------------------------ learning

    def loss(self, raw: tuple[torch.Tensor, ...], targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        slots, grid = self._read(raw)
        people = self._people(targets)
        pairs = self.assigned(slots, grid, people)
        number = mean_over_ranks(slots.box.new_tensor(float(len(pairs.cell)))).clamp(min=1)
        gains, cells = self.gains, (pairs.image, pairs.cell)
        wanted = torch.zeros_like(slots.object).index_put(cells, slots.object.new_ones(()))
        mine = Slots(*(values[cells] for values in slots))  # (M, ...)
        corners, strides = grid.corners[pairs.cell], grid.strides[pairs.cell]
        goal = people.boxes[pairs.person]  # (M, 4)
        exponent = self._exponent(keypoints_of(mine.keypoints, corners, strides), people, pairs)  # (M, K)
        similarity, off = torch.exp(-exponent), self.gains.kpt_tail * torch.log1p(exponent)  # (M, K)
        visible = people.visible[pairs.person]  # (M, K)
        known = visible.sum(1).clamp(min=1)  # (M)
        oks = (similarity * visible).sum(1) / known  # (M)
        by_person = (1 - oks + (off * visible).sum(1) / known).sum() / max(len(oks), 1)
        by_keypoint = ((1 - similarity + off) * visible).sum() / visible.sum().clamp(min=1)
        seen = visible.sum().clamp(min=1) if gains.vis_mean == "visible" else number * self.spec.schema.count
        terms = {
            "box": gains.box * self._box_terms(boxes_of(mine.box, corners, strides), goal).sum() / number,
            "object": gains.obj * cross_entropy(slots.object, wanted, reduction="sum") / number,
            "class": gains.cls * self._class_term(mine.classes, oks.detach(), people.classes[pairs.person]) / number,
            "keypoint": gains.kpt * (by_person if gains.kpt_mean == "person" else by_keypoint),
            "visibility": gains.vis * cross_entropy(mine.visibility, visible, reduction="sum") / seen,
        }
        if gains.l1:
            # Always there, so that every column of the log is: before its time it weighs nothing.
            apart = (mine.box - encoded(goal, corners, strides)).abs().sum() / number
            terms["l1"] = gains.l1 * apart * float(progress >= gains.l1_from)
        if self.heat is not None:
            terms["heat"] = gains.heat * heat_loss(raw[-1].float(), targets, self.body.strides[0])
        return terms

    def assigned(self, slots: Slots, grid: Grid, people: People) -> Pairs:
        """Which cells learn from which person."""
        with torch.no_grad():
            scores = (slots.classes.sigmoid() * slots.object[..., None].sigmoid()).sqrt()
            predicted = Predicted(boxes_of(slots.box, *grid), keypoints_of(slots.keypoints, *grid), scores)
            costs = Costs(self.gains.cost_iou, self.gains.cost_oks, self.gains.count_by)
            return assign(predicted, grid, people, self.sigmas, costs, half_cell=self.gains.half_cell)

    def _people(self, targets: Targets) -> People:
        boxes = targets.boxes.float()
        sides = boxes[:, 2:] - boxes[:, :2]
        # COCO's exponent is d² / (8 area sigma²); the others are it with another area.
        scales = {
            "diagonal": sides.square().sum(1) / 4,  # d² / (2 (w² + h²) sigma²)
            "area": targets.areas.float(),
            "box": box_areas(boxes) / 2,  # d² / (4 w h sigma²)
        }[self.gains.oks_scale]
        visible = (targets.visibility > 0).float()
        return People(targets.image_index, boxes, targets.keypoints.float(), visible, scales, targets.classes)

    def _exponent(self, keypoints: torch.Tensor, people: People, pairs: Pairs) -> torch.Tensor:
        """How far each keypoint (M, K, 2) is from the person's: its similarity is exp(-exponent)."""
        distance2 = (keypoints - people.keypoints[pairs.person]).square().sum(-1)  # (M, K)
        return oks_exponent(distance2, people.scales[pairs.person], self.sigmas)

    def _box_terms(self, boxes: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """1 - overlap of each pair: (M)."""
        if self.gains.box_loss == "ciou":
            return 1 - complete_iou(xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(goal))
        low, high = torch.maximum(boxes[:, :2], goal[:, :2]), torch.minimum(boxes[:, 2:], goal[:, 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        union = (box_areas(boxes) + box_areas(goal) - shared).clamp(min=1e-6)
        return 1 - (shared / union).square()

    def _class_term(self, logits: torch.Tensor, oks: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        target = oks.sqrt() if self.gains.cls_target == "oks" else torch.ones_like(oks)
        wanted = torch.zeros_like(logits).scatter(1, classes[:, None], target[:, None])
        return cross_entropy(logits, wanted, reduction="sum")


def encoded(boxes: torch.Tensor, corners: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """What the box slots of cells would have to say for boxes (M, 4)."""
    cxcywh = xyxy_to_cxcywh(boxes)
    centre = (cxcywh[:, :2] - corners) / strides[:, None]
    return torch.cat((centre, torch.log(cxcywh[:, 2:] / strides[:, None] + 1e-8)), -1)
