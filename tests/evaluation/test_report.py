"""What an evaluation leaves behind."""

import json
from pathlib import Path

from tests.evaluation.people import THREE, batch_of, found, person, row, shifted, split
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.report import tables, write_report


def test_every_number_is_in_a_file_that_any_program_can_read(tmp_path: Path) -> None:
    evaluator = Evaluator([batch_of(1)], split([person(1), person(1, shifted(200), visible=(2, 2, 0))]), schema=THREE)
    evaluation = evaluator.judge(found(row(1), row(1, shifted(0, 300), score=0.1)))
    diagnosis = write_report(evaluation, tmp_path, title="", pictures=False)
    values = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert values["numbers"]["AR"] == 0.5 and values["numbers"]["AP_medium"] == -1
    assert values["counts"] == {"images": 1, "looked_at": 0, "people": 2, "found": 1, "poses": 2}
    assert values["keypoints"]["right_hand"] == {
        "labelled": 1, "found": 1, "oks": 1.0, "pck": 1.0,
        "errors": {"good": 1, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0},
    }  # fmt: skip
    assert (values["false_positives"], values["false_negatives"]) == (1, 1)
    assert values["sizes"][0] == {"name": "under 32 px", "people": 0, "found": None, "recall": None, "oks": None}
    text = tables(evaluation, diagnosis)
    assert "poses meant for nobody: 1; persons not met: 1" in text and "nan" not in text
