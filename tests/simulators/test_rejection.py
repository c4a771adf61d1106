"""ABC finds the closed posterior of a linear problem, whatever the pool is cut into."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import kstest, norm

from imgturbo.errors import ImgturboError
from imgturbo.simulators import Arm, Ballistics, Linear, Mixture, rejection
from imgturbo.simulators.rejection import keep_nearest, keep_tolerated


def line(noise: float = 0.3) -> Linear:
    """Two parameters, of which a sum is observed."""
    return Linear(
        matrix=[[1.0, 0.5]], mean=[1.0, -2.0], covariance=[[1.0, 0.6], [0.6, 2.0]], noise=noise
    )


@pytest.fixture
def observed():
    return np.array([[0.0], [1.5], [-1.0]])


def test_with_a_gaussian_tolerance_it_is_the_posterior_with_more_noise(observed):
    """Not about, but exactly: σ² + τ²."""
    tolerance = 0.4
    kept = keep_tolerated(line(), observed, tolerance=tolerance, keep=4000, seed=1)
    mean, covariance = line(float(np.hypot(0.3, tolerance))).posterior(observed)
    assert (kept.count == 4000).all()
    for draws, centre in zip(kept.draws, mean, strict=True):
        for k in range(2):
            scaled = (draws[:, k] - centre[k]) / np.sqrt(covariance[k, k])
            assert kstest(scaled, norm.cdf).pvalue > 0.01
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1)


def test_the_nearest_of_a_large_pool_are_the_posterior(observed):
    kept = keep_nearest(line(), observed, pool=400_000, keep=2000, seed=1)
    mean, covariance = line().posterior(observed)
    assert (kept.reach < 0.02).all()
    for draws, centre in zip(kept.draws, mean, strict=True):
        scaled = (draws - centre) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
        assert min(kstest(column, norm.cdf).pvalue for column in scaled.T) > 0.01


def test_blocks_are_the_pool_sorted_whole(observed, monkeypatch):
    """The nearest of all blocks, the very nearest left out, by sorting all of the pool."""
    monkeypatch.setattr(rejection, "BLOCK", 700)
    kept = keep_nearest(line(), observed, pool=5000, keep=40, skip=1, seed=3)
    parts = []
    for number, size in enumerate([700] * 7 + [100]):
        parts.append(line().draw(np.random.default_rng([3, number]), size))
    parameters, seen = (np.concatenate(part) for part in zip(*parts, strict=True))
    for draws, reach, target in zip(kept.draws, kept.reach, observed, strict=True):
        order = np.argsort(np.abs(seen[:, 0] - target[0]))[1:41]
        np.testing.assert_array_equal(draws, parameters[order].astype(np.float32))
        assert reach == pytest.approx(abs(seen[order[-1], 0] - target[0]))
    assert kept.proposals == 5000


def test_tolerance_by_hand(observed, monkeypatch):
    """A loop over proposals and targets, with the same uniform numbers, keeps the same ones."""
    monkeypatch.setattr(rejection, "BLOCK", 500)
    kept = keep_tolerated(line(), observed, tolerance=0.2, keep=60, cap=1200, seed=4)
    found: list[list[np.ndarray]] = [[], [], []]
    for number, size in enumerate((500, 500, 200)):
        generator = np.random.default_rng([4, number])
        parameters, seen = line().draw(generator, size)
        chance = 1 - generator.random(size)
        for z, y, u in zip(parameters, seen[:, 0], chance, strict=True):
            for target in range(3):
                likeness = np.exp(-((y - observed[target, 0]) ** 2) / 0.08)
                if u <= likeness and len(found[target]) < 60:
                    found[target].append(z)
    assert kept.count.tolist() == [len(one) for one in found]
    for draws, one in zip(kept.draws, found, strict=True):
        np.testing.assert_allclose(draws[: len(one)], one, rtol=1e-6)
        assert np.isnan(draws[len(one) :]).all()


def test_a_pool_may_hold_proposals_without_an_observation():
    class Dark(Ballistics):
        def observe(self, generator, parameters):
            landed = super().observe(generator, parameters)
            return np.where(parameters[:, :1] < 0, np.nan, landed)

    kept = keep_nearest(Dark(), np.array([[5.0]]), pool=4000, keep=100)
    assert kept.count.tolist() == [100]
    assert (kept.draws[0, :, 0] >= 0).all()
    few = keep_nearest(Dark(), np.array([[5.0]]), pool=200, keep=150)
    assert 60 < few.count[0] < 130
    assert np.isnan(few.draws[0, few.count[0] :]).all()
    assert np.isfinite(few.reach).all()


def test_kept_parameters_of_the_arm_lead_to_the_target():
    target = np.array([[1.5, 0.2]])
    kept = keep_nearest(Arm(), target, pool=200_000, keep=100)
    hands = Arm().observe(None, kept.draws[0].astype(float))
    assert np.linalg.norm(hands - target, axis=1).max() <= kept.reach[0] * (1 + 1e-4)


def test_memory_does_not_grow_with_the_pool(observed, monkeypatch):
    monkeypatch.setattr(rejection, "BLOCK", 4000)
    peaks = []
    for blocks in (3, 30):
        tracemalloc.start()
        keep_nearest(line(), observed, pool=4000 * blocks, keep=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_closed_posteriors_are_drawn(observed):
    simulator, rng = line(), np.random.default_rng(0)
    draws = simulator.exact_draws(rng, observed, 20_000)
    mean, covariance = simulator.posterior(observed)
    np.testing.assert_allclose(draws.mean(1), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(draws[1].T), covariance, atol=0.03)
    mixture = Mixture(labels="some")
    points = mixture.exact_draws(rng, np.eye(4)[:2], 8000)
    for label, row in enumerate(points):
        nearest = ((row[:, None] - mixture.centres) ** 2).sum(-1).argmin(1)
        found = np.bincount(nearest, minlength=8) / 8000
        np.testing.assert_allclose(found, (mixture.label_of == label) / (4, 2)[label], atol=0.02)
    assert Arm().exact_draws(rng, np.zeros((1, 2)), 3) is None


def test_too_small_a_pool_is_refused(observed):
    with pytest.raises(ImgturboError, match=r"a pool of 100 holds no 100 neighbours.*larger"):
        keep_nearest(line(), observed, pool=100, keep=100)
