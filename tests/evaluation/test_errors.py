"""The pictures of an evaluation: they are there, have something on them, and survive odd sets of people."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import STANDING, THREE, batch_of, found, person, row, shifted, split
from utils.core.images import read
from utils.evaluation.errors import draw_errors, draw_people, draw_precision_recall
from utils.evaluation.evaluator import Evaluation, Evaluator
from utils.evaluation.report import write_report
from utils.evaluation.results import Results

PICTURES = ("errors.png", "people.png", "precision_recall.png")


def judged(people: list[dict], results: Results) -> Evaluation:
    return Evaluator([batch_of(1)], split(people), schema=THREE).judge(results)


@pytest.mark.parametrize(
    ("people", "results"),
    [
        ([person(1), person(1, shifted(200))], found(row(1), row(1, STANDING[::-1]), row(1, shifted(210)))),
        ([person(1)], found()),
        ([], found(row(1))),
        ([person(1, visible=(2, 0, 0))], found(row(1))),
    ],
    ids=["some errors", "nobody found", "nobody annotated", "one keypoint labelled"],
)
def test_pictures_are_drawn_of_any_evaluation(tmp_path: Path, people: list[dict], results: Results) -> None:
    write_report(judged(people, results), tmp_path / "run", title="three keypoints")
    for name in PICTURES:
        drawn = read(tmp_path / "run" / name)
        assert min(drawn.shape[:2]) > 400 and drawn.std() > 5


def test_the_pictures_say_what_was_counted(tmp_path: Path) -> None:
    evaluation = judged([person(1), person(1, shifted(200))], found(row(1)))
    diagnosis = write_report(evaluation, tmp_path, title="", pictures=False)
    assert not list(tmp_path.glob("*.png"))
    errors = draw_errors(diagnosis, evaluation.keypoints, "a model")
    texts = [text.get_text() for axes in errors.axes for text in axes.texts]
    assert {"nose", "left hand", "right hand", "100.0", "0 poses meant for nobody, 1 people not met"} <= set(texts)
    assert "a model" in errors.get_suptitle()
    # The first person is found exactly; of 101 recalls 51 are reached.
    curves = draw_precision_recall(evaluation.scores, "").axes[0]
    assert curves.lines[0].get_label().split() == ["0.50", "50.5"]
    from utils.evaluation.measures import by_crowding, by_size

    groups = draw_people(by_size(evaluation.matching), by_crowding(evaluation.matching), "").axes[0]
    labels = [tick.get_text() for tick in groups.get_xticklabels()]
    assert labels == ["under 32 px\nnobody", "32 to 96 px\nnobody", "96 to 288 px\n2 people", "from 288 px\nnobody"]


def test_drawing_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    import matplotlib
    from matplotlib import _pylab_helpers

    before = dict(matplotlib.rcParams)
    write_report(judged([person(1)], found(row(1))), tmp_path, title="")
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs  # pyplot holds no figure
    assert np.isfinite(read(tmp_path / "errors.png")).all()
