"""Mixtures of normal distributions: torch's own density, and draws that have its moments."""

from __future__ import annotations

import pytest
import torch
from posterior_networks import network
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal


def as_torch(conditions):
    log_shares, means, roots = conditions
    precision = roots.transpose(-1, -2) @ roots
    return MixtureSameFamily(
        Categorical(logits=log_shares), MultivariateNormal(means, precision_matrix=precision)
    )


@pytest.mark.parametrize(("of", "components"), [(1, 1), (1, 4), (2, 1), (4, 3), (5, 2)])
def test_the_density_is_that_of_torch(of, components):
    net = network("mdn", 3, of, components=components).double()
    z, x = torch.randn(6, 3).double(), torch.randn(6, of).double()
    conditions = net.conditions(z)
    torch.testing.assert_close(net.log_prob(x, z), as_torch(conditions).log_prob(x))
    torch.testing.assert_close(net(z), as_torch(conditions).mean)


def test_draws_have_the_shares_means_and_covariances_of_the_mixture():
    net = network("mdn", 2, 3, size=0.5).double()
    z = torch.randn(2, 2).double()
    torch.manual_seed(3)
    draws = net.posterior(z, 40000)
    log_shares, means, roots = (part.detach() for part in net.conditions(z))
    shares = log_shares.exp()
    mean = (shares[..., None] * means).sum(1)
    away = means - mean[:, None]
    each = torch.linalg.inv(roots.transpose(-1, -2) @ roots)
    covariance = (shares[..., None, None] * (each + away[..., None] * away[..., None, :])).sum(1)
    for row in range(2):
        found = torch.cov(draws[row].T)
        scale = covariance[row].diagonal().sqrt()
        assert ((draws[row].mean(0) - mean[row]) / scale).abs().max() < 0.03
        assert ((found - covariance[row]) / (scale[:, None] * scale)).abs().max() < 0.05


def test_the_last_number_of_the_noise_chooses_by_cumulated_shares():
    net = network("mdn", 2, 2, components=3).double()
    shares = torch.tensor([[0.2, 0.5, 0.3]]).double()
    means = torch.arange(3.0).double()[None, :, None].expand(1, 3, 2)
    conditions = [shares.log(), means, torch.eye(2).double().expand(1, 3, 2, 2)]
    level = torch.tensor([0.01, 0.19, 0.21, 0.69, 0.71, 0.99]).double()
    epsilon = torch.zeros(6, 3).double()
    epsilon[:, 2] = torch.distributions.Normal(0, 1).icdf(level)
    assert net.push(epsilon, conditions)[:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_widths_stay_within_their_clamp():
    net = network("mdn", 2, 3, size=30.0, clamp=2.0)
    _, _, roots = net.conditions(100 * torch.randn(20, 2))
    diagonal = roots.diagonal(dim1=-2, dim2=-1).log()
    assert diagonal.abs().max() <= 2 + 1e-5
    assert diagonal.abs().max() > 1.9
