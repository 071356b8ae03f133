"""Every family in models/families is exported by its own decode and select, and gives the people of its model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import families
from models.layers import fused
from tests.export import small
from tests.test_contract import Case, briefly_trained, images, spec_of, with_few_people
from utils.export.layout import Export, rows_of


@pytest.mark.parametrize("family", families.names())
def test_the_smallest_network_of_a_family_gives_the_same_people_from_its_file(family: str) -> None:
    torch.manual_seed(0)
    case = Case(5)
    model = briefly_trained(families.find(family)(spec_of(family, case)), case)
    inputs = images(model.spec.input_size)[:1].roll(7, 3)  # not the image that a graph is traced with
    model = fused(with_few_people(model, inputs))
    [expected] = small.found(model, inputs)
    [detections] = small.run(small.file_of(model, Export(model.spec.input_size, simplify=True)), inputs)
    np.testing.assert_allclose(detections[0, : len(expected)], rows_of(expected).numpy(), rtol=1e-4, atol=5e-3)
    np.testing.assert_allclose(detections[0, : len(expected), 4], expected.scores.numpy(), atol=1e-4)
    assert len(expected) > 0 and not detections[0, len(expected) :].any()


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["dark", "unbiased"])
def test_every_coding_of_heat_maps_is_decoded_in_the_file_as_here(coding: str) -> None:
    torch.manual_seed(0)
    case = Case(5)
    spec = spec_of("pose_hrnet", case)
    spec = replace(spec, head={**spec.head, "coding": coding})
    model = fused(briefly_trained(families.find("pose_hrnet")(spec), case))
    inputs = images(spec.input_size)[:1].roll(7, 3)
    [expected] = small.found(model, inputs)
    [detections] = small.run(small.file_of(model, Export(spec.input_size, simplify=True)), inputs)
    np.testing.assert_allclose(detections[0, :1], rows_of(expected).numpy(), rtol=1e-4, atol=5e-3)
