"""Laws of the density baseline: torch's own normal, masks, and what it cannot be beaten by."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal

from imgturbo.metrics.likelihood import PixelMoments, bits_per_dimension

shapes = st.tuples(st.integers(2, 4), st.integers(1, 5), st.integers(3, 7), st.integers(3, 11))


def correlated(shape, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(shape[1], shape[1], generator=generator).double()
    noise = torch.randn(*shape, generator=generator).double()
    return torch.einsum("cd,bdhw->bchw", mix, noise) + offset


def fitted(x, valid=None):
    moments = PixelMoments()
    for image in range(len(x)):  # a batch at a time
        moments.update(x[image : image + 1], None if valid is None else valid[image : image + 1])
    return moments.gaussian()


@given(shapes, st.integers(0, 99), st.sampled_from([0.0, 1e4]))
def test_equals_torchs_own_normal(shape, seed, offset):
    x = correlated(shape, seed, offset)
    pixels = x.movedim(1, -1)
    model = fitted(x)
    torch.testing.assert_close(model.mean, pixels.mean((0, 1, 2)))
    covariance = torch.cov(pixels.flatten(0, 2).mT, correction=0).view(shape[1], shape[1])
    torch.testing.assert_close(model.covariance, covariance, rtol=1e-6, atol=1e-8)
    exact = MultivariateNormal(model.mean, model.covariance).log_prob(pixels).sum((1, 2))
    torch.testing.assert_close(model.log_prob(x), exact, rtol=1e-5, atol=1e-5)
    alone = model.diagonal()
    exact = Normal(alone.mean, alone.covariance.diagonal().sqrt()).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(alone.log_prob(x), exact)


@given(shapes)
def test_correlations_are_worth_bits(shape):
    x = correlated(shape)
    full = fitted(x)
    bits = [bits_per_dimension(m.log_prob(x), x[0].numel()).mean() for m in (full, full.diagonal())]
    assert bits[0] <= bits[1] + 1e-9
    # By the entropy of a normal: at its own maximum likelihood a model costs log det Σ alone.
    entropy = 0.5 * (torch.logdet(full.covariance) / shape[1] + math.log(2 * math.pi * math.e))
    assert bits[0].item() == pytest.approx(entropy.item() / math.log(2), rel=1e-6, abs=1e-6)


@given(shapes, st.sampled_from([math.nan, math.inf, 1e9]))
def test_masked_pixels_do_not_matter(shape, garbage):
    x = correlated(shape)
    valid = torch.rand(shape[0], 1, *shape[2:], generator=torch.Generator().manual_seed(1)) > 0.3
    valid[:, :, 0] = True
    model = fitted(x, valid)
    spoiled = x.masked_fill(~valid, garbage)
    assert torch.equal(fitted(spoiled, valid).covariance, model.covariance)
    torch.testing.assert_close(model.log_prob(spoiled, valid), model.log_prob(x, valid))
    whole = torch.ones_like(valid)
    torch.testing.assert_close(model.log_prob(x, whole), model.log_prob(x))


def test_bits_of_a_uniform_byte():
    """Equal odds of 256 values of width 1/256 are a density of 1: no bits; of width 1, 8 bits."""
    assert bits_per_dimension(torch.tensor([0.0]), 10).item() == 0
    log_prob = torch.tensor([-10 * math.log(256)])
    assert bits_per_dimension(log_prob, 10).item() == pytest.approx(8)


def test_a_constant_band_is_finite():
    x = correlated((2, 3, 5, 5))
    x[:, 1] = 0.25
    x[:, 2] *= 1e-3
    found = fitted(x).log_prob(x)
    # As if its variance were 10⁻¹², and as independent as a constant is.
    others = [0, 2]
    rest = fitted(x[:, others])
    own = -0.5 * 25 * (math.log(1e-12) + math.log(2 * math.pi))
    torch.testing.assert_close(found, rest.log_prob(x[:, others]) + own, rtol=1e-6, atol=1e-3)
    with pytest.raises(ValueError, match="no valid pixel"):
        PixelMoments().gaussian()
