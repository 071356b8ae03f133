"""Detections, rescoring and OKS-NMS against the numbers that the original evaluation gave."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.core.geometry import box_areas, chain, person_crop, person_extent, translation, xywh_to_xyxy
from utils.core.nms import Rivals
from utils.core.oks import oks
from utils.core.poses import Origin, Poses
from utils.core.schema import KeypointSchema
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.results import Looked, Results

COCO = KeypointSchema.read("coco_kpts.yaml")
SIZE = (256, 192)
VISIBLE_FROM = 0.2


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "fixtures/topdown/public"


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_poses_that_resemble_a_better_one_are_those_of_the_original(folder: Path, kind: str) -> None:
    facts = json.loads((folder / "oks_nms.json").read_text())
    sigmas = torch.tensor(facts["sigmas"])
    assert list(COCO.sigmas) == facts["sigmas"]
    for entry in facts["sets"]:
        points = torch.tensor(entry["keypoints"])[..., :2]
        scores, areas = torch.tensor(entry["scores"]), torch.tensor(entry["areas"])
        for threshold, kept in entry[kind].items():
            rivals = Rivals(float(threshold), soft=kind == "soft")
            assert rivals.survivors(points, scores, areas, sigmas).tolist() == kept


def test_how_alike_poses_are_is_the_originals_similarity(folder: Path) -> None:
    """At all keypoints, and at those that both have a score of; the original looks at the second's only."""
    facts = json.loads((folder / "oks_nms.json").read_text())
    sigmas = torch.tensor(facts["sigmas"])
    for entry in facts["sets"]:
        poses, areas = torch.tensor(entry["keypoints"]), torch.tensor(entry["areas"])
        points, seen = poses[..., :2], (poses[..., 2] > VISIBLE_FROM).float()  # (N, K, 2), (N, K)
        cases = {"": torch.ones_like(seen), "_vis0p2_corrected": seen * seen[0], "_vis0p2_reference_bug": seen}
        for name, counted in cases.items():
            found = oks(points[:1], points, counted, (areas[:1] + areas) / 2, sigmas)
            np.testing.assert_allclose(found.numpy(), entry[f"oks_of_0_to_all{name}"], atol=1e-6)


def recorded(folder: Path, shared: Path, rivals: Rivals) -> Results:
    """The recorded keypoints of 118 detections in four photographs, one crop for each."""
    facts = json.loads((folder / "coco_eval.json").read_text())
    keypoints = np.load(folder / "coco_eval.npz")["keypoints"]
    rows = json.loads((shared / "data/coco_four/test_coco_det_AP_H_56.json").read_text())
    looked = []
    for number, (row, points) in enumerate(zip(rows, keypoints, strict=True)):
        box = xywh_to_xyxy(np.array(row["bbox"], np.float64))
        centre, extent = person_extent(box, SIZE)
        crop = np.concatenate((centre - extent / 2, centre + extent / 2))[None].astype(np.float32)
        counts = points[:, 2] > VISIBLE_FROM
        score = points[counts, 2].mean() if counts.any() else 0.0
        poses = Poses(
            boxes=crop,
            scores=np.array([score], np.float32),
            classes=np.zeros(1, np.int64),
            keypoints=points[None, :, :2],
            keypoint_scores=points[None, :, 2],
        )
        # Two of the boxes are equal but for their scores; a network would give them one pose, the fixture has two.
        matrix = chain(person_crop(centre, extent, SIZE), translation(1e-9 * number, 0.0))
        origin = Origin(row["image_id"], str(row["image_id"]), (480, 640), matrix, box_score=row["score"])
        looked.append(Looked(origin, poses, whole=False))
    areas = np.concatenate([box_areas(entry.poses.boxes) for entry in looked])
    np.testing.assert_allclose(areas, facts["areas"], rtol=1e-5)
    return Results.of(looked, (1,), COCO.count).without_rivals(COCO.sigmas, rivals)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_detection_file_is_rescored_thinned_out_and_counted_as_in_the_original(
    folder: Path, shared: Path, kind: str
) -> None:
    facts = json.loads((folder / "coco_eval.json").read_text())
    results = recorded(folder, shared, Rivals(facts["oks_thre"], soft=kind == "soft"))
    assert len(results) == facts["results_count"][kind]
    if kind == "hard":  # whose scores are recorded
        np.testing.assert_allclose(np.sort(results.scores), np.sort(facts["rescored"]), atol=2e-6)
    evaluator = Evaluator([], shared / "data/coco_four/test_coco.json", schema=COCO, category_ids=(1,))
    numbers = list(evaluator.judge(results).numbers.values())
    np.testing.assert_allclose(numbers[:10], list(facts[f"stats_{kind}"].values()), atol=1e-6)
