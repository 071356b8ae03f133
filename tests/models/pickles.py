"""Checkpoints as the YOLOv5 lineage pickles them: our networks in the class names and attributes of the originals."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from models import families, layers
from models.build import read_model_yaml
from utils.core.contract import ModelSpec, PoseModel
from utils.core.schema import KeypointSchema

NAMES = {
    "common": ("Conv", "C3", "Bottleneck", "SPP", "SPPF", "Focus", "Concat", "Contract"),
    "yolo": ("Model", "Detect"),
}


@contextmanager
def original_classes() -> Iterator[dict[str, type[nn.Module]]]:
    """Classes called models.common.Conv and so on, there only while a file is written."""
    found: dict[str, type[nn.Module]] = {}
    for module, names in NAMES.items():
        full = f"models.{module}"
        sys.modules[full] = ModuleType(full)
        for name in names:
            found[name] = type(name, (nn.Module,), {"__module__": full})
            setattr(sys.modules[full], name, found[name])
    yield found
    for module in NAMES:
        del sys.modules[f"models.{module}"]


def dressed(model: PoseModel, kinds: dict[str, type[nn.Module]], **facts: object) -> nn.Module:
    """Our network as the originals would have it in memory."""

    def plain(name: str, **children: nn.Module) -> nn.Module:
        made = kinds[name]()
        for child, module in children.items():
            made.add_module(child, module)
        return made

    def conv(ours: layers.Conv) -> nn.Module:
        return plain("Conv", conv=ours.conv, bn=ours.bn, act=ours.act)

    def layer(ours: nn.Module) -> nn.Module:
        if isinstance(ours, layers.Conv):
            return conv(ours)
        if isinstance(ours, layers.C3):
            blocks = []
            for block in ours.m:
                blocks.append(plain("Bottleneck", cv1=conv(block.cv1), cv2=conv(block.cv2)))
                blocks[-1].add = block.adds
            return plain("C3", cv1=conv(ours.cv1), cv2=conv(ours.cv2), cv3=conv(ours.cv3), m=nn.Sequential(*blocks))
        if isinstance(ours, layers.SPPF):
            window = 2 * len(ours.pools[0]) + 1
            return plain("SPPF", cv1=conv(ours.cv1), cv2=conv(ours.cv2), m=nn.MaxPool2d(window, 1, window // 2))
        if isinstance(ours, layers.SPP):
            sizes = [1 + 2 * sum(len(pool) for pool in ours.pools[: i + 1]) for i in range(len(ours.pools))]
            pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in sizes)
            return plain("SPP", cv1=conv(ours.cv1), cv2=conv(ours.cv2), m=pools)
        if isinstance(ours, layers.ConvFocus):  # TI's older files call it Focus too
            return plain("Focus", conv_slice=conv(ours.conv_slice), conv=conv(ours.conv))
        if isinstance(ours, layers.Focus):
            inner = {"contract": kinds["Contract"]()} if ours.order == "rows" else {}
            return plain("Focus", **inner, conv=conv(ours.conv))
        if isinstance(ours, layers.Upsample):
            return nn.Upsample(None, ours.scale_factor, "nearest")
        return plain("Concat")

    body = [layer(ours) for ours in model.body.layers]
    for i, (module, row) in enumerate(zip(body, model.spec.rows, strict=True)):
        module.i, module.f = i, row.source[0] if len(row.source) == 1 else list(row.source)
    detect = _dressed_head(model, kinds["Detect"](), conv)
    if facts.pop("anchor_grid", True):
        detect.register_buffer("anchor_grid", model.anchors.view(len(model.anchors), 1, -1, 1, 1, 2).clone())
    whole = kinds["Model"]()
    whole.model = nn.Sequential(*body, detect)
    whole.names = [*model.spec.classes, *(model.spec.schema.names if model.fuses else ())]
    for name, value in facts.items():
        setattr(whole, name, value)
    return whole


def _dressed_head(model: PoseModel, detect: nn.Module, conv: Callable[[layers.Conv], nn.Module]) -> nn.Module:
    """YOLOv5's, TI's with a branch for keypoints, or KAPAO's, whose classes are the keypoints too."""

    def branch(ours: nn.Module) -> nn.Module:
        return nn.Sequential(*(conv(m) if isinstance(m, layers.Conv) else m for m in ours))

    if model.fuses:
        detect.m, detect.num_coords = model.head, 2 * model.spec.schema.count
    else:
        detect.m = model.head.box
    if not model.fuses and len(model.head.keypoint):
        branches = [branch(b) if isinstance(b, nn.Sequential) else b for b in model.head.keypoint]
        detect.m_kpt, detect.nkpt = nn.ModuleList(branches), model.spec.schema.count
    stride = torch.tensor([float(s) for s in model.body.strides])
    detect.register_buffer("anchors", model.anchors / stride.view(-1, 1, 1))
    detect.stride, detect.f = stride, list(model.spec.head["inputs"])
    detect.nc = len(model.spec.classes) + (model.spec.schema.count if model.fuses else 0)
    return detect


def alive(spec: ModelSpec) -> PoseModel:
    """A network whose statistics are not those of a new one."""
    torch.manual_seed(0)
    model = families.find(spec.family)(spec)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def detector(name: str, classes: int = 80) -> ModelSpec:
    """The YOLOv5 detector whose layers are those of a pose model's YAML."""
    spec = read_model_yaml(name)
    head = {"inputs": spec.head["inputs"], "anchors": spec.head["anchors"], "keypoint_depth": 0}
    things = ("person", *(f"thing {i}" for i in range(1, classes)))
    return replace(spec, family="yolo_pose", schema=KeypointSchema.unnamed(0), classes=things, head=head)


def write_checkpoint(path: Path, spec: ModelSpec) -> None:
    """A file as the original's training leaves it when it has ended, in half precision."""
    with original_classes() as kinds:
        torch.save({"epoch": -1, "ema": None, "model": dressed(alive(spec), kinds).half(), "optimizer": None}, path)
