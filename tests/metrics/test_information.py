"""Information of normal distributions against its textbook form, and bounds that keep below it."""

from __future__ import annotations

import doctest
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal

from imgturbo.metrics import information
from imgturbo.metrics.information import (
    contrastive_bound,
    entropy_of_normal,
    information_of_normal,
    lower_bound,
)


def joint(noise, seed=0, n=4000, numbers=2):
    """z ~ N(0, 1), x = A z + noise ε; their covariance, (x, z), and both conditionals."""
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(3, numbers, generator=draw, dtype=torch.float64)
    z = torch.randn(n, numbers, generator=draw, dtype=torch.float64)
    x = z @ a.T + noise * torch.randn(n, 3, generator=draw, dtype=torch.float64)
    unit = torch.eye(numbers, dtype=torch.float64)
    spread = a @ a.T + noise**2 * torch.eye(3, dtype=torch.float64)
    covariance = torch.cat([torch.cat([spread, a], 1), torch.cat([a.T, unit], 1)])
    posterior = torch.linalg.inv(unit + a.T @ a / noise**2)
    conditional = MultivariateNormal(x @ a @ posterior / noise**2, posterior)
    return x, z, covariance, conditional


@given(rho=st.floats(-0.99, 0.99))
def test_of_two_numbers_it_is_the_logarithm_of_their_correlation(rho):
    found = information_of_normal(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64), 1)
    assert found == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-12)


@given(seed=st.integers(0, 99))
def test_it_is_symmetric_and_minds_no_linear_map_of_either(seed):
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(5, 5, generator=draw, dtype=torch.float64)
    covariance = root @ root.T + torch.eye(5)
    turned = covariance.roll((3, 3), (0, 1))  # z before x
    assert information_of_normal(turned, 3) == pytest.approx(information_of_normal(covariance, 2))
    change = torch.block_diag(*(torch.randn(k, k, generator=draw).double() for k in (2, 3)))
    moved = change @ covariance @ change.T
    assert information_of_normal(moved, 2) == pytest.approx(
        information_of_normal(covariance, 2), rel=1e-5, abs=1e-6
    )


def test_entropy_is_torchs():
    covariance = torch.tensor([[2.0, 0.3], [0.3, 0.5]])
    law = MultivariateNormal(torch.zeros(2), covariance)
    assert entropy_of_normal(covariance) == pytest.approx(float(law.entropy()), rel=1e-6)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_true_conditional_attains_the_lower_bound_and_another_stays_below(noise):
    _, z, covariance, conditional = joint(noise)
    truth = information_of_normal(covariance, 3)
    entropy = entropy_of_normal(torch.eye(2))
    found = lower_bound(-conditional.log_prob(z), entropy)
    assert found == pytest.approx(truth, rel=0.05)
    rough = Normal(conditional.mean, 1.5 * conditional.variance.sqrt())
    assert lower_bound(-rough.log_prob(z).sum(1), entropy) < found


def test_the_contrastive_bound_nears_the_truth_from_below_and_never_passes_the_number_of_pairs():
    _, z, covariance, conditional = joint(1.0, n=1500)
    truth = information_of_normal(covariance, 3)
    scores = MultivariateNormal(
        conditional.mean[:, None], conditional.covariance_matrix[0]
    ).log_prob(z)
    assert contrastive_bound(scores) == pytest.approx(truth, rel=0.05)
    few = torch.stack([scores[i : i + 4, i : i + 4] for i in range(0, 1500, 4)])
    bounds = torch.tensor([contrastive_bound(one) for one in few])
    assert bounds.max() <= math.log(4)
    assert bounds.mean() < contrastive_bound(scores)
    assert contrastive_bound(torch.zeros(7, 7)) == pytest.approx(0)
    # A function of z alone changes nothing: only which x it belongs to is asked.
    moved = scores + z.square().sum(1)
    assert contrastive_bound(moved) == pytest.approx(contrastive_bound(scores))


def test_the_example_runs():
    assert doctest.testmod(information).failed == 0
