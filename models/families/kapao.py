"""KAPAO: one detector finds people with all their keypoints and keypoints on their own, then fuses the two.

McNally, Vats, Wong, McPhee, "Rethinking Keypoint Representations: Modeling Keypoints and Poses as Objects for
Multi-Person Human Pose Estimation", ECCV 2022. XPOSE is the same method under other names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from models.anchors import anchor_places, boxes_from_raw, last_writer, match_anchors
from models.fusion import fuse
from models.graph import Graph
from models.keypoint_objects import with_keypoint_objects
from models.losses import OBJECTNESS_WEIGHTS, class_loss, complete_iou, cross_entropy, distance_loss
from models.pickled import read_network
from models.pose_head import BOX, Levels, add_priors, anchor_table
from utils.core.config import into
from utils.core.contract import ModelSpec, PoseModel
from utils.core.geometry import Fit, cxcywh_to_xyxy, magnification, move_points, xyxy_to_cxcywh
from utils.core.nms import keep_by_box
from utils.core.poses import Candidates, Origin, Poses, Targets
from utils.core.published import Published
from utils.core.schema import KeypointSchema
from utils.core.tta import View


@dataclass(frozen=True)
class Gains:
    """Weights and constants of the loss, under the names of the hyp YAML."""

    box: float = 0.05
    obj: float = 0.7
    cls: float = 0.3
    kp: float = 0.025
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    anchor_t: float = 4.0  # an object is at most this many times larger or smaller than an anchor
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0
    kp_bbox: float | tuple[float, ...] = 0.05  # side of keypoint objects as a share of the input, one or one for each


@dataclass(frozen=True)
class Selection:
    """Thresholds; those of keypoint objects and of the fusion are the published evaluation's."""

    conf: float = 0.25  # of people
    iou: float = 0.45
    conf_thres_kp: float = 0.2  # of keypoint objects
    iou_thres_kp: float = 0.25
    conf_thres_kp_person: float = 0.3  # people below it keep the keypoints that they guessed
    overwrite_tol: float = 50.0  # pixels of the original image: farther off than this nothing is replaced
    no_kp_dets: bool = False  # no fusion
    max_objects: int = 300  # that one pass of NMS leaves, people and keypoints together where one pass does
    max_poses: int = 300

    @property
    def one_pass(self) -> bool:
        """People and keypoint objects can share a pass where nothing that either needs would be lost."""
        return self.iou == self.iou_thres_kp and self.conf_thres_kp >= self.conf


class Model(PoseModel):
    """Raw output: per level one map (B, anchors * slots, H, W); slots are box, objectness, classes, keypoints.

    The first classes are those of the people, the others their keypoints, in the order of the schema.
    """

    published_names = (
        (r"^model\.\d+\.m\.(\d+)\.(weight|bias)$", r"head.\1.\2"),
        (r"^model\.\d+\.(anchors|anchor_grid)$", ""),  # they are in the spec
        (r"^model\.(\d+)\.", r"body.layers.\1."),
    )
    gains_type = Gains
    select_type = Selection
    usual_recipe = "hyp.kp-p6.yaml"
    fuses = True
    letterbox = Fit(rounding="down")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        levels = into(Levels, spec.head, "head")
        self.gains = into(Gains, spec.gains, "loss")
        self.selection = into(Selection, spec.select, "select")
        self.kinds = len(spec.classes) + spec.schema.count  # of objects: what the class slots tell apart
        if isinstance(self.gains.kp_bbox, tuple) and len(self.gains.kp_bbox) != spec.schema.count:
            raise ValueError(f"kp_bbox: {len(self.gains.kp_bbox)} sizes for {spec.schema.count} keypoints")
        self.body = Graph(spec.rows, levels.inputs)
        anchors = anchor_table(levels)
        slots = BOX + 1 + self.kinds + 2 * spec.schema.count
        self.head = nn.ModuleList(nn.Conv2d(c, anchors.shape[1] * slots, 1) for c in self.body.channels)
        for conv, stride in zip(self.head, self.body.strides, strict=True):
            add_priors(conv.bias.detach().view(anchors.shape[1], slots), stride, self.kinds)
        self.register_buffer("anchors", anchors, persistent=False)  # (levels, A, 2) pixels

    @classmethod
    def recognise(cls, published: Published) -> ModelSpec | None:
        network = read_network(published)
        if network is None or "num_coords" not in network.head.attributes:
            return None
        people = len(network.class_names) - int(network.head.attributes["num_coords"]) // 2
        return ModelSpec(
            family="kapao",
            schema=_schema_of(network.class_names[people:], str(published.path)),
            classes=network.class_names[:people],
            input_size=(1280, 1280),
            rows=network.rows,
            head={"inputs": network.inputs, "anchors": network.anchors},
        )

    @property
    def stride(self) -> int:
        return max(self.body.strides)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(conv(x) for x, conv in zip(self.body(images), self.head, strict=True))

    def slots(self, level: torch.Tensor) -> torch.Tensor:
        """A raw map by anchor and slot: (B, A, slots, H, W)."""
        return level.unflatten(1, (self.anchors.shape[1], -1))

    # ------------------------------------------------------------------------------------------ from raw to objects

    def decode(self, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]) -> Candidates:
        seen = zip(raws, views, strict=True)
        return Candidates.pooled([self._decode_view(raw, view) for raw, view in seen])

    def _decode_view(self, raw: tuple[torch.Tensor, ...], view: View) -> Candidates:
        """Candidates whose scores (B, A, kinds) are those of all objects; a person's keypoints are as sure as it is."""
        count = self.spec.schema.count
        # fp16 cannot tell neighbouring pixels apart beyond 2048, so coordinates are always float32.
        slots = torch.cat([self.slots(level).permute(0, 1, 3, 4, 2).flatten(1, 3) for level in raw], 1).float()
        sizes = [(level.shape[-2], level.shape[-1]) for level in raw]
        corner, anchor, stride = anchor_places(sizes, self.body.strides, self.anchors.float())  # (A, 2), (A, 2), (A, 1)
        boxes = boxes_from_raw(slots[..., :BOX], anchor)
        boxes = torch.cat((boxes[..., :2] * stride + corner, boxes[..., 2:]), -1)
        sure = slots[..., BOX : BOX + 1 + self.kinds].sigmoid()
        scores = sure[..., :1] * sure[..., 1:]  # (B, A, kinds)
        points = slots[..., BOX + 1 + self.kinds :].unflatten(-1, (count, 2))  # (B, A, K, 2)
        keypoints = torch.addcmul(corner[:, None], points.sigmoid() * 4 - 2, anchor[:, None])
        people = len(self.spec.classes)
        own = scores[..., :people].amax(-1, keepdim=True).expand(*scores.shape[:2], count)  # (B, A, K)
        if view.flip == "horizontal":  # what looks like a left wrist in a mirror is a right one
            mirrored = [*range(people), *(people + k for k in self.spec.schema.swap)]
            scores = scores[..., mirrored]
        return view.undo(Candidates(cxcywh_to_xyxy(boxes), scores, keypoints, own), self.spec.schema)

    def select(self, candidates: Candidates) -> list[Poses]:
        return [self.fused(*self.objects(candidates, i)) for i in range(candidates.boxes.shape[0])]

    def keypoint_objects(self, candidates: Candidates) -> list[Poses]:
        return [self.objects(candidates, i)[1] for i in range(candidates.boxes.shape[0])]

    def objects(self, candidates: Candidates, image: int) -> tuple[Poses, Poses, float]:
        """People and keypoint objects of one image that NMS leaves, and how far they may be apart in input pixels."""
        chosen = self.selection
        scores, kinds = candidates.scores[image].max(-1)  # (A): what looks like two things counts as the likelier one
        is_keypoint = kinds >= len(self.spec.classes)
        if chosen.one_pass:
            kept = self._survivors(candidates, image, scores, kinds, scores > chosen.conf, chosen.iou)
            people = kept[(~is_keypoint[kept]).nonzero()[:, 0]]
            found = kept[(is_keypoint[kept] & (scores[kept] >= chosen.conf_thres_kp)).nonzero()[:, 0]]
        else:
            likely = (scores > chosen.conf) & ~is_keypoint
            people = self._survivors(candidates, image, scores, kinds, likely, chosen.iou)
            likely = (scores > chosen.conf_thres_kp) & is_keypoint
            found = self._survivors(candidates, image, scores, kinds, likely, chosen.iou_thres_kp)
        people = people[: chosen.max_poses]
        poses = Poses(
            boxes=candidates.boxes[image][people],
            scores=scores[people],
            classes=kinds[people],
            keypoints=candidates.keypoints[image][people],
            keypoint_scores=candidates.keypoint_scores[image][people],
        )
        boxes, zoom = _on_the_image(candidates.boxes[image][found], candidates.origins[image : image + 1])
        points = Poses(
            boxes=boxes,
            scores=scores[found],
            classes=kinds[found] - len(self.spec.classes),
            keypoints=xyxy_to_cxcywh(boxes)[:, None, :2],
            keypoint_scores=scores[found][:, None],
        )
        return poses, points, chosen.overwrite_tol * zoom

    def _survivors(
        self, candidates: Candidates, image: int, scores: torch.Tensor, kinds: torch.Tensor, likely: torch.Tensor,
        iou: float,
    ) -> torch.Tensor:  # fmt: skip
        """One pass of NMS, in which only objects of one kind are rivals: indices of what is left, best first."""
        rows = likely.nonzero()[:, 0]
        kept = keep_by_box(
            candidates.boxes[image][rows], scores[rows], kinds[rows], iou=iou, limit=self.selection.max_objects
        )
        return rows[kept]

    def fused(self, people: Poses, points: Poses, tolerance: float) -> Poses:
        """People whose guessed keypoints have given way to keypoint objects; those take their score along."""
        fused = torch.zeros_like(people.keypoint_scores, dtype=torch.bool)
        if self.selection.no_kp_dets:
            return replace(people, fused=fused)
        sure = (people.scores > self.selection.conf_thres_kp_person).nonzero()[:, 0]
        centres = points.keypoints[:, 0]  # (T, 2)
        written, person = fuse(people.keypoints[sure], centres, points.classes, tolerance=tolerance)
        place = (sure[person], points.classes[written])
        return replace(
            people,
            keypoints=people.keypoints.index_put(place, centres[written]),
            keypoint_scores=people.keypoint_scores.index_put(place, points.scores[written]),
            fused=fused.index_put(place, torch.ones_like(written, dtype=torch.bool)),
        )

    # ------------------------------------------------------------------------------------------ learning

    def loss(self, raw: tuple[torch.Tensor, ...], targets: Targets, progress: float) -> dict[str, torch.Tensor]:
        stride = self.body.strides[0]
        size = (raw[0].shape[-2] * stride, raw[0].shape[-1] * stride)
        people = len(self.spec.classes)
        return self.loss_of_objects(
            raw, with_keypoint_objects(targets, size, sides=self.gains.kp_bbox, first_class=people)
        )

    def loss_of_objects(self, raw: tuple[torch.Tensor, ...], objects: Targets) -> dict[str, torch.Tensor]:
        """The loss of targets that hold people and keypoint objects."""
        levels = [self._level_loss(i, self.slots(level).float(), objects) for i, level in enumerate(raw)]
        total = {name: torch.stack([level[name] for level in levels]).sum() for name in levels[0]}
        batch = len(raw[0])  # the published recipes count on gradients that grow with the batch
        return {
            name: value * weight * batch for (name, value), weight in zip(total.items(), self._weights(), strict=True)
        }

    def _weights(self) -> tuple[float, ...]:
        """Gains of box, object, class and keypoint for this number of levels, kinds and pixels."""
        gains, per_level = self.gains, 3 / len(self.body.strides)
        size = (max(self.spec.input_size) / 640) ** 2
        kind = gains.cls * self.kinds / 80
        return gains.box * per_level, gains.obj * size * per_level, kind * per_level, gains.kp * per_level

    def _level_loss(self, index: int, slots: torch.Tensor, objects: Targets) -> dict[str, torch.Tensor]:
        """The four terms of one level before weighting: slots (B, A, slots, H, W)."""
        gains, stride = self.gains, self.body.strides[index]
        zero = slots.new_zeros(())
        terms = {"box": zero, "object": zero, "class": zero, "keypoint": zero}
        boxes_grid = xyxy_to_cxcywh(objects.boxes.float()) / stride  # (N, 4)
        anchors_grid = self.anchors[index] / stride  # (A, 2)
        size = (slots.shape[-2], slots.shape[-1])
        found = match_anchors(boxes_grid, anchors_grid, size, ratio_limit=gains.anchor_t)
        quality = torch.zeros_like(slots[:, :, BOX])  # (B, A, H, W): how well each anchor's box fits its object
        if len(found):
            image = objects.image_index[found.person]
            matched = slots[image, found.anchor, :, found.row, found.column]  # (M, slots)
            anchor = anchors_grid[found.anchor]  # (M, 2)
            target = boxes_grid[found.person]
            target = torch.cat((target[:, :2] - found.corner, target[:, 2:]), -1)  # (M, 4) relative to the cell
            iou = complete_iou(boxes_from_raw(matched[:, :BOX], anchor), target)  # (M)
            terms["box"] = (1 - iou).mean()
            quality = last_writer(quality, (image, found.anchor, found.row, found.column), iou.detach().clamp(min=0))
            terms["class"] = class_loss(
                matched[:, BOX + 1 : BOX + 1 + self.kinds], objects.classes[found.person],
                smoothing=gains.label_smoothing, positive_weight=gains.cls_pw, focus=gains.fl_gamma,
            )  # fmt: skip
            points = matched[:, BOX + 1 + self.kinds :].unflatten(-1, (-1, 2)).sigmoid() * 4 - 2  # (M, K, 2)
            goal = objects.keypoints[found.person].float() / stride - found.corner[:, None]  # (M, K, 2)
            visible = objects.visibility[found.person] > 0  # (M, K)
            terms["keypoint"] = distance_loss(points * anchor[:, None], goal, visible)
        objectness = cross_entropy(slots[:, :, BOX], quality, positive_weight=gains.obj_pw, focus=gains.fl_gamma)
        terms["object"] = objectness * OBJECTNESS_WEIGHTS[len(self.body.strides)][index]
        return terms


def _on_the_image(boxes: torch.Tensor, origin: Sequence[Origin]) -> tuple[torch.Tensor, float]:
    """Boxes cut to the part of the input that is image, and how many input pixels one of the original's is wide."""
    if not origin:
        return boxes, 1.0
    height, width = origin[0].size
    corners = move_points(np.array([[0.0, 0.0], [width, height]]), origin[0].to_input)
    low, high = boxes.new_tensor(corners).repeat(1, 2)  # (4) each
    return torch.minimum(torch.maximum(boxes, low), high), magnification(origin[0].to_input)


def _schema_of(names: Sequence[str], where: str) -> KeypointSchema:
    """Published files only name the keypoints; bones and sigmas are those of the data set that has the same names."""
    for known in map(KeypointSchema.read, ("coco_kpts.yaml", "crowdpose.yaml")):
        if known.names == tuple(names):
            return known
    return KeypointSchema.from_values({"keypoints": list(names)}, where)
