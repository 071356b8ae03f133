"""What an evaluation leaves behind: every number in a JSON file, tables to read, and pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.files import write_text
from utils.evaluation.coco import Tool
from utils.evaluation.diagnosis import KINDS, Diagnosis, diagnose, diagnosis_table
from utils.evaluation.errors import save_pictures
from utils.evaluation.evaluator import Evaluation
from utils.evaluation.measures import by_crowding, by_size, group_table, keypoint_table


def tables(evaluation: Evaluation, diagnosis: Diagnosis) -> str:
    """What stands behind the official numbers: by keypoint, by size, by crowding, by kind of error."""
    return "\n\n".join(
        (
            keypoint_table(evaluation.keypoints),
            group_table("size", by_size(evaluation.matching)),
            group_table("overlap", by_crowding(evaluation.matching)),
            diagnosis_table(diagnosis),
        )
    )


def write_report(
    evaluation: Evaluation, folder: str | Path, *, title: str, pictures: bool = True, tool: Tool = "fast"
) -> Diagnosis:
    """metrics.json and, if wanted, the pictures."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    diagnosis = diagnose(evaluation.matching.pairs.ground_truth, evaluation.results, tool=tool)
    values = _plain(to_values(evaluation, diagnosis))
    write_text(folder / "metrics.json", json.dumps(values, indent=2, allow_nan=False))
    if pictures:
        save_pictures(
            folder,
            scores=evaluation.scores,
            keypoints=evaluation.keypoints,
            matching=evaluation.matching,
            diagnosis=diagnosis,
            title=title,
        )
    return diagnosis


def to_values(evaluation: Evaluation, diagnosis: Diagnosis) -> dict[str, Any]:
    """All numbers as plain values."""
    measures = evaluation.keypoints
    by_keypoint = {
        name: {
            "labelled": measures.labelled[i],
            "found": measures.found[i],
            "oks": measures.oks[i],
            "pck": measures.pck[i],
            "errors": dict(zip(KINDS, diagnosis.counts[i], strict=True)),
        }
        for i, name in enumerate(measures.names)
    }
    return {
        "numbers": dict(evaluation.numbers),
        "counts": asdict(evaluation.counts),
        "seconds": asdict(evaluation.seconds),
        "keypoints": by_keypoint,
        "sizes": [asdict(group) for group in by_size(evaluation.matching)],
        "overlaps": [asdict(group) for group in by_crowding(evaluation.matching)],
        "false_positives": diagnosis.false_positives,
        "false_negatives": diagnosis.false_negatives,
        "gains": dict(diagnosis.gains),
    }


def _plain(values: Any) -> Any:
    """Numbers that JSON knows; what is not a number becomes null."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, np.generic):
        values = values.item()
    return None if isinstance(values, float) and not np.isfinite(values) else values
