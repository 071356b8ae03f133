"""KAPAO: one detector finds people with all their keypoints and keypoints on their own, then fuses the two.

McNally, Vats, Wong, McPhee, "Rethinking Keypoint Representations: Modeling Keypoints and Poses as Objects for
Multi-Person Human Pose Estimation", ECCV 2022. XPOSE is the same method under other names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from models.anchors import Matches, anchor_places, boxes_from_raw, last_writer, match_anchors
from models.fusion import fuse
from models.graph import Graph
from models.keypoint_objects import with_keypoint_objects
from models.losses import (
    OBJECTNESS_WEIGHTS,
    class_loss,
    complete_iou,
    cross_entropy,
    distance_loss,
    heat_loss,
    keypoint_loss,
)
from models.object_selection import Selection, people_and_points
from models.pickled import read_network
from models.pose_head import BOX, Levels, add_priors, anchor_table, heat_branch
from utils.core.config import into
from utils.core.contract import ModelSpec, PoseModel
from utils.core.geometry import Fit, cxcywh_to_xyxy, xyxy_to_cxcywh
from utils.core.oks import oks
from utils.core.poses import Candidates, Poses, Targets
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
    # Not published: what helps YOLO-Pose to learn from few samples, under its names.
    kpt: float = 0.0  # 1 - OKS of people's keypoints, beside kp, which counts cells
    kpt_sharpness: float = 1.0  # 1 is COCO's OKS
    kpt_tail: float = 0.0  # above 0 far-off keypoints of small people keep a gradient
    obj_kpt: float = 0.0  # share of the keypoints' OKS in what a person's objectness learns; the rest is the box's IoU
    heat: float = 0.0  # above 0 the finest level also learns where every keypoint is, as a map; nothing decodes it


class Model(PoseModel):
    """Raw output: per level one map (B, anchors * slots, H, W); slots are box, objectness, classes, keypoints.

    The first classes are those of the people, the others their keypoints, in the order of the schema. With `heat` there
    is one map (B, K, H, W) more, an aid to learning as in YOLO-Pose.
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
    learning_aids = ("heat.",)
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
        self.heat = heat_branch(self.body.channels[0], spec.schema.count) if self.gains.heat else None
        self.register_buffer("anchors", anchors, persistent=False)  # (levels, A, 2) pixels
        self.register_buffer("sigmas", torch.tensor(spec.schema.sigmas), persistent=False)  # (K)

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
        features = self.body(images)
        levels = tuple(conv(x) for x, conv in zip(features, self.head, strict=True))
        return levels if self.heat is None else (*levels, self.heat(features[0]))

    def slots(self, level: torch.Tensor) -> torch.Tensor:
        """A raw map by anchor and slot: (B, A, slots, H, W)."""
        return level.unflatten(1, (self.anchors.shape[1], -1))

    def maps(self, raw: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return raw[: len(self.body.strides)]

    # ------------------------------------------------------------------------------------------ from raw to objects

    def decode(self, raws: Sequence[tuple[torch.Tensor, ...]], views: Sequence[View]) -> Candidates:
        seen = zip(raws, views, strict=True)
        return Candidates.pooled([self._decode_view(raw, view) for raw, view in seen])

    def _decode_view(self, raw: tuple[torch.Tensor, ...], view: View) -> Candidates:
        """Candidates whose scores (B, A, kinds) are those of all objects; a person's keypoints are as sure as it is."""
        raw, count = self.maps(raw), self.spec.schema.count
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
        return people_and_points(candidates, image, self.selection, people=len(self.spec.classes))

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
        objects = with_keypoint_objects(targets, size, sides=self.gains.kp_bbox, first_class=people)
        terms = self.loss_of_objects(self.maps(raw), objects)
        if self.heat is not None:
            terms["heat"] = self.gains.heat * len(raw[0]) * heat_loss(raw[-1].float(), targets, stride)
        return terms

    def loss_of_objects(self, raw: tuple[torch.Tensor, ...], objects: Targets) -> dict[str, torch.Tensor]:
        """The loss of targets that hold people and keypoint objects."""
        levels = [self._level_loss(i, self.slots(level).float(), objects) for i, level in enumerate(raw)]
        total = {name: torch.stack([level[name] for level in levels]).sum() for name in levels[0]}
        weights = self._weights()
        batch = len(raw[0])  # the published recipes count on gradients that grow with the batch
        return {name: value * weights[name] * batch for name, value in total.items()}

    def _weights(self) -> dict[str, float]:
        """The gain of each term for this number of levels, kinds and pixels."""
        gains, per_level = self.gains, 3 / len(self.body.strides)
        size = (max(self.spec.input_size) / 640) ** 2
        kind = gains.cls * self.kinds / 80
        box, objectness, keypoint = gains.box * per_level, gains.obj * size * per_level, gains.kp * per_level
        return {
            "box": box, "object": objectness, "class": kind * per_level, "keypoint": keypoint, "similarity": gains.kpt,
        }  # fmt: skip

    def _level_loss(self, index: int, slots: torch.Tensor, objects: Targets) -> dict[str, torch.Tensor]:
        """The terms of one level before weighting: slots (B, A, slots, H, W)."""
        gains, stride = self.gains, self.body.strides[index]
        zero = slots.new_zeros(())
        terms = {"box": zero, "object": zero, "class": zero, "keypoint": zero}
        if gains.kpt:
            terms["similarity"] = zero
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
            terms["class"] = class_loss(
                matched[:, BOX + 1 : BOX + 1 + self.kinds], objects.classes[found.person],
                smoothing=gains.label_smoothing, positive_weight=gains.cls_pw, focus=gains.fl_gamma,
            )  # fmt: skip
            place = (image, found.anchor, found.row, found.column)
            points, similarity = self._keypoint_terms(matched, target, anchor, objects, found, stride)
            terms |= points
            worth = iou.detach().clamp(min=0)
            worth = worth.lerp(similarity.where(similarity.isfinite(), worth), gains.obj_kpt)
            quality = last_writer(quality, place, worth)
        objectness = cross_entropy(slots[:, :, BOX], quality, positive_weight=gains.obj_pw, focus=gains.fl_gamma)
        terms["object"] = objectness * OBJECTNESS_WEIGHTS[len(self.body.strides)][index]
        return terms

    def _keypoint_terms(
        self,
        matched: torch.Tensor,
        target: torch.Tensor,
        anchor: torch.Tensor,
        objects: Targets,
        found: Matches,
        stride: int,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The terms of people's keypoints, and the OKS of each match (M), NaN for keypoint objects: they have none."""
        goal = objects.keypoints[found.person].float() / stride - found.corner[:, None]  # (M, K, 2)
        visible = objects.visibility[found.person] > 0  # (M, K)
        points = matched[:, BOX + 1 + self.kinds :].unflatten(-1, (-1, 2))  # (M, K, 2)
        places = (points.sigmoid() * 4 - 2) * anchor[:, None]  # (M, K, 2)
        area = target[:, 2] * target[:, 3]  # of the box, in cells
        terms = {"keypoint": distance_loss(places, goal, visible)}
        if self.gains.kpt:
            terms["similarity"] = keypoint_loss(
                places, goal, visible.float(), area, self.sigmas,
                sharpness=self.gains.kpt_sharpness, tail=self.gains.kpt_tail,
            )  # fmt: skip
        similarity = oks(places.detach(), goal, visible.float(), area, self.sigmas)
        return terms, similarity.where(visible.any(-1), torch.nan)


def _schema_of(names: Sequence[str], where: str) -> KeypointSchema:
    """Published files only name the keypoints; bones and sigmas are those of the data set that has the same names."""
    for known in map(KeypointSchema.read, ("coco_kpts.yaml", "crowdpose.yaml")):
        if known.names == tuple(names):
            return known
    return KeypointSchema.from_values({"keypoints": list(names)}, where)
