"""Twenty-eight photographs of COCO are learned by heart: 86 people with keypoints, crowds of eleven among them."""

import sys
from pathlib import Path

import pytest
import torch

import train as door
from utils.core.config import ROOT, to_yaml
from utils.core.flags import EXAMPLE_WEIGHTS
from utils.training.log import read_results

WORDS = "--img 320 --batch-size 4 --hyp hyp.by_heart.yaml --noautoanchor --workers 0 --device cpu"


@pytest.mark.slow
def test_photographs_are_learned_by_heart(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = {"images": "train", "annotations": "annotations/train.json"}
    data = {"path": str(shared / "data" / "coco_people"), "train": split, "val": split}
    (tmp_path / "photographs.yaml").write_text(to_yaml(data))
    own = ("--weights", ROOT / EXAMPLE_WEIGHTS, "--data", tmp_path / "photographs.yaml", "--project", tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *WORDS.split(), *map(str, own)])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    door.main()
    torch.set_num_threads(threads)
    assert read_results(tmp_path / "exp" / "results.csv")[-1]["metrics/AP"] >= 0.95
