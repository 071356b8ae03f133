"""A YAML or a checkpoint in, a PoseModel out: `load("yolov5s6_kpts.yaml")`, `load("best.safetensors")`."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from models import families
from models.graph import scaled
from models.pickled import stranger
from utils.core import checkpoint
from utils.core.config import find, into, read_yaml
from utils.core.console import log
from utils.core.contract import ModelSpec, PoseModel, read_rows
from utils.core.published import read_published
from utils.core.schema import KeypointSchema
from utils.core.weights import located


@dataclass(frozen=True)
class ModelFile:
    """The keys of a model YAML."""

    family: str
    head: Mapping[str, Any]
    rows: tuple[Any, ...] = ()  # of a graph; families with a trunk of their own have none
    data: str = "coco_kpts.yaml"  # whose keypoints and classes it has unless others are handed in
    view: str = "image"
    input_size: int | tuple[int, int] = 640
    depth_multiple: float = 1.0
    width_multiple: float = 1.0
    activation: str = "silu"
    select: Mapping[str, Any] = field(default_factory=dict)


def load(
    weights: str | Path | None,
    cfg: str | Path | None = None,
    schema: KeypointSchema | None = None,
    *,
    classes: tuple[str, ...] | None = None,
    select: Mapping[str, Any] | None = None,
    usual: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> PoseModel:
    """A model in evaluation mode, from a YAML, one of our checkpoints or a published one.

    With `cfg` the model is that YAML's and takes from the weights what fits; without, the checkpoint decides, and
    with a recipe for keypoint objects a detector's layers are those of a new model.
    `schema` and `classes` are the data's. `select` holds thresholds that a user chose: a family without them says so.
    `usual` holds those of a command, `recipe` a hyp YAML's values: of both a family takes what is its own.
    """
    if weights is None and cfg is None:
        raise ValueError("neither weights nor a model YAML given; name one with --weights or --cfg")
    file = located(weights) if weights is not None else None
    if file is not None and cfg is None and file.suffix in (".yaml", ".yml"):
        file, cfg = None, file
    source = _read_weights(file) if file is not None else None
    grown = _grown(source, schema, classes, recipe or {}) if source is not None and cfg is None else None
    if grown is not None:
        spec = grown
    elif cfg is None:
        assert source is not None
        spec = _checked(source, schema, classes)
    else:
        spec = read_model_yaml(cfg, schema, classes)
        if source is not None and source.spec is not None and source.spec.family == spec.family:
            spec = families.find(spec.family).starting_from(spec, source.spec)
    model = _construct(spec, select or {}, usual or {}, recipe or {}, str(cfg or file))
    if source is not None and cfg is None and grown is None:
        _take_all(model, source)
    elif source is not None:
        _take_what_fits(model, source)
    return model.eval()


def family_of(weights: str | Path | None, cfg: str | Path | None) -> type[PoseModel]:
    """The family of the model that `load` would make of the same two."""
    if not (cfg or weights):
        raise ValueError("neither weights nor a model YAML given; name one with --weights or --cfg")
    source = find(cfg) if cfg else located(weights)
    if source.suffix in (".yaml", ".yml"):
        return families.find(read_model_yaml(source).family)
    spec = _read_weights(source).spec
    if spec is None:
        raise ValueError(f"{source}: weights without a network that is known here; name their YAML with --cfg")
    return families.find(spec.family)


def save(
    path: str | Path, model: PoseModel, *, made: Mapping[str, Any], metrics: Mapping[str, Any] | None = None
) -> None:
    """Write a model as a checkpoint of ours; `made` says how it came about: command, seed, epochs, versions."""
    header = {
        "spec": model.spec.to_values(),
        "preprocessing": {"channels": "RGB", "range": [0, 1], "fit": asdict(model.letterbox), "padding": 114},
        "metrics": dict(metrics or {}),
        "made": dict(made),
    }
    checkpoint.save(path, model.state_dict(), header)


def read_model_yaml(
    path: str | Path, schema: KeypointSchema | None = None, classes: tuple[str, ...] | None = None
) -> ModelSpec:
    """The spec that a model YAML describes, with the keypoints of its own data file or those handed in."""
    values = read_yaml(find(path))
    if "backbone" in values:
        raise ValueError(
            f"{path}: 'backbone' found, this is a model YAML of YOLOv5; its checkpoints load without one. "
            "For a new model write 'family', 'rows' and 'head' as in models/configs/yolov5s6_kpts.yaml"
        )
    file = into(ModelFile, values, str(path))
    data = read_yaml(find(file.data)) if schema is None or classes is None else {}
    size = file.input_size
    try:
        rows = read_rows(file.rows, "rows")
        return into(
            ModelSpec,
            {
                "family": file.family,
                "schema": schema or KeypointSchema.from_values(data, file.data),
                "classes": classes or tuple(data.get("classes", ("person",))),
                "view": file.view,
                "input_size": size if isinstance(size, tuple) else (size, size),
                "rows": scaled(rows, depth=file.depth_multiple, width=file.width_multiple, activation=file.activation),
                "head": file.head,
                "select": file.select,
            },
            "model",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _construct(
    spec: ModelSpec, select: Mapping[str, Any], usual: Mapping[str, Any], recipe: Mapping[str, Any], where: str
) -> PoseModel:
    """The network of a spec, with the thresholds and the part of the recipe that is its loss."""
    try:
        family = families.find(spec.family)
        thresholds = {**_part_of(family.select_type, usual), **select}
        return family(spec.with_settings(select=thresholds, gains=_part_of(family.gains_type, recipe)))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _part_of(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are fields of a dataclass."""
    known = {entry.name for entry in fields(kind)}
    return {key: value for key, value in values.items() if key in known}


# ---------------------------------------------------------------------------------------------- weights


@dataclass(frozen=True)
class _Weights:
    """Weights under our names where they are known, and the spec of the network that they come from."""

    path: str
    tensors: dict[str, torch.Tensor]
    spec: ModelSpec | None


def _read_weights(path: Path) -> _Weights:
    if checkpoint.is_safetensors(path):
        ours = checkpoint.load(path)
        spec = ModelSpec.from_values(ours.header.get("spec", {}), str(path))
        return _Weights(str(path), ours.tensors, spec)
    published = read_published(path)
    if what := stranger(published):
        raise ValueError(
            f"{path}: {what}; it is none of the networks here, and its weights fit none of them. Its data and its "
            "labels are read as they are: docs/migration.md"
        )
    tensors = published.tensors()
    for name in families.names():
        family = families.find(name)
        spec = family.recognise(published)
        if spec is not None:
            return _Weights(str(path), renamed(tensors, family), spec)
    return _Weights(str(path), tensors, None)


def renamed(tensors: Mapping[str, torch.Tensor], family: type[PoseModel]) -> dict[str, torch.Tensor]:
    """Published names -> ours; a name whose replacement is empty is not a weight and is dropped."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in family.published_names:
            if re.search(pattern, name):
                name = re.sub(pattern, replacement, name) if replacement else ""
                break
        if name:
            found[name] = tensor
    return found


def _checked(source: _Weights, schema: KeypointSchema | None, classes: tuple[str, ...] | None) -> ModelSpec:
    """The checkpoint's own spec, with the names of the data's keypoints and classes where the counts agree."""
    spec = source.spec
    if spec is None:
        raise ValueError(
            f"{source.path}: weights without a network that is known here ({', '.join(families.names())}); "
            "give the model YAML that they belong to with --cfg"
        )
    for what, own, wanted in (
        ("keypoints", spec.schema.count, None if schema is None else schema.count),
        ("classes", len(spec.classes), None if classes is None else len(classes)),
    ):
        if wanted is not None and own != wanted:
            raise ValueError(
                f"{source.path}: has {own} {what}, but the data has {wanted}; "
                "to start a new model from these weights add its YAML with --cfg"
            )
    if schema is not None and schema.names != spec.schema.names:
        log.info("%s: its keypoints take the names of the data", source.path)
    return replace(spec, schema=schema or spec.schema, classes=classes or spec.classes)


def _grown(
    source: _Weights, schema: KeypointSchema | None, classes: tuple[str, ...] | None, recipe: Mapping[str, Any]
) -> ModelSpec | None:
    """A network of keypoint objects is a detector of more classes: its layers and a recipe for such say all of it."""
    detector, reader = source.spec, _fusing_reader(recipe)
    if detector is None or detector.schema.count or not (schema and schema.count and reader):
        return None
    log.info("%s: a detector; a new %s model takes its layers", source.path, reader)
    head = {name: detector.head[name] for name in ("inputs", "anchors")}
    return replace(detector, family=reader, schema=schema, classes=classes or detector.classes, head=head)


def _fusing_reader(recipe: Mapping[str, Any]) -> str | None:
    """The family of keypoint objects that reads what no other family does of a recipe, if there is one."""
    read = {name: {entry.name for entry in fields(families.find(name).gains_type)} for name in families.names()}
    for name in filter(lambda name: families.find(name).fuses, read):
        if recipe.keys() & read[name] - set().union(*(keys for other, keys in read.items() if other != name)):
            return name
    return None


def _take_all(model: PoseModel, source: _Weights) -> None:
    """Every weight has its place and every place its weight, or the file is refused; aids to learning come and go."""
    own, aids = model.state_dict(), tuple(model.learning_aids)
    missing = [name for name in own if name not in source.tensors and not name.startswith(aids)]
    strange = [name for name in source.tensors if name not in own and not name.startswith(aids)]
    unlike = [name for name in own if name in source.tensors and own[name].shape != source.tensors[name].shape]
    for what, names in (("is missing", missing), ("has no place", strange), ("has another shape", unlike)):
        if names:
            raise ValueError(
                f"{source.path}: {names[0]} {what}{f', and {len(names) - 1} more' if len(names) > 1 else ''}; "
                f"the file is not a whole {model.spec.family} checkpoint"
            )
    model.load_state_dict({name: tensor for name, tensor in source.tensors.items() if name in own}, strict=False)


def _take_what_fits(model: PoseModel, source: _Weights) -> None:
    """Transfer by name and shape, and say how much of it there was."""
    tensors = source.tensors if source.spec else renamed(source.tensors, type(model))
    own = model.state_dict()
    taken = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    if not taken:
        raise ValueError(f"{source.path}: no weight fits a {model.spec.family} model by name and shape; wrong file?")
    model.load_state_dict(taken, strict=False)
    unlike = sum(name in own and own[name].shape != tensor.shape for name, tensor in tensors.items())
    log.info(
        "%s: %d of %d weights taken; left out: %d of another shape, %d unknown here; %d start anew",
        source.path, len(taken), len(tensors), unlike, len(tensors) - len(taken) - unlike, len(own) - len(taken),
    )  # fmt: skip


def rebuilt(model: PoseModel, spec: ModelSpec) -> PoseModel:
    """The same weights under another spec: of another input size, or with other thresholds."""
    twin = type(model)(spec)
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def resized(model: PoseModel, size: tuple[int, int]) -> PoseModel:
    """The same weights for another input size (height, width), filled up to whole strides."""
    height, width = (math.ceil(side / model.stride) * model.stride for side in size)
    if (height, width) != tuple(size):
        log.info("input size %d x %d: %d x %d, in whole strides of %d", *size, height, width, model.stride)
    return rebuilt(model, replace(model.spec, input_size=(height, width)))
