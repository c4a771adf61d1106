"""Rational-quadratic splines: monotone, smooth at their bounds, the identity beyond them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import one_line

from imgturbo.flows import RationalQuadratic


@given(seed=st.integers(0, 10**6), bins=st.integers(2, 9), bound=st.floats(0.5, 10))
def test_splines_are_monotone_with_identity_tails(seed, bins, bound):
    law = RationalQuadratic(bins, bound)
    generator = torch.Generator().manual_seed(seed)
    theta = 3 * torch.randn(1, law.numbers, 1, generator=generator, dtype=torch.float64)
    x = torch.linspace(-1.5 * bound, 1.5 * bound, 4001, dtype=torch.float64)[None, None]
    z, _ = law.forward(x, theta.expand(-1, -1, x.shape[-1]))
    assert (z.diff() > 0).all()
    outside = x.abs() >= bound
    assert torch.equal(z[outside], x[outside])
    # Continuous: no jump at knots or bounds larger than the steepest bin explains.
    assert z.diff().max() < 1.5 * bound
    back = law.inverse(z, theta.expand(-1, -1, x.shape[-1]))
    assert (back - x).abs().max() < 1e-10 * bound


def test_a_splines_slope_is_one_at_its_bounds():
    law = RationalQuadratic(5, 2.0)
    theta = torch.randn(1, law.numbers, 2, dtype=torch.float64)
    x = torch.tensor([[[-2.0, 2.0]]], dtype=torch.float64) * (1 - 1e-9)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(law.forward(x, theta)[0].sum(), x)
    assert torch.allclose(slope, torch.ones_like(slope), atol=1e-5)


def test_a_spline_needs_two_bins():
    one_line(lambda: RationalQuadratic(bins=1), "bins")
