"""Scores of posteriors, on a Gaussian whose posterior is known, right and spoilt."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from imgturbo.errors import ImgturboError
from imgturbo.metrics import posterior
from imgturbo.metrics.calibration import calibration_error, coverage_of_ranks
from imgturbo.metrics.posterior import (
    binned,
    calibration_error_100,
    contraction,
    rank_bands,
    rank_counts,
    recovery,
    resimulation,
    tarp_ranks,
    uniform_p_value,
    uniform_ranks,
)
from imgturbo.simulators import Linear

M, N, BINS = 2000, 99, 20


def drawn(width: float = 1.0, shift: float = 0.0, correlated: bool = True, seed: int = 0):
    """Truths and draws of the posterior of the linear simulator, spoilt as asked."""
    simulator, rng = Linear(), np.random.default_rng(seed)
    z, x = simulator.draw(rng, M)
    mean, covariance = simulator.posterior(x)
    if not correlated:
        covariance = np.diag(np.diag(covariance))
    noise = rng.standard_normal((M, N, 3)) @ np.linalg.cholesky(covariance).T
    deviation = np.sqrt(np.diag(covariance))
    draws = mean[:, None] + shift * deviation + width * noise
    return torch.tensor(draws), torch.tensor(z), simulator


def test_the_true_posterior_has_uniform_ranks():
    draws, truth, _ = drawn()
    ranks = uniform_ranks(draws, truth)
    low, high = rank_bands(M, BINS)
    counts = binned(ranks, BINS)
    assert counts.sum(1).tolist() == [M] * 3
    assert low <= counts.min() <= counts.max() <= high
    assert min(uniform_p_value(column) for column in ranks.T) > 0.01
    for row in rank_counts(draws, truth):
        assert calibration_error(row) < 0.02
        assert calibration_error_100(row) < 0.02


@pytest.mark.parametrize("wrong", [{"width": 0.7}, {"width": 1.4}, {"shift": 0.3}])
def test_a_wrong_posterior_is_found(wrong):
    draws, truth, _ = drawn(**wrong)
    ranks = uniform_ranks(draws, truth)
    low, high = rank_bands(M, BINS)
    counts = binned(ranks, BINS)
    assert ((counts < low) | (counts > high)).any(1).all()
    assert max(uniform_p_value(column) for column in ranks.T) < 1e-3


def test_coverage_and_both_errors_of_a_scaled_posterior_are_the_closed_ones():
    """Of N(0, 1) with draws of width w the α-interval covers 2Φ(w z) − 1, z = Φ⁻¹((1 + α)/2)."""
    draws, truth, _ = drawn(width=0.7)
    counts = rank_counts(draws, truth)[0]

    def covered(levels):
        return 2 * norm.cdf(0.7 * norm.ppf((1 + np.asarray(levels)) / 2)) - 1

    found = coverage_of_ranks(counts, [0.5, 0.9])
    np.testing.assert_allclose(found, covered([0.5, 0.9]), atol=0.03)
    many = np.arange(1, 101) / 100
    assert calibration_error_100(counts) == pytest.approx(
        np.median(np.abs(covered(many) - many)), abs=0.02
    )
    few = np.linspace(0.005, 0.995, 20)
    assert calibration_error(counts) == pytest.approx(
        np.median(np.abs(covered(few) - few)), abs=0.02
    )


def test_both_errors_are_those_of_a_loop_over_quantiles():
    """As the published codes have it: intervals between quantiles of the draws, level by level."""
    draws, truth, _ = drawn(width=0.8, shift=0.2)
    for k, counts in enumerate(rank_counts(draws, truth)):
        for error, levels in (
            (calibration_error_100, np.arange(1, 101) / 100),
            (calibration_error, np.linspace(0.005, 0.995, 20)),
        ):
            missed = []
            for level in levels:
                low, high = np.quantile(draws[..., k], [(1 - level) / 2, (1 + level) / 2], axis=1)
                inside = (low <= truth[:, k].numpy()) & (truth[:, k].numpy() <= high)
                missed.append(abs(inside.mean() - level))
            # Between quantiles of N draws lies a little less than the level: by 2/N at most.
            assert error(counts) == pytest.approx(np.median(missed), abs=2 / N)


def test_ranks_are_counted_by_hand():
    draws = torch.tensor([[[1.0], [2.0], [3.0]], [[5.0], [5.0], [6.0]]])
    truth = torch.tensor([[2.5], [5.0]])
    u = uniform_ranks(draws, truth)
    assert 2 / 4 <= u[0, 0] < 3 / 4
    assert 0 <= u[1, 0] < 3 / 4  # among two ties: before, between or after them
    spread = torch.cat([uniform_ranks(draws[1:], truth[1:], seed) for seed in range(400)])
    assert uniform_p_value(spread[:, 0] / 0.75) > 0.01


def test_bands_hold_what_they_promise():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(500, np.full(25, 1 / 25), 4000)
    low, high = rank_bands(500, 25, 0.95)
    together = ((counts >= low) & (counts <= high)).all(1).mean()
    assert 0.95 <= together < 0.99
    low, high = rank_bands(500, 25, 0.95, simultaneous=False)
    each = ((counts >= low) & (counts <= high)).mean()
    exact = binom(500, 1 / 25).cdf(high) - binom(500, 1 / 25).cdf(low - 1)
    assert each == pytest.approx(exact, abs=0.005)
    assert exact >= 0.95


def test_tarp_is_uniform_for_the_truth_and_sees_correlations():
    """Draws with every marginal right but no correlation pass the ranks, and not this test."""
    _, covariance = Linear().posterior(np.zeros((1, 5)))
    scale = torch.tensor(np.sqrt(np.diag(covariance)))
    # References that lie along the axis of the strongest correlation, as seen from the posterior.
    axis = torch.tensor(np.linalg.eigh(covariance)[1][:, -1])
    for correlated in (True, False):
        draws, truth, _ = drawn(correlated=correlated, seed=1)
        mean = draws.mean(1)
        u = tarp_ranks(draws / scale, truth / scale, (mean + 2 * axis) / scale)
        assert (uniform_p_value(u) > 0.01) == correlated
        assert min(uniform_p_value(c) for c in uniform_ranks(draws, truth).T) > 0.01


def test_tarp_by_hand():
    draws = torch.tensor([[[0.0, 1.0], [3.0, 0.0], [0.0, 4.0]]])
    u = tarp_ranks(draws, torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
    assert 1 / 4 <= u[0] < 2 / 4


def test_contraction_and_recovery_are_the_closed_ones():
    draws, truth, simulator = drawn()
    prior = torch.tensor(np.diag(simulator.covariance))
    _, covariance = simulator.posterior(np.zeros((1, 5)))
    closed = 1 - np.diag(covariance) / prior.numpy()
    np.testing.assert_allclose(contraction(draws, prior), closed, atol=0.005)
    found = recovery(draws, truth)
    # R² of the exact mean is the contraction; N draws add 1/N of the posterior's variance.
    np.testing.assert_allclose(found.r2, 1 - (1 - closed) * (1 + 1 / N), atol=0.01)
    error = (draws.mean(1) - truth).square().mean(0).sqrt()
    extent = truth.max(0).values - truth.min(0).values
    torch.testing.assert_close(found.nrmse, error / extent)


def test_resimulation_by_hand():
    seen = np.array([[[3.0, 4.0], [np.nan, np.nan], [0.0, 1.0]], [[np.nan] * 2] * 3])
    found = resimulation(seen, np.zeros((2, 2)), tries=(1, 2, 3, 9))
    np.testing.assert_allclose(found.squared, [13.0, np.nan])
    np.testing.assert_allclose(found.distance, [3.0, np.nan])
    np.testing.assert_allclose(found.missing, [1 / 3, 1.0])
    assert set(found.best) == {1, 2, 3}
    np.testing.assert_allclose([found.best[t][0] for t in (1, 2, 3)], [25.0, 25.0, 1.0])
    assert all(np.isnan(values[1]) for values in found.best.values())


def test_shapes_that_do_not_fit_are_refused():
    for draws, truth in (((4, 3), (4, 3)), ((4, 5, 3), (4, 2)), ((4, 5, 3), (5, 3))):
        with pytest.raises(ImgturboError, match=r"do not fit; give \(M, N, P\)"):
            uniform_ranks(torch.zeros(draws), torch.zeros(truth))


def test_the_example_runs():
    assert doctest.testmod(posterior).failed == 0
