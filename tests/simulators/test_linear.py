"""The linear simulator draws what its closed forms say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from imgturbo.simulators import Linear, linear

N = 200_000


@pytest.fixture(scope="module")
def drawn():
    simulator, generator = Linear(), np.random.default_rng(0)
    z = simulator.prior(generator, N)
    return simulator, z, simulator.observe(generator, z)


def test_sides_standardise_what_is_drawn(drawn):
    simulator, z, x = drawn
    for rows, side in ((z, simulator.parameters), (x, simulator.observations)):
        standard = side.stretch(rows.T)
        np.testing.assert_allclose(standard.mean(1), 0, atol=0.01)
        np.testing.assert_allclose(standard.std(1), 1, atol=0.01)
        assert side.kind == "table"
        np.testing.assert_allclose(side.stretch.inverse(standard), rows.T, atol=1e-9)


def test_the_prior_has_its_covariance(drawn):
    simulator, z, _ = drawn
    np.testing.assert_allclose(np.cov(z.T), simulator.covariance, atol=0.02)


def test_the_posterior_is_that_of_regression(drawn):
    """z − E[z|x] has the posterior's covariance, and is uncorrelated with x."""
    simulator, z, x = drawn
    mean, covariance = simulator.posterior(x)
    left = z - mean
    np.testing.assert_allclose(left.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(left.T), covariance, atol=0.01)
    np.testing.assert_allclose((left - left.mean(0)).T @ (x - x.mean(0)) / N, 0, atol=0.02)


def test_draws_are_a_function_of_the_generator():
    a, b = (Linear().prior(np.random.default_rng(7), 5) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_the_example_runs():
    assert doctest.testmod(linear).failed == 0


def test_what_makes_no_gaussian_is_refused():
    for wrong in ({"noise": 0.0}, {"matrix": [[1.0]]}, {"covariance": [[1.0]]}, {"mean": [0.0]}):
        with pytest.raises(ValueError, match=r"1 validation error for Linear"):
            Linear(**wrong)
    with pytest.raises(ValueError, match="positive definite"):
        Linear(matrix=[[1.0, 0.0]], mean=[0.0, 0.0], covariance=[[1.0, 2.0], [2.0, 1.0]])
