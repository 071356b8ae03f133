"""Targets and losses of the top-down heads against the numbers of the projects that trained them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.flow import Flow
from models.heatmaps import map_loss
from models.polarised import Parallel, Sequential
from tests.models.original_topdown import Original, drawn, small, targets_of
from utils.core.poses import Targets

LOSS = 1e-5  # relative


@pytest.fixture(scope="module")
def original(shared: Path) -> Original:
    return Original(shared)


def people(original: Original, size: str = "") -> Targets:
    recorded = original.arrays("train")
    return targets_of([recorded[f"joints{size}"]], [recorded[f"vis{size}"]])


def two(original: Original) -> Targets:
    recorded = original.arrays("train")
    return targets_of([recorded["joints"], recorded["joints_second"]], [recorded["vis"], recorded["vis_second"]])


@pytest.mark.parametrize(
    ("size", "suffix", "shape", "coding", "goal"),
    [
        ("", "s2", (64, 48), "published", "heat"),
        ("_384x288", "s3_384", (96, 72), "published", "heat"),
        ("", "s2", (64, 48), "unbiased", "udp_heat"),
    ],
)
def test_bells_are_where_the_originals_are(original, size, suffix, shape, coding, goal) -> None:
    recorded = original.arrays("train")
    maps, weight = small("pose_hrnet", coding=coding).rendered(people(original, size), torch.zeros(1, 17, *shape))
    np.testing.assert_allclose(maps[0].numpy(), recorded[f"{goal}_target_{suffix}"], atol=3e-6)
    np.testing.assert_array_equal(weight[0].numpy(), recorded[f"{goal}_weight_{suffix}"][:, 0])


def test_discs_and_offsets_are_udps(original: Original) -> None:
    recorded = original.arrays("train")
    one = people(original)
    model = small("udp")
    maps, weight = model.rendered(one.keypoints, (one.visibility > 0).float(), torch.zeros(1, 51, 64, 48))
    np.testing.assert_allclose(maps[0].numpy(), recorded["udp_offset_target_kpd4"], atol=3e-6)
    np.testing.assert_array_equal(weight[0].numpy(), recorded["udp_offset_weight"][:, 0])


def test_bins_and_their_bells_are_simdrs(original: Original) -> None:
    recorded = original.arrays("train")
    both = two(original)
    bins, weight = small("simdr").bins(both.keypoints, (both.visibility > 0).float())
    for index, name in enumerate(("", "_second")):
        np.testing.assert_array_equal(bins[index].numpy(), recorded[f"simdr_bins{name}"])
        np.testing.assert_array_equal(weight[index].numpy(), recorded[f"simdr_weight{name}"][:, 0])
    bells, weight = small("simdr", labels="gaussian").bells(both.keypoints, (both.visibility > 0).float())
    counts = recorded["sa_weight"][:, 0] > 0
    for bell, name in zip(bells, ("sa_x", "sa_y"), strict=True):
        np.testing.assert_allclose(bell[0].numpy()[counts], recorded[name][counts], atol=1e-6)
    np.testing.assert_array_equal(weight[0].numpy(), recorded["sa_weight"][:, 0])
    np.testing.assert_array_equal(weight[1].numpy(), recorded["sa_weight_second"][:, 0])


@pytest.mark.parametrize(
    ("case", "family", "head", "gains"),
    [
        ("joints_mse", "pose_hrnet", {}, {}),
        ("joints_ohkm_mse_top8", "pose_hrnet", {}, {"hardest": 8}),
        ("simdr_nmt_ls0p1", "simdr", {}, {}),
        ("simdr_nmtnorm_ls0p1", "simdr", {}, {"normalised": True}),
        ("sa_simdr_kldiscret", "simdr", {"labels": "gaussian"}, {}),
        ("udp_offset_mse", "udp", {}, {}),
    ],
)
def test_losses_and_their_gradients_are_the_originals(original, case, family, head, gains) -> None:
    facts = original.json("train")["cases"][case]
    raw = [drawn(row).requires_grad_() for row in facts["pred"]]
    terms = small(family, gains=gains, **head).loss(tuple(raw) if len(raw) > 1 else raw[0], two(original), 0.0)
    total = sum(terms.values())
    total.backward()
    assert total.item() == pytest.approx(sum(facts["loss"]), rel=LOSS)
    for leaf, recorded, first in zip(raw, facts["grad_abs_sum"], facts["grad_first5"], strict=True):
        assert leaf.grad.abs().sum().item() == pytest.approx(recorded, rel=LOSS)
        np.testing.assert_allclose(leaf.grad.flatten()[:5].numpy(), first, rtol=1e-3, atol=1e-9)


def test_without_weights_unlabelled_keypoints_count_too(original: Original) -> None:
    """An option of the original's that no recipe of its uses: its bells are flat where nothing is labelled."""
    facts = original.json("train")["cases"]["joints_mse_noweight"]
    [maps] = [drawn(row).requires_grad_() for row in facts["pred"]]
    target, weight = small("pose_hrnet").rendered(two(original), maps)
    total = map_loss(maps, target, torch.ones_like(weight))
    total.backward()
    assert total.item() == pytest.approx(sum(facts["loss"]), rel=LOSS)
    assert maps.grad.abs().sum().item() == pytest.approx(facts["grad_abs_sum"][0], rel=LOSS)


@pytest.mark.parametrize(("laplace", "loss"), [(False, "loss_official"), (True, "loss_mmpose_laplace")])
def test_the_flow_and_the_likelihood_are_rles(original: Original, laplace: bool, loss: str) -> None:
    facts = original.json("train")["rle"]
    model = small("rle", gains={"laplace": laplace})
    kinds = {"s": "scales", "t": "shifts"}
    original.fill(
        model.flow, facts["flow_param_names"], facts["fill_prefix"],
        lambda name: f"{kinds[name[0]]}{name[1:]}",
    )  # fmt: skip
    place, spread = drawn(facts["mu"]).requires_grad_(), drawn(facts["raw_sigma"]).requires_grad_()
    goal = drawn(facts["gt"])
    labelled = torch.from_numpy(np.random.RandomState(47).rand(3, 17, 1) > 0.2)[..., 0]
    error = ((place - goal) / spread.sigmoid()).detach()
    np.testing.assert_allclose(model.flow.log_density(error).detach().flatten(), facts["log_phi"], atol=1e-4)
    total = sum(model.likelihood(place, spread.sigmoid(), goal, labelled).values())
    total.backward()
    assert total.item() == pytest.approx(facts[loss], rel=LOSS)
    if not laplace:  # whose gradients are recorded
        assert place.grad.abs().sum().item() == pytest.approx(facts["grad_mu_abs_sum"], rel=LOSS)
        assert spread.grad.abs().sum().item() == pytest.approx(facts["grad_raw_sigma_abs_sum"], rel=LOSS)
    scores = 1 - spread.sigmoid().mean(-1)
    np.testing.assert_allclose(scores.detach().flatten(), facts["scores_mean_1_minus_sigma"], atol=1e-6)
    assert sum(parameter.numel() for parameter in Flow().parameters()) == facts["n_flow_params"]


@pytest.mark.parametrize(("name", "kind"), [("PSA_p", Parallel), ("PSA_s", Sequential)])
def test_attention_is_that_of_psa(original: Original, name: str, kind: type) -> None:
    facts = original.json("train")["psa"][name]
    parts = {
        "conv_q_right": "place_query", "conv_v_right": "place_value", "conv_up": "spread",
        "conv_q_left": "channel_query", "conv_v_left": "channel_value",
    }  # fmt: skip
    block = kind(16)

    def ours(published: str) -> str:
        first, rest = published.split(".", 1)
        return f"{parts[first]}.{rest}"

    original.fill(block, facts["params"], facts["fill_prefix"], ours)
    with torch.no_grad():
        found = block(drawn(facts["input"]))
    np.testing.assert_allclose(found.numpy(), original.arrays("train")[name.lower()], atol=1e-5)
    assert sum(parameter.numel() for parameter in kind(48).parameters()) == facts["n_params_48"]
