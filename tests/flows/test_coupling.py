"""Couplings: clamps, laws, sides, conditions, and inverses far from the data."""

from __future__ import annotations

import math

import pytest
import torch
from flow_layers import conv, zeros
from refusals import one_line
from shaken import shaken

from imgturbo.config.flows import FlowConfig
from imgturbo.flows import (
    Additive,
    Affine,
    Chain,
    Clamp,
    ConvPredictor,
    Coupling,
    DensePredictor,
    OrthogonalMixing,
    RationalQuadratic,
    VolumePreserving,
)


@pytest.mark.parametrize("law", [VolumePreserving(), Additive()])
def test_volume_is_preserved_exactly(law):
    layer = shaken(Coupling(6, conv(), law))
    assert torch.equal(layer(torch.randn(3, 6, 4, 4))[1], torch.zeros(3))


def test_gin_moves_volume_between_channels():
    layer = shaken(Coupling(6, conv(), VolumePreserving()))
    x = torch.randn(1, 6, 2, 2)
    assert (layer(x)[0] - x).abs().max() > 0.1


@pytest.mark.parametrize("alpha", [0.3, 1.5, 5.0])
@pytest.mark.parametrize("shape", ["atan", "tanh"])
@pytest.mark.parametrize("scaled", [True, False])
def test_clamps_are_odd_bounded_and_have_their_slope(alpha, shape, scaled):
    clamp = Clamp(alpha, shape, scaled)
    s = torch.tensor([-1e9, -1.0, 0.0, 1.0, 1e9], dtype=torch.float64, requires_grad=True)
    sigma = clamp(s)
    assert float(sigma[-1].detach()) == pytest.approx(alpha)
    assert torch.allclose(sigma, -sigma.flip(0))
    (slope,) = torch.autograd.grad(sigma[2], s)
    unit = 2 / math.pi if shape == "atan" else 1.0
    assert float(slope[2]) == pytest.approx(unit * (1 if scaled else alpha))


def test_a_one_sided_coupling_leaves_its_first_part():
    layer = shaken(Coupling(5, conv(), sides=1, first=2))
    x = torch.randn(2, 5, 3, 3)
    z = layer(x)[0]
    assert torch.equal(z[:, :2], x[:, :2])
    assert (z[:, 2:] != x[:, 2:]).any()


def test_one_condition_serves_many_samples():
    layer = shaken(Coupling(4, conv(2)))
    x, condition = torch.randn(6, 4, 3, 3), torch.randn(2, 2, 3, 3)
    z, _ = layer(x, condition)
    expected, _ = layer(x, condition.repeat_interleave(3, dim=0))
    assert torch.allclose(z, expected, atol=1e-6)
    assert torch.allclose(layer.inverse(z, condition), x, atol=1e-5)


@pytest.mark.parametrize("make_law", [Affine, RationalQuadratic])
def test_deep_chains_are_inverted_far_from_the_data(make_law):
    def errors(reach):
        torch.manual_seed(0)
        layers = []
        for seed in range(20):
            layers.append(
                Coupling(8, lambda i, o: DensePredictor(i, o, width=32, reach=reach), make_law())
            )
            layers.append(OrthogonalMixing(8, seed))
        chain = shaken(Chain(*layers), 0.05)
        x = 100 * torch.randn(64, 8)
        with torch.no_grad():
            there = (chain.inverse(chain(x)[0]) - x).abs().max() / 100
            back = (chain(chain.inverse(x))[0] - x).abs().max() / 100
        return float(there), float(back)

    assert max(errors(3.0)) < 1e-4
    if make_law is Affine:  # splines leave alone what is far away, with any network
        assert not max(errors(None)) < 1e-2


def test_bad_couplings_are_named_in_one_line():
    one_line(lambda: Coupling(1, conv()), "cannot split 1 channels")
    one_line(lambda: Coupling(4, conv(), first=4), "4 and 0")
    one_line(lambda: Coupling(4, conv())(zeros(1, 3, 2, 2)), "4 channels", "(1, 3, 2, 2)")
    one_line(lambda: Clamp(alpha=0), "alpha")
    conditional = Coupling(4, conv(2))
    x = zeros(4, 4, 2, 2)
    one_line(lambda: conditional(x), "needs a condition of 2 channels")
    one_line(lambda: conditional(x, zeros(4, 3, 2, 2)), "2 channels", "(4, 3, 2, 2)")
    one_line(lambda: conditional(x, zeros(4, 2, 1, 2)), "does not fit")
    one_line(lambda: conditional(x, zeros(3, 2, 2, 2)), "does not fit")
    one_line(lambda: Chain(conditional)(x, [None, None]), "2 conditions for a chain of 1")


def test_predictors_reach_as_far_as_a_config_lets_them_where_nothing_is_said():
    """One default, wherever it is looked for."""
    asked = FlowConfig.model_fields["reach"].default
    for predictor in (ConvPredictor, DensePredictor):
        assert predictor(3, 2, width=4).reach == asked
