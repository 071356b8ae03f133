"""8, accuracy gates: recorded detections give the recorded AP with each tool, eight images are learned by heart, and an
exported file finds what its model finds, at every shape.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from models.build import load
from models.layers import fused
from tests.evaluation.test_original_topdown import COCO, recorded
from tests.export import small
from tests.reliability.makers import EXAMPLE_WEIGHTS, Here, people
from tests.training.test_overfit import BY_HEART, HELPS
from utils.core import images
from utils.core.config import ROOT, to_yaml
from utils.core.nms import Rivals
from utils.data.people import SceneSettings, draw
from utils.evaluation.evaluator import Evaluator
from utils.export import parity
from utils.export.layout import Export
from utils.export.session import FromFile, onnx_session
from utils.training.log import read_results

PICTURES = 4


@pytest.mark.parametrize("tool", ["fast", "reference"])
def test_recorded_detections_give_the_recorded_numbers_with_each_tool(shared: Path, tool: str) -> None:
    folder = shared / "fixtures/topdown/public"
    facts = json.loads((folder / "coco_eval.json").read_text())
    stats = facts["stats_hard"]
    truth = shared / "data/coco_four/test_coco.json"
    evaluator = Evaluator([], truth, schema=COCO, category_ids=(1,), tool=tool)
    numbers = evaluator.judge(recorded(folder, shared, Rivals(facts["oks_thre"]))).numbers
    apart = np.abs(np.array(list(numbers.values())[:10]) - list(stats.values())).max()
    print(f"{tool}: AP {numbers['AP']:.6f}, recorded {next(iter(stats.values())):.6f}; ten numbers within {apart:.0e}")
    assert apart <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("size", [(640, 640), (960, 960), (384, 640)], ids=str)
def test_an_exported_file_finds_the_same_boxes_within_a_hundredth_of_a_pixel(size: tuple[int, int]) -> None:
    model = fused(load(ROOT / EXAMPLE_WEIGHTS, select={"conf": 0.1}))
    export = Export(size, simplify=True)
    scenes = (draw(3, number, SceneSettings(size, "person", "moderate")).image for number in range(PICTURES))
    pictures = [images.stack([images.fit(image, size, model.letterbox)[0]]) for image in scenes]
    from_file = FromFile(onnx_session(small.file_of(model, export)), model, layout="fixed", batch=1)
    found = parity.compare(model, from_file, pictures, parity.Bounds(pixels=0.01, score=1e-4))
    print(f"{size}: {found}")
    assert found.holds and found.alone == 0 and found.matched >= PICTURES


@pytest.mark.slow
def test_eight_images_are_learned_by_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From the embedded weights, judged on the very images."""
    data = people(tmp_path / "data", train=8, val=1, side=128)
    (data / "val.json").write_text((data / "train.json").read_text())
    for path in (data / "train").iterdir():
        (data / "val" / path.name).write_bytes(path.read_bytes())
    own = {"nominal_batch": 8, "lr0": 0.001, "warmup_bias_lr": 0.001, "flat_epochs": 30, "rest_epochs": 30}
    (tmp_path / "hyp.yaml").write_text(to_yaml(BY_HEART | HELPS | own))
    status, _, log = Here(monkeypatch, capfd)(
        "train.py", "--weights", ROOT / EXAMPLE_WEIGHTS, "--data", data, "--hyp", tmp_path / "hyp.yaml", "--img", 128,
        "--epochs", 90, "--batch-size", 8, "--workers", 0, "--device", "cpu", "--project", tmp_path / "runs",
    )  # fmt: skip
    assert status == 0, log
    last = read_results(tmp_path / "runs" / "exp" / "results.csv")[-1]["metrics/AP"]
    print(f"eight images, 90 epochs: AP {last:.3f}")
    assert last >= 0.95
