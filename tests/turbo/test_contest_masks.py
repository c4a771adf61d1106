"""Holes are no clue: real and fake that differ by their masks alone are not told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from turbo_standins import Critic, make_batch, make_objective

from imgturbo.data.batch import Batch
from imgturbo.turbo.divergences import Critic as CriticDivergence
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.presets import PRESETS
from imgturbo.turbo.spaces import Contest, Output, Samples, contest
from imgturbo.turbo.terms import Terms

SHAPES = {"conv": (9, 7), "dense": ()}


class Same(nn.Module):
    """x̃ = w z with w = 1: the fakes are as the data, but for the holes of z."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, u, noise=None):
        return self.weight * u


def alike(n, holes, tail, generator):
    """z and x of one distribution, far from 0, of which other shares are missing, in patches."""
    data, valid = [], []
    for share in holes:
        values = 2 + torch.randn(n, 2, *tail, generator=generator)
        data.append(values)
        coarse = torch.rand(n, 1, *(-(-side // 3) for side in tail), generator=generator) >= share
        for axis, side in enumerate(tail, start=2):
            coarse = coarse.repeat_interleave(3, axis).narrow(axis, 0, side)
        valid.append(coarse)
    rows = torch.arange(n)
    return Batch(*data, *valid, torch.zeros(n, dtype=torch.bool), rows, rows)


def terms(**settings):
    marginal = {name: {} for name in PRESETS["custom"].terms.marginal} | {
        "x_tilde": {"critic": 1.0}
    }
    return replace(PRESETS["custom"].terms, marginal=marginal, **settings)


@pytest.mark.parametrize("kind", ["conv", "dense"])
@pytest.mark.parametrize("pool", [0, 24])
@pytest.mark.parametrize("holes", [(0.0, 0.5), (0.6, 0.2)])
def test_a_critic_that_trains_stays_at_a_quarter(kind, pool, holes):
    """LSGAN, D = ½: ½(½ − 1)² + ½(½)² = ¼. Each in a mask of its own, it falls far below."""
    draw = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    critic = Critic(kind, 2)
    objective = Objective(None, Same(), {"x_tilde": critic}, terms(pool=pool))
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    found = []
    for _ in range(250):
        losses = objective(alike(16, holes, SHAPES[kind], draw))
        optimiser.zero_grad()
        losses.critic.backward()
        optimiser.step()
        found.append(float(losses.critic.detach()))
    assert 0.245 < sum(found[-100:]) / 100 < 0.26


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    pool=st.integers(0, 6),
    kind=st.sampled_from(["conv", "dense"]),
    preset=st.sampled_from(["turbo", "cyclegan", "one_cycle", "pix2pix"]),
    conditional=st.booleans(),
)
def test_every_row_of_both_wears_one_mask(seed, pool, kind, preset, conditional):
    """Pairs or not, conditional or not, fakes of this step or of the past."""
    chosen = replace(
        PRESETS[preset].terms, pool=pool, conditional=conditional, identity={"x": 0.0, "z": 0.0}
    )
    objective = make_objective(chosen, kind)
    for step in range(4):
        torch.manual_seed(step)
        objective(make_batch(kind, seed=seed + step))
        for name, critic in objective.critics.items():
            real, fake = critic.seen[-1].chunk(2)
            assert torch.equal(real != 0, fake != 0), name
            (one,) = {tuple(seen.shape[2:]) for seen in critic.seen}
            assert one == SHAPES[kind]


def test_a_fake_of_the_past_brings_its_own_condition_in_the_shared_mask():
    torch.manual_seed(0)
    seen = []

    class Spy(nn.Module):
        def forward(self, u, condition=None):
            seen.append((u.detach(), condition.detach()))
            return [u.mean(1, keepdim=True)]

    divergence = CriticDivergence(
        Terms(conditional=True, pool=2, adversarial="lsgan"), "x_tilde", Spy()
    )
    paired = torch.tensor([True, True, False])
    for step in range(1, 9):
        valid = torch.rand(2, 3, 1, 5, 4) < 0.7
        own = Samples(torch.full((3, 2, 5, 4), -1.0), valid[0]).masked()
        other = Samples(torch.full((3, 1, 5, 4), 10.0 * step), valid[1]).masked()
        fake = Samples(torch.full((3, 2, 5, 4), float(step)), valid[1])
        list(divergence.opponent(contest("x_tilde", Output(fake), own, other, paired, True)))
        (real, past), (beside_real, beside_past) = (both.chunk(2) for both in seen[-1])
        assert torch.equal(real != 0, past != 0)
        assert not real[2].any()
        assert torch.equal(beside_past[:, :1], 10 * past[:, :1])
        assert torch.equal(beside_real, torch.where(real[:, :1] != 0, 10.0 * step, 0.0))
    assert any((both[0][3:] > 0).any() and len(both[0][3:].unique()) > 2 for both in seen)


def test_a_contest_in_two_masks_is_judged_in_one():
    """Also where someone else than ``contest`` puts the two beside each other."""
    torch.manual_seed(0)
    critic, valid = Critic("conv", 2), torch.rand(2, 3, 1, 9, 7) < 0.6
    real, fake = (Samples(torch.randn(3, 2, 9, 7), own).masked() for own in valid)
    shared = valid[0] & valid[1]
    found = list(CriticDivergence(Terms(r1=1.0), "x_hat", critic).opponent(
        Contest(real, fake, None)
    ))  # fmt: skip
    alike = Contest(real.where(shared), fake.where(shared), None)
    again = list(CriticDivergence(Terms(r1=1.0), "x_hat", critic).opponent(alike))
    for one, two in zip(found, again, strict=True):
        torch.testing.assert_close(one.total, two.total)
        torch.testing.assert_close(one.entries, two.entries)


@pytest.mark.parametrize("holes", [(0.5, 0.0), (0.3, 0.6), (0.0, 0.0)])
def test_mmd_stays_at_zero_whosever_the_holes(holes):
    """The mean over many batches of one distribution, in units of its error."""
    draw = torch.Generator().manual_seed(4)
    marginal = {name: {} for name in PRESETS["custom"].terms.marginal} | {"x_tilde": {"mmd": 1.0}}
    objective = Objective(None, Same(), {}, replace(PRESETS["custom"].terms, marginal=marginal))
    found = []
    for _ in range(400):
        batch = alike(5, holes, (5, 3), draw)
        found.append(objective(batch).terms["D/x_tilde/mmd"])
    values = torch.stack(found)
    assert abs(values.mean()) < 3.5 * values.std() / 400**0.5
    assert values.std() / 400**0.5 < 0.01
