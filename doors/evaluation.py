"""The parts of an evaluation, introduced to each other: for val.py, and for train.py after its epochs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from doors.pictures import Pictured, save_people
from models.layers import fused
from utils.core.console import is_main_process
from utils.core.contract import PoseModel
from utils.core.schema import KeypointSchema
from utils.core.tta import View
from utils.data.annotations import DataSpec
from utils.data.loader import Loading, evaluation_loader
from utils.data.one_class import Data, OneClass
from utils.evaluation.coco import Tool, check_tool
from utils.evaluation.evaluator import Evaluation, Evaluator
from utils.evaluation.report import write_report
from utils.evaluation.stopwatch import Stopwatch
from utils.inference.predictor import OneStage

SHOWN = 4  # of the worst and of the best pictures


def data_of(source: str, *, single_class: bool = False, sigmas: Sequence[float] | None = None) -> Data:
    """The data set of a command; `sigmas` are for counting only, one for all keypoints or one for each."""
    data = DataSpec.read(source)
    if sigmas is not None:
        data = replace(data, schema=_with_sigmas(data.schema, sigmas))
    return OneClass(data) if single_class else data


def _with_sigmas(schema: KeypointSchema, sigmas: Sequence[float]) -> KeypointSchema:
    values = tuple(sigmas) * schema.count if len(sigmas) == 1 else tuple(sigmas)
    if len(values) != schema.count or min(values) <= 0:
        raise ValueError(f"--sigmas: found {len(sigmas)}; expected 1 or {schema.count} numbers above 0")
    return replace(schema, sigmas=values)


def evaluator_of(
    data: Data,
    split: str,
    model: PoseModel,
    loading: Loading,
    *,
    size: tuple[int, int] | None = None,
    detections: str | None = None,
    tool: str = "fast",
) -> Evaluator:
    """The images of a split in the size that the model sees, and what is annotated on them."""
    checked: Tool = check_tool(tool)
    spec = replace(model.spec, input_size=size or model.spec.input_size)
    records = data.detected(split, detections) if detections else data.records(split)
    batches = evaluation_loader(
        records, spec, loading, detected=bool(detections), fit=model.letterbox, coding=model.coding
    )
    truth, ids = data.ground_truth(split), data.category_ids(split)
    return Evaluator(batches, truth, schema=data.schema, category_ids=ids, tool=checked, rivals=model.rivals)


def last_look(
    model: PoseModel, evaluator: Evaluator, folder: Path, *, device: str, views: Sequence[View], title: str
) -> Evaluation:
    """A finished model once more, with everything that can be seen of it in the run's folder. On all ranks together."""
    network = fused(model)
    pictured = Pictured(OneStage(network, device=device, views=views).poses_of, folder, model.spec.schema)
    watch = Stopwatch(network)
    found = evaluator.judge(evaluator.look(pictured, watch), watch)
    if is_main_process():
        write_report(found, folder, title=title, tool=evaluator.tool)
        order = found.images_by_oks()
        for name, chosen in (("worst", order[:SHOWN]), ("best", order[::-1][:SHOWN])):
            save_people(folder / f"{name}.jpg", found, np.array(chosen), model.spec.schema)
    return found
