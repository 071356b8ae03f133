"""Every family in models/families is exported by its own decode and select, and gives the people of its model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import families
from models.layers import fused
from tests.export import small
from tests.rounding import assert_equal_but_for_rounding, in_both_precisions
from tests.test_contract import Case, briefly_trained, images, spec_of, with_few_people
from utils.core.contract import PoseModel
from utils.export.layout import Export, rows_of


@pytest.mark.parametrize("family", families.names())
def test_the_smallest_network_of_a_family_gives_the_same_people_from_its_file(family: str) -> None:
    torch.manual_seed(0)
    case = Case(5)
    model = briefly_trained(families.find(family)(spec_of(family, case)), case)
    inputs = images(model.spec.input_size)[:1].roll(7, 3)  # not the image that a graph is traced with
    model = fused(with_few_people(model, inputs))
    [expected] = in_both_precisions(model, inputs, rows_found)
    [detections] = small.run(small.file_of(model, Export(model.spec.input_size, simplify=True)), inputs)
    count = len(expected[0])
    assert_equal_but_for_rounding(detections[0, :count], expected, least=1e-3)
    np.testing.assert_allclose(detections[0, :count, 4], expected[0][:, 4], atol=1e-4)
    assert count > 0 and not detections[0, count:].any()


def rows_found(model: PoseModel, inputs: torch.Tensor) -> tuple[torch.Tensor]:
    return (rows_of(small.found(model, inputs)[0]),)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["dark", "unbiased"])
def test_every_coding_of_heat_maps_is_decoded_in_the_file_as_here(coding: str) -> None:
    torch.manual_seed(0)
    case = Case(5)
    spec = spec_of("pose_hrnet", case)
    spec = replace(spec, head={**spec.head, "coding": coding})
    model = fused(briefly_trained(families.find("pose_hrnet")(spec), case))
    inputs = images(spec.input_size)[:1].roll(7, 3)
    [expected] = in_both_precisions(model, inputs, rows_found)
    [detections] = small.run(small.file_of(model, Export(spec.input_size, simplify=True)), inputs)
    assert_equal_but_for_rounding(detections[0, :1], expected, least=1e-3)
