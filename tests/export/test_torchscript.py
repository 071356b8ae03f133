"""The TorchScript file gives what the ONNX file gives, and carries the same words."""

import io
import json
from dataclasses import replace

import pytest
import torch

from tests.export import small
from utils.export.torchscript import CONFIG, to_torchscript


def test_the_traced_file_gives_the_people_of_the_model_and_says_what_it_is() -> None:
    model = small.model(4)
    extra = {CONFIG: ""}
    network = torch.jit.load(io.BytesIO(to_torchscript(model, small.EXPORT, {"command": "test"})), _extra_files=extra)
    with torch.no_grad():
        [rows] = network(small.pictures(1))
    small.assert_same(rows.numpy(), small.found(model, small.pictures(1))[0])
    assert json.loads(json.loads(extra[CONFIG])["classes"]) == ["person"]


def test_what_tracing_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="--include torchscript"):
        to_torchscript(small.model(4), replace(small.EXPORT, dynamic_batch=True), {})
