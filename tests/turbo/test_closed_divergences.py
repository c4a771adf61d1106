"""KL and likelihood against torch's own distributions, sliced Wasserstein against its sorts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence
from turbo_standins import make_batch, make_objective, to_double

from imgturbo.config import Config
from imgturbo.engines import build_trainable, settle
from imgturbo.errors import ImgturboError
from imgturbo.nets import Posterior
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.turbo import build_objective
from imgturbo.turbo.closed import KL, Likelihood
from imgturbo.turbo.sliced import SlicedWasserstein
from imgturbo.turbo.spaces import Contest, Samples
from imgturbo.turbo.terms import Terms

HEADED = {"kind": "mlp", "hidden": [6], "head": "gaussian"}
DENSE = {"kind": "mlp", "hidden": [6]}


def mean_of(divergence, contest):
    entries = list(divergence.generator(contest))
    return sum(e.share * e.total.sum() / e.entries.sum().clamp(min=1) for e in entries)


def samples(values, valid=None):
    data = torch.as_tensor(values)
    whole = torch.ones(len(data), 1, *data.shape[2:], dtype=torch.bool)
    return Samples(data, whole if valid is None else valid).masked()


def side(columns, kind):
    names = tuple(f"c{i}" for i in range(columns))
    return Side(names, "", Stretch.linear(columns), kind=kind)


def objective_of(section, z="latent", encoder=HEADED, decoder=DENSE):
    config = Config.model_validate(
        {
            "objective": section,
            "model": {"decoder": decoder, "encoder": encoder, "critic": DENSE},
        }
    )
    return build_objective(config, side(2, z), side(3, "table"))


# ------------------------------------------------------------------------------- closed forms


@given(seed=st.integers(0, 99), hole=st.booleans())
def test_kl_is_the_sum_over_a_sample_and_the_mean_over_samples(seed, hole):
    draw = torch.Generator().manual_seed(seed)
    mean, log_sigma, fake = torch.randn(3, 5, 2, 3, 4, generator=draw, dtype=torch.float64)
    valid = torch.rand(5, 1, 3, 4, generator=draw) < (0.6 if hole else 2)
    valid[1] &= not hole
    both = samples(fake, valid)
    found = mean_of(KL(Terms(), "z_tilde"), Contest(both, both, None, Posterior(mean, log_sigma)))
    normal = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    cells = kl_divergence(Normal(mean, log_sigma.exp()), normal) * valid
    known = valid.flatten(1).any(1)
    torch.testing.assert_close(found, cells.flatten(1).sum(1)[known].mean())


def test_kl_is_zero_of_the_prior_alone():
    zero = torch.zeros(3, 2)
    both = samples(torch.randn(3, 2))
    assert mean_of(KL(Terms(), "z_tilde"), Contest(both, both, None, Posterior(zero, zero))) == 0


def test_likelihood_is_the_change_of_variables_and_leaves_out_holes():
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 3, generator=draw, dtype=torch.float64)
    x = torch.randn(6, 3, generator=draw, dtype=torch.float64)
    log_det = torch.linalg.slogdet(matrix)[1].expand(6)
    valid = torch.tensor([1, 1, 0, 1, 1, 1], dtype=torch.bool)[:, None]
    fake = samples(x @ matrix.T, valid)
    found = mean_of(Likelihood(Terms(), "z_tilde"), Contest(fake, fake, None, log_det=log_det))
    inverse = torch.linalg.inv(matrix)
    law = torch.distributions.MultivariateNormal(x.new_zeros(3), inverse @ inverse.T)
    torch.testing.assert_close(found, -law.log_prob(x[valid[:, 0]]).mean())


# ---------------------------------------------------------------------------------- sliced


def sliced(contest, slices=64, seed=3):
    torch.manual_seed(seed)
    return mean_of(SlicedWasserstein(Terms(slices=slices), "x_tilde"), contest)


@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 99))
def test_on_a_line_it_is_the_integral_of_squared_quantiles(n, m, seed):
    """Copies make samples of one number, which sorting pairs."""
    draw = np.random.default_rng(seed)
    fake, real = draw.normal(size=(n, 1)), draw.normal(size=(m, 1))
    found = sliced(Contest(samples(real), samples(fake), None), slices=3)
    pairs = zip(np.sort(np.repeat(fake, m)), np.sort(np.repeat(real, n)), strict=True)
    assert float(found) == pytest.approx(np.mean([(a - b) ** 2 for a, b in pairs]), abs=1e-12)


@given(seed=st.integers(0, 99))
def test_it_bounds_the_squared_wasserstein_distance_from_below(seed):
    """Projections are no farther apart than what is projected, however it is matched."""
    draw = np.random.default_rng(seed)
    fake, real = draw.normal(size=(5, 3)), draw.normal(size=(5, 3)) + 1
    found = float(sliced(Contest(samples(real), samples(fake), None)))
    assert found >= 0
    costs = [((fake[list(p)] - real) ** 2).sum(1).mean() for p in itertools.permutations(range(5))]
    assert found <= min(costs) + 1e-9


def test_a_shift_counts_as_its_square_over_the_dimension():
    draw = torch.Generator().manual_seed(0)
    real = torch.randn(40, 4, generator=draw, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.0, 2.0], dtype=torch.float64)
    found = sliced(Contest(samples(real), samples(real + shift), None), slices=4000)
    assert float(found) == pytest.approx(9 / 4, rel=0.05)
    assert sliced(Contest(samples(real), samples(real.flip(0)), None)) < 1e-20


def test_its_gradient_is_that_of_the_sorted_sum_and_empty_samples_are_left_out():
    draw = torch.Generator().manual_seed(1)
    fake, real = torch.randn(2, 7, 3, generator=draw, dtype=torch.float64)
    valid = torch.tensor([1, 1, 0, 1, 1, 1, 1], dtype=torch.bool)[:, None]
    leaf = fake.clone().requires_grad_()
    contest = Contest(samples(real, valid), Samples(leaf, valid), None)
    (ours,) = torch.autograd.grad(sliced(contest), leaf)
    torch.manual_seed(3)
    directions = torch.randn(64, 3)
    directions = (directions / directions.norm(dim=1, keepdim=True)).double()
    again = fake.clone().requires_grad_()
    lines = [(u[valid[:, 0]] @ directions.T).sort(0).values for u in (again, real)]
    (theirs,) = torch.autograd.grad((lines[0] - lines[1]).square().mean(), again)
    torch.testing.assert_close(ours, theirs)
    assert (ours[2] == 0).all()


def test_without_samples_it_is_zero_and_it_brings_distributions_together():
    none = torch.zeros(4, 1, dtype=torch.bool)
    values = torch.randn(4, 2, requires_grad=True)
    found = sliced(Contest(samples(torch.randn(4, 2), none), Samples(values, none), None))
    found.backward()
    assert found == 0
    real = 0.5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) + 2
    values = torch.randn(200, 2, requires_grad=True)
    optimiser = torch.optim.Adam([values], lr=0.1)
    for step in range(150):
        optimiser.zero_grad()
        sliced(Contest(samples(real), samples(values), None), seed=step).backward()
        optimiser.step()
    assert (values.mean(0) - real.mean(0)).abs().max() < 0.05
    assert (values.std(0) - real.std(0)).abs().max() < 0.05


# ------------------------------------------------------------ in the objective, and refusals


def test_the_posterior_and_the_draw_are_of_one_pass():
    section = {"preset": "vae"}
    objective = objective_of(section)
    calls = []
    objective.encoder.network.register_forward_hook(lambda *_: calls.append(1))
    batch = make_batch("dense", c=2, c2=3, full=True)
    losses = objective(batch)
    assert len(calls) == 1
    losses.generator.backward()
    assert all((p.grad != 0).any() for p in objective.parameters())
    assert set(losses.terms) == {"L/x_hat", "D/z_tilde/kl"}


@pytest.mark.parametrize(
    ("section", "settings", "words"),
    [
        ({"preset": "vae"}, {"encoder": DENSE}, "marginal.z_tilde: kl asks for the spread"),
        ({"preset": "bib_ae"}, {"encoder": DENSE}, "marginal.z_tilde: kl asks for the spread"),
        ({"preset": "vae"}, {"z": "table"}, "kl compares with draws from N"),
        ({"preset": "flow"}, {}, "marginal.z_tilde: likelihood is of an invertible network"),
        (
            {"preset": "l2", "distance": {"x_tilde": {"gaussian": 1}}},
            {},
            "distance.x_tilde: gaussian asks for the spread.*model.decoder.head",
        ),
        (
            {"preset": "l2", "distance": {"x_tilde": {"features": 1}}},
            {},
            "features.*critic of the same output",
        ),
    ],
)
def test_what_a_network_does_not_tell_is_not_asked(section, settings, words):
    with pytest.raises(ImgturboError, match=words):
        objective_of(section, **settings)


def test_the_gaussian_distance_is_the_likelihood_of_the_posterior():
    section = {
        "preset": "custom",
        "paired": {"z_tilde": 2},
        "distance": {"z_tilde": {"gaussian": 1}},
        "reduction": "sum",
    }
    objective = objective_of(section).double()
    batch = to_double(make_batch("dense", c=2, c2=3, full=True, pairs=[True, True, False, True]))
    losses = objective(batch)
    mean, log_sigma = objective.encoder.posterior(batch.x)
    nats = -Normal(mean, log_sigma.exp()).log_prob(batch.z).sum(1)
    torch.testing.assert_close(losses.generator, 2 * nats[batch.paired].mean())


def test_detached_hats_train_the_map_that_made_them_alone():
    paired = {"z_tilde": 0.0, "x_hat": 0.0, "x_tilde": 0.0, "z_hat": 0.0}
    marginal = {name: {} for name in paired} | {"x_hat": {"critic": 1.0}}
    batch = make_batch("dense", full=True)
    values = []
    for detach in (False, True):
        objective = make_objective(Terms(paired, marginal, detach=detach), "dense")
        losses = objective(batch)
        values.append(losses.generator.detach())
        losses.generator.backward()
        assert any(p.grad is not None for p in objective.encoder.parameters()) == (not detach)
        assert all((p.grad != 0).any() for p in objective.decoder.parameters())
        assert objective.decoder.calls == 1 + detach
    torch.testing.assert_close(*values)


def test_a_sum_is_the_mean_times_what_is_counted_in_each_sample():
    terms = Terms(paired={**Terms().paired, "x_tilde": 1.0})
    batch = make_batch(n=3, full=True, pairs=[True] * 3)
    mean, total = (
        make_objective(replace(terms, reduction=how))(batch).generator for how in ("mean", "sum")
    )
    torch.testing.assert_close(total, mean * batch.x[0].numel())


def test_one_flow_is_both_maps_and_its_loss_its_likelihood():
    config = Config.model_validate(
        {"model": {"decoder": {"kind": "invertible", "blocks": 2, "width": 8}}}
    )
    assert settle(config).objective.preset == "flow"
    torch.manual_seed(0)
    objective = build_trainable(config, side(3, "latent"), side(3, "table"))
    batch = make_batch("dense", n=50, c=3, c2=3, full=True)
    losses = objective(batch)
    assert set(losses.terms) == {"D/z_tilde/likelihood"}
    z, log_det = objective.encoder.flow(batch.x)
    normal = Normal(torch.zeros_like(z), torch.ones_like(z))
    expected = -(normal.log_prob(z).sum(1) + log_det).mean()
    torch.testing.assert_close(losses.generator, expected)
    assert len(objective.generator_parameters()) == len(list(objective.encoder.parameters()))
    torch.testing.assert_close(objective.decoder(objective.encoder(batch.x)), batch.x)
    there = objective.encoder.answer(batch.x)
    back = objective.decoder.answer(there.output)
    torch.testing.assert_close(there.log_det, -back.log_det, rtol=1e-4, atol=1e-4)


def test_an_invertible_map_refuses_what_it_cannot_be():
    flow = {"model": {"decoder": {"kind": "invertible"}}}
    config = Config.model_validate(flow)
    with pytest.raises(ImgturboError, match=r"as many numbers as it reads.*3 to 2"):
        build_trainable(config, side(2, "latent"), side(3, "table"))
    with pytest.raises(ImgturboError, match="likelihood compares with draws from N"):
        build_trainable(config, side(3, "table"), side(3, "table"))
    beside = {"model": {**flow["model"], "encoder": DENSE}}
    with pytest.raises(ImgturboError, match="has no encoder beside it"):
        settle(Config.model_validate(beside))
    other = {"model": {"decoder": DENSE, "encoder": {"kind": "invertible"}}}
    with pytest.raises(ImgturboError, match=r"model\.encoder\.kind invertible does not go with"):
        settle(Config.model_validate(other))
