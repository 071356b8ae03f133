"""A checkpoint at half its size: the same people, the same facts, about half the bytes."""

from pathlib import Path

import pytest
import torch

from models.build import load, save
from models.slim import slim
from utils.core import checkpoint


def test_a_slim_checkpoint_is_half_as_large_and_nearly_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = load("yolov5n6_kpts.yaml")
    save(tmp_path / "whole.safetensors", model, made={"seed": 3}, metrics={"AP": 0.5})
    slim(tmp_path / "whole.safetensors", tmp_path / "slim.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "slim")]
    assert 0.45 < sizes[1] / sizes[0] < 0.60
    again = load(tmp_path / "slim.safetensors")
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    assert checkpoint.load(tmp_path / "slim.safetensors").header["made"] == {"seed": 3}


def test_only_our_own_checkpoints_are_slimmed(tmp_path: Path) -> None:
    path = tmp_path / "published.pt"
    torch.save({"model": 1}, path)
    with pytest.raises(ValueError, match=r"published\.pt: not a checkpoint of ours"):
        slim(path, tmp_path / "slim.safetensors")
