"""The Gaussian head: what it says is what it draws, of rows and images alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from imgturbo.config import MLPConfig, ResNetConfig, UNetConfig
from imgturbo.nets import FreshNoise, GaussianHead, PositionalNoise, Posterior, build_generator

CONFIGS = {
    "rows": MLPConfig(hidden=[8], head="gaussian"),
    "rows-noise": MLPConfig(hidden=[8], head="gaussian", noise_channels=2),
    "unet": UNetConfig(width=4, depth=1, blocks=1, head="gaussian"),
    "resnet": ResNetConfig(width=4, downs=1, blocks=1, head="gaussian"),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def built(name, channels=(3, 3)):
    torch.manual_seed(0)
    network = build_generator(CONFIGS[name], *channels).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    u = torch.randn(5, channels[0], *(() if "rows" in name else (7, 11)))
    return network, u


@every_config
@pytest.mark.parametrize("channels", [(3, 3), (3, 2), (1, 4), (4, 2)])
def test_without_noise_it_is_the_mean_and_with_it_a_draw(name, channels):
    network, u = built(name, channels)
    mean, log_sigma = network.posterior(u)
    assert mean.shape == log_sigma.shape == (5, channels[1], *u.shape[2:])
    assert torch.equal(network(u), mean)
    assert network.stochastic

    class Ones:
        def __call__(self, layer, shape, stride, like):
            return torch.full(tuple(shape), float(layer < 0), dtype=like.dtype)

    torch.testing.assert_close(network(u, Ones()), mean + log_sigma.exp())


@every_config
def test_draws_have_the_moments_that_it_states(name):
    network, u = built(name)
    if network.network.stochastic:  # its inner noise spreads μ as well
        return
    mean, log_sigma = network.posterior(u[:1])
    many = u[:1].expand(4000, *u.shape[1:])
    with torch.no_grad():
        draws = network(many, FreshNoise())
    sigma = log_sigma[0].exp()
    assert ((draws.mean(0) - mean[0]) / sigma).abs().max() < 0.1  # 6 of its standard errors
    assert (draws.std(0) / sigma - 1).abs().max() < 0.08


@every_config
def test_many_draws_are_the_draws_one_by_one(name):
    network, u = built(name)
    noises = [PositionalNoise(seed, [[k, 2] for k in range(5)]) for seed in (1, 2)] + [None]
    together = list(network.draws(u, noises))
    for draw, noise in zip(together, noises, strict=True):
        torch.testing.assert_close(draw, network(u, noise))


@pytest.mark.parametrize("name", ["rows", "unet", "resnet"])
@pytest.mark.parametrize("factor", [-1e4, 1e4])
def test_log_sigma_is_bounded_and_no_gradient_is_infinite(name, factor):
    network, u = built(name)
    leaf = (factor * u).requires_grad_()
    mean, log_sigma = network.posterior(leaf)
    assert log_sigma.abs().max() <= 6
    (mean.sum() + log_sigma.exp().sum()).backward()
    assert leaf.grad.isfinite().all()


@given(seed=st.integers(0, 99))
def test_kl_and_nats_are_torchs(seed):
    draw = torch.Generator().manual_seed(seed)
    mean, log_sigma, value = torch.randn(3, 4, 3, generator=draw, dtype=torch.float64)
    posterior, normal = Posterior(mean, log_sigma), Normal(mean, log_sigma.exp())
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(posterior.kl_to_normal(), kl_divergence(normal, standard))
    torch.testing.assert_close(posterior.nats(value), -normal.log_prob(value))


def test_gradients_reach_both_halves_through_a_draw():
    network, u = built("rows")
    network(u, FreshNoise()).square().sum().backward()
    rows = network.network.last.weight.grad.abs().sum(1)
    assert (rows > 0).all()


def test_the_residual_is_of_the_mean_alone():
    network = build_generator(UNetConfig(width=4, depth=1, blocks=1, head="gaussian"), 2, 2)
    assert isinstance(network, GaussianHead)
    u = torch.randn(2, 2, 9, 9)
    mean, log_sigma = network.posterior(u)
    assert (mean - u).abs().max() < 0.1
    assert log_sigma.abs().max() < 0.1
