"""Divergences: MMD against its double loop, its laws, and a new one in a few lines."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from turbo_standins import KINDS, make_batch, make_objective, to_double

from imgturbo.config import ObjectiveConfig
from imgturbo.errors import ImgturboError
from imgturbo.turbo.divergences import DIVERGENCES, MMD, Divergence, Entry
from imgturbo.turbo.presets import resolve
from imgturbo.turbo.spaces import Contest, Samples
from imgturbo.turbo.terms import Terms

SCALES = (0.05, 0.2, 0.9)


def unbiased_mmd2(fake, real, scales=SCALES):
    """Gretton et al. 2012, eq. 3, by a double loop over rows of numbers."""

    def k(a, b):
        return sum(h**2 / (h**2 + ((a - b) ** 2).mean()) for h in scales)

    def within(u):
        return sum(k(a, b) for a, b in itertools.permutations(u, 2)) / (len(u) * (len(u) - 1))

    cross = sum(k(a, b) for a in fake for b in real) / (len(fake) * len(real))
    return within(fake) + within(real) - 2 * cross


def mmd_of(contest, **settings):
    entries = list(MMD(Terms(**settings), "x_tilde").generator(contest))
    return sum(e.share * e.total / e.entries.clamp(min=1) for e in entries)


def rows(values, valid=None):
    data = torch.as_tensor(values, dtype=torch.float64)
    whole = torch.ones(len(data), 1, *data.shape[2:], dtype=torch.bool)
    return Samples(data, whole if valid is None else valid).masked()


sizes = st.integers(2, 5)


@given(n=sizes, m=sizes, d=st.integers(1, 5), seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_mmd_is_its_double_loop(n, m, d, seed, scale):
    draw = np.random.default_rng(seed)
    fake, real = draw.normal(size=(n, d)) * scale, draw.normal(size=(m, d))
    found = mmd_of(Contest(rows(real), rows(fake), None))
    assert float(found) == pytest.approx(unbiased_mmd2(fake, real), rel=1e-9, abs=1e-11)


@given(seed=st.integers(0, 99), hole=st.integers(0, 5))
def test_mmd_of_images_is_that_of_rows_and_leaves_out_empty_samples(seed, hole):
    draw = torch.Generator().manual_seed(seed)
    fake, real = torch.randn(2, 6, 2, 3, 4, generator=draw, dtype=torch.float64)
    valid = torch.rand(2, 6, 1, 3, 4, generator=draw) < 0.6
    valid[0, hole] = False
    contest = Contest(rows(real, valid[1]), rows(fake, valid[0]), None)
    ours = [
        s.data[s.valid.flatten(1).any(1)].flatten(1).numpy() for s in (contest.fake, contest.real)
    ]
    assert len(ours[0]) <= 5
    assert float(mmd_of(contest)) == pytest.approx(unbiased_mmd2(*ours), rel=1e-9, abs=1e-11)


@given(seed=st.integers(0, 99))
def test_mmd_is_unbiased(seed):
    """Over all ways to call half of some samples fake it is 0 on average, to rounding."""
    pool = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = []
    for chosen in itertools.combinations(range(6), 3):
        rest = [i for i in range(6) if i not in chosen]
        found.append(mmd_of(Contest(rows(pool[rest]), rows(pool[list(chosen)]), None)))
    assert abs(torch.stack(found).mean()) < 1e-12
    assert torch.stack(found).std() > 1e-3


def test_mmd_tells_distributions_apart_and_its_gradient_brings_them_together():
    torch.manual_seed(0)
    real = 0.5 * torch.randn(80, 2, dtype=torch.float64) + torch.tensor([1.0, -1.0])
    moved = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    spread = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([moved, spread], lr=0.1)
    noise = torch.randn(80, 2, dtype=torch.float64)
    first = None
    for _ in range(80):
        found = mmd_of(
            Contest(rows(real), Samples(noise * spread + moved, rows(noise).valid), None)
        )
        first = found.detach() if first is None else first
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    assert first > 0.1
    assert abs(found.detach()) < 0.02
    torch.testing.assert_close(moved.detach(), real.mean(0), atol=0.15, rtol=0)
    assert float(spread.detach()) == pytest.approx(0.5, abs=0.15)


def test_the_gradient_is_that_of_the_whole_sum():
    """Rows of others come without gradient; twice one's own makes up for it."""
    torch.manual_seed(1)
    fake, real = torch.randn(2, 5, 3, dtype=torch.float64)

    def plain(u):
        square = ((u[:, None] - torch.cat([u, real])) ** 2).mean(2)
        k = sum(h**2 / (h**2 + square) for h in SCALES)
        return (k[:, :5].sum() - k[:, :5].diagonal().sum()) / 20 - 2 * k[:, 5:].mean()

    leaf = fake.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain(leaf), leaf)
    found = mmd_of(Contest(rows(real), Samples(leaf, rows(fake).valid), None))
    (ours,) = torch.autograd.grad(found, leaf)
    torch.testing.assert_close(ours, expected)


def test_other_lengths_are_other_kernels():
    fake, real = np.random.default_rng(0).normal(size=(2, 4, 3))
    found = mmd_of(Contest(rows(real), rows(fake), None), mmd_scales=(1.5,))
    assert float(found) == pytest.approx(unbiased_mmd2(fake, real, (1.5,)))


@pytest.mark.parametrize("kind", KINDS)
def test_mmd_in_the_objective_is_the_formula_and_costs_no_critic(kind):
    terms = resolve(
        ObjectiveConfig(preset="custom", marginal={"x_tilde": {"mmd": 10, "critic": 0}})
    )
    objective = make_objective(terms, kind).double()
    assert len(objective.critics) == 0
    batch = to_double(make_batch(kind, full=True))
    losses = objective(batch)
    fake, real = objective.decoder(batch.z).detach().flatten(1), batch.x.flatten(1)
    expected = unbiased_mmd2(fake.numpy(), real.numpy())
    assert set(losses.terms) == {"D/x_tilde/mmd"}
    assert float(losses.terms["D/x_tilde/mmd"]) == pytest.approx(expected)
    assert float(losses.generator.detach()) == pytest.approx(10 * expected)
    assert losses.critic == 0
    losses.generator.backward()
    assert all((p.grad != 0).any() for p in objective.parameters())


@pytest.mark.parametrize("conditional", [False, True])
def test_a_mix_is_the_sum_of_its_parts_and_the_critics_game_stays(conditional):
    """A conditional critic judges pairs; mmd beside it compares outputs alone, of all samples."""

    def terms(mix):
        section = {"preset": "custom", "marginal": {"x_tilde": mix}, "conditional": conditional}
        return resolve(ObjectiveConfig(**section))

    batch = make_batch()
    alone = [make_objective(terms(mix))(batch) for mix in (2, {"mmd": 3})]
    both = make_objective(terms({"critic": 2, "mmd": 3}))(batch)
    torch.testing.assert_close(both.generator, alone[0].generator + alone[1].generator)
    assert torch.equal(both.critic, alone[0].critic)
    assert both.terms == alone[0].terms | alone[1].terms


def test_too_few_samples_are_zero_and_one_in_all_is_an_error():
    terms = resolve(ObjectiveConfig(preset="custom", marginal={"x_tilde": {"mmd": 1}}))
    objective, batch = make_objective(terms), make_batch(full=True)
    batch.x_valid[1:] = False
    losses = objective(replace(batch, paired=torch.zeros_like(batch.paired)))
    losses.generator.backward()
    assert losses.generator == 0
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters())
    with pytest.raises(ImgturboError, match=r"data\.batch_size to 2"):
        objective(make_batch(n=1))


def test_mmd_is_in_full_precision_under_autocast():
    fake, real = 30 + 0.1 * torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    contest = Contest(rows(real), rows(fake), None)
    single = Contest(*(Samples(s.data.float(), s.valid) for s in contest[:2]), None)
    with torch.autocast("cpu", torch.bfloat16):
        found = mmd_of(single)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(mmd_of(contest)), rel=1e-4, abs=1e-5)


class Means(Divergence):
    """‖E û − E u‖², the divergence that only means matter to."""

    def generator(self, contest):
        """One entry a number."""
        gap = (contest.fake.data.mean(0) - contest.real.data.mean(0)).square()
        yield Entry(gap, torch.ones_like(gap))


def test_a_new_divergence_is_one_small_class(monkeypatch):
    monkeypatch.setitem(DIVERGENCES, "means", Means)
    section = {"preset": "custom", "marginal": {"x_tilde": {"means": 2}, "z_hat": {"mmd": 1}}}
    objective = make_objective(resolve(ObjectiveConfig(**section)), "dense")
    batch = make_batch("dense", full=True)
    losses = objective(batch)
    expected = (objective.decoder(batch.z).mean(0) - batch.x.mean(0)).square().mean()
    assert set(losses.terms) == {"D/x_tilde/means", "D/z_hat/mmd"}
    torch.testing.assert_close(losses.terms["D/x_tilde/means"], expected.detach())
    assert objective.state_beside() == {}
    objective.load_state_beside({})
