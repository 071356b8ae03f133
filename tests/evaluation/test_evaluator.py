"""Evaluator: the same numbers for any number of processes, every image once, and those without people too."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.evaluation import ranks
from tests.evaluation.people import STANDING, THREE, batch_of, origin, person, poses, shifted, split
from utils.core.config import ROOT
from utils.core.geometry import translation
from utils.core.nms import Rivals
from utils.core.poses import Batch, Poses, Targets
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.stopwatch import Seconds


def everybody_stands(given: Batch) -> list[Poses]:
    return [poses(STANDING) for _ in given.origins]


def test_a_model_that_finds_everybody_scores_one() -> None:
    evaluation = Evaluator([batch_of(1, 2), batch_of(3)], split([person(i) for i in (1, 2, 3)], images=3))(
        everybody_stands
    )
    assert evaluation.ap == pytest.approx(1) and evaluation.numbers["AR"] == pytest.approx(1)
    assert evaluation.keypoints.oks == pytest.approx([1, 1, 1])
    counts = evaluation.counts
    assert (counts.images, counts.looked_at, counts.people, counts.found, counts.poses) == (3, 3, 3, 3, 3)
    assert "3 images, 3 people with keypoints, 3 of them found; 3 poses" in evaluation.table()


def test_images_without_people_count() -> None:
    evaluation = Evaluator([batch_of(1, 2)], split([person(2)], images=2))(everybody_stands)
    assert evaluation.ap == pytest.approx(0.5)  # of equal scores that of the first image comes first, a wrong one


def test_images_that_nobody_looked_at_count_as_missed_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    evaluation = Evaluator([batch_of(1)], split([person(1), person(2)], images=2))(everybody_stands)
    assert evaluation.numbers["AR"] == pytest.approx(0.5)
    assert "1 of 2 images were not looked at; everybody on them counts as missed" in caplog.text


def test_an_image_that_a_sampler_hands_out_twice_counts_once() -> None:
    once = Evaluator([batch_of(1, 2)], split([person(1), person(2)], images=2))(everybody_stands)
    twice = Evaluator([batch_of(1, 2), batch_of(2, 1)], split([person(1), person(2)], images=2))(everybody_stands)
    assert twice.numbers == once.numbers and len(twice.results) == 2


def test_the_crops_of_an_image_all_count_and_poses_that_are_alike_are_one_person() -> None:
    cropped = [replace(origin(1), to_input=translation(-x, 0), box_score=score) for x, score in ((0, 0.9), (9, 0.5))]
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    crops = Batch(images, Targets.nobody(THREE.count), tuple(cropped))
    truth = split([person(1), person(1, shifted(200))])

    def apart(given: Batch) -> list[Poses]:
        return [poses(STANDING, scores=[0.8]), poses(shifted(200), scores=[0.8])]

    found = Evaluator([crops], truth, rivals=Rivals())(apart)
    assert found.ap == pytest.approx(1)
    assert found.results.scores == pytest.approx([0.72, 0.4])  # the box's score times the pose's
    assert len(Evaluator([crops], truth, rivals=Rivals())(lambda given: [poses(), poses()]).results) == 0
    alike = Evaluator([crops], truth, rivals=Rivals())(everybody_stands)
    assert len(alike.results) == 1 and alike.counts.looked_at == 1


def test_what_is_evaluated_is_what_is_written(tmp_path: Path) -> None:
    evaluation = ranks.evaluated(crops=False)
    evaluation.results.save_json(tmp_path / "poses.json")
    rows = json.loads((tmp_path / "poses.json").read_text())
    assert list(rows[0]) == ["image_id", "category_id", "keypoints", "score"]
    from contextlib import redirect_stdout
    from io import StringIO

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(StringIO()):
        (tmp_path / "truth.json").write_text(json.dumps(ranks.ground_truth()))
        truth = COCO(str(tmp_path / "truth.json"))
        official = COCOeval(truth, truth.loadRes(str(tmp_path / "poses.json")), "keypoints")
        official.params.kpt_oks_sigmas = np.array(THREE.sigmas)
        official.evaluate()
        official.accumulate()
        official.summarize()
    assert list(evaluation.numbers.values()) == pytest.approx(official.stats.tolist(), abs=1e-9)


def test_text_files_hold_one_row_for_every_person_in_shares_of_the_image(tmp_path: Path) -> None:
    evaluator = Evaluator([batch_of(1, 2)], split([person(1)], images=2))
    results = evaluator.look(lambda given: [poses(STANDING, scores=[0.9]), poses()])
    results.save_txt(tmp_path / "labels", evaluator.category_ids)
    row = (tmp_path / "labels" / "1.txt").read_text().split()
    assert row[0] == "0"
    # The box is 10..90 x 10..60 in an image of 640 x 480; then nose, left and right hand, and the person's score.
    expected = [50 / 640, 35 / 480, 80 / 640, 50 / 480]
    expected += [50 / 640, 10 / 480, 0.8, 10 / 640, 60 / 480, 0.8, 90 / 640, 60 / 480, 0.8, 0.9]
    assert [float(value) for value in row[1:]] == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "labels" / "2.txt").read_text() == ""


def test_the_time_is_split_into_loading_network_selection_and_evaluation() -> None:
    network = nn.Identity()

    def predict(given: Batch) -> list[Poses]:
        network(given.images)
        return everybody_stands(given)

    evaluator = Evaluator([batch_of(1)], split([person(1)]))
    seconds = evaluator(predict, network).seconds
    assert seconds.images == 1
    assert min(seconds.loading, seconds.network, seconds.selection, seconds.evaluation) > 0
    assert Evaluator([batch_of(1)], split([person(1)]))(predict).seconds.network == 0
    assert "ms per image: loading" in evaluator.pace(predict, network).line
    line = Seconds(10, loading=1.0, network=6.0, selection=2.0, evaluation=1.0).line
    assert line.endswith("1.0 images/s, selection 20.0% and evaluation 10.0% of the time")
    assert not network._forward_hooks and not network._forward_pre_hooks


def test_a_class_without_a_category_and_an_image_without_a_number_are_told() -> None:
    evaluator = Evaluator([batch_of(1)], split([person(1)]))
    with pytest.raises(ValueError, match="class 1 found; expected 0 to 0, those with keypoints"):
        evaluator(lambda given: [replace(poses(STANDING), classes=np.array([1]))])
    named = Batch(batch_of(1).images, batch_of(1).targets, (replace(origin(1), image_id="cat", path="cat.jpg"),))
    with pytest.raises(ValueError, match=r"cat\.jpg: image id 'cat' found; expected a whole number"):
        Evaluator([named], split([person(1)]))(everybody_stands)


# ---------------------------------------------------------------------------------------------- processes


def in_processes(world: int) -> list[dict[str, Any]]:
    """What every process of an evaluation prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-m", "tests.evaluation.ranks"]
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**common, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(world)
    ]
    try:
        return [json.loads(process.communicate(timeout=120)[0]) for process in started]
    finally:
        for process in started:
            process.kill()


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_give_the_same_numbers_as_one_bit_for_bit(world: int) -> None:
    alone = [ranks.as_values(ranks.evaluated(crops=crops)) for crops in (False, True)]
    for values in alone:
        assert 0.2 < values["numbers"]["AP"] < 0.9  # neither nothing nor everything is right
        assert values["counts"][:2] == [ranks.IMAGES, ranks.IMAGES]
    assert in_processes(world) == [alone] * world


# ---------------------------------------------------------------------------------------------- real photographs


@pytest.mark.parametrize("rectangular", [False, True])
def test_annotated_people_who_come_back_from_the_loader_score_one(shared: Path, rectangular: bool) -> None:
    from utils.core.contract import ModelSpec
    from utils.core.geometry import inverse
    from utils.data.annotations import DataSpec
    from utils.data.loader import Loading, evaluation_loader

    data = DataSpec.read(shared / "data" / "coco_people")
    spec = ModelSpec("yolo_pose", data.schema, input_size=(256, 256))
    loading = Loading(batch_size=5, workers=0, rectangular=rectangular)

    def annotated(given: Batch) -> list[Poses]:
        people = given.targets
        found = []
        for i, sample in enumerate(given.origins):
            own = (people.image_index == i) & (people.visibility > 0).any(1)
            count = int(own.sum())
            made = Poses(
                people.boxes[own], torch.ones(count), people.classes[own], people.keypoints[own], people.visibility[own]
            )
            found.append(made.moved(inverse(sample.to_input)))
        return found

    evaluation = Evaluator(
        evaluation_loader(data.records("val"), spec, loading),
        data.ground_truth("val"),
        schema=data.schema,
        category_ids=data.category_ids("val"),
    )(annotated)
    assert evaluation.counts.images == 36 and evaluation.counts.looked_at == 36
    assert evaluation.counts.found == evaluation.counts.people == 80
    assert evaluation.keypoints.oks == pytest.approx(np.ones(data.schema.count), abs=1e-3)
    assert evaluation.ap > 0.99
