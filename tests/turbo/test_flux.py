"""The flux distance: its minimum is the mean of the flux, whatever the stretch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky import Stretch
from imgturbo.turbo.distances import Mix
from imgturbo.turbo.flux import Flux


def loss(distance, prediction, target):
    valid = torch.ones_like(target[:, :1], dtype=torch.bool)
    return distance(prediction, target, valid)


@given(seed=st.integers(0, 2**31), scale=st.floats(0.5, 6), level=st.floats(-2, 3))
def test_the_gradient_is_zero_at_the_mean_of_the_flux_and_nowhere_near(seed, scale, level):
    """Of many truths for one input, as a stretch of sky gives them, not at the stretched mean."""
    stretch = Stretch(np.array([7.0]), np.array([0.25]), np.array([scale]))
    above_sky = np.random.default_rng(seed).lognormal(level, 1.0, 400)
    truth = torch.from_numpy(stretch((7.0 + above_sky)[None])).view(400, 1, 1, 1)

    def gradient(flux):
        u = torch.from_numpy(stretch(np.array([[flux]]))).view(1, 1, 1, 1).requires_grad_()
        loss(Flux([scale]), u.expand(400, 1, 1, 1), truth).total.sum().backward()
        return u.grad.item()

    mean = 7.0 + above_sky.mean()
    beyond = gradient(7.0 + 1.2 * above_sky.mean())
    assert abs(gradient(mean)) < 1e-6 * beyond
    assert gradient(7.0 + 0.8 * above_sky.mean()) < 0 < beyond


@given(shape=st.sampled_from([(2, 3, 5, 7), (4, 3), (1, 3, 1, 1)]), seed=st.integers(0, 1000))
def test_on_a_linear_stretch_it_is_half_the_square(shape, seed):
    u, t = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed)).double()
    found = loss(Flux([0.0, 0.0, 0.0]), u, t)
    torch.testing.assert_close(found.total, 0.5 * (u - t).square().flatten(1).sum(1))
    assert found.entries.tolist() == [t[0].numel()] * len(t)


def test_an_error_weighs_by_the_flux_that_is_claimed():
    """At f ≫ 1, c·(f − f̂)²/2f^{3/2}: half-way between counts and a fixed relative error."""
    c = 2.0
    f = torch.tensor([1e2, 1e4, 1e6], dtype=torch.float64)
    u, t = ((torch.asinh(flux) / c).view(3, 1, 1, 1) for flux in (f, 1.5 * f))
    found = loss(Flux([c]), u, t).total
    torch.testing.assert_close(found, 0.125 * f**0.5, rtol=1e-3, atol=0)


def test_what_is_masked_or_absurd_does_no_harm():
    u = torch.tensor([1e9, -1e9, float("nan"), 0.1]).view(1, 1, 1, 4).requires_grad_()
    t = torch.tensor([0.1, 0.1, 0.1, float("inf")]).view(1, 1, 1, 4)
    valid = torch.tensor([True, True, False, False]).view(1, 1, 1, 4)
    found = Flux([3.0])(u, t, valid)
    found.total.sum().backward()
    assert torch.isfinite(found.total).all()
    assert torch.isfinite(u.grad).all()
    assert u.grad[..., 2:].abs().max() == 0
    assert found.entries.item() == 2


def test_a_space_without_a_stretch_has_no_flux():
    Mix({"flux": 1.0}, scale=[1.0])
    with pytest.raises(ImgturboError, match="'flux' needs a space whose stretch is known"):
        Mix({"flux": 1.0})
