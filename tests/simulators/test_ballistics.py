"""The ball flies as published, and comes down where Lambert's function says."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy.special import lambertw
from scipy.stats import kstest, poisson, uniform

from imgturbo.simulators import Ballistics, ballistics

G, K, M = 9.81, 0.25, 0.2


def drawn(n: int, **options):
    simulator, generator = Ballistics(**options), np.random.default_rng(3)
    x = simulator.prior(generator, n)
    return x, simulator.observe(generator, x)[:, 0]


def trajectory(x1, x2, angle, v0, t):
    fade = np.exp(-K * t / M) - 1
    x = x1 - v0 * np.cos(angle) * M / K * fade
    y = x2 - M / K**2 * ((G * M + v0 * np.sin(angle) * K) * fade + G * t * K)
    return x, y


def test_on_the_grid_it_is_the_published_loop():
    """A thousand throws, one at a time: the last place before y is negative, after the apex."""
    throws, landed = drawn(1000, impact="grid", speed="integer")
    throws[0] = (0.0, 1.0, 1.4, 200.0)  # is in the air for longer than six seconds
    landed[0] = Ballistics(impact="grid", speed="integer").observe(None, throws[:1])[0, 0]
    times = np.linspace(0, 6, 1500)
    for throw, found in zip(throws, landed, strict=True):
        x, y = trajectory(*throw, times)
        apex = np.argmax(y)
        below = np.flatnonzero(np.signbit(y[apex:]))
        expected = x[apex + below[0] - 1] if len(below) else np.nan
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.isnan(landed[0])


def test_the_root_is_lamberts():
    """y(t) = 0 is p + q e^{−ct} = t: t = p + W(c q e^{−cp})/c, on the principal branch."""
    throws, landed = drawn(5000, impact="root", speed="integer")
    _, x2, angle, v0 = throws.T
    lift, c = M / K**2 * (G * M + v0 * np.sin(angle) * K), K / M
    p, q = (x2 + lift) / (G * M / K), -lift / (G * M / K)
    time = p + lambertw(c * q * np.exp(-c * p)).real / c
    np.testing.assert_allclose(landed, trajectory(*throws.T, time)[0], atol=1e-7)
    # A root that is a step of the grid or less away from the published place.
    grid = Ballistics(impact="grid", speed="integer").observe(None, throws)[:, 0]
    fine = np.isfinite(grid)
    gone = landed - grid
    assert fine.mean() > 0.999
    assert (gone[fine] >= -1e-9).all()
    assert (gone[fine] <= v0[fine] * np.cos(angle[fine]) * 6 / 1499 + 1e-9).all()


def test_special_throws():
    simulator = Ballistics(impact="root")
    throws = np.array([[0.5, 0.0, 1.0, 0.0], [0.5, 1.0, 1.0, 0.0], [0.5, -1.0, 1.0, 3.0]])
    landed = simulator.observe(None, throws)[:, 0]
    np.testing.assert_allclose(landed[:2], 0.5, atol=1e-6)  # nothing moves it sideways
    assert np.isnan(landed[2])  # it starts below the ground


def test_the_prior_is_the_published_one():
    x, _ = drawn(20_000, speed="integer")
    low, high = 0.1 * np.pi / 2, 0.9 * np.pi / 2
    assert kstest(x[:, 2], uniform(low, high - low).cdf).pvalue > 0.01
    assert (x[:, 3] == np.rint(x[:, 3])).all()
    assert abs(x[:, 3].mean() - 15) < 0.1
    assert abs((x[:, 3] <= 12).mean() - poisson(15).cdf(12)) < 0.01
    assert (x[:, 1] >= 0).all()
    assert (x[:, 1] == 0).sum() == pytest.approx(27, abs=16)  # Φ(−3) of them


def test_a_dequantised_speed_throws_with_the_whole_one():
    x, landed = drawn(3000, speed="dequantised")
    whole = x.copy()
    whole[:, 3] = np.rint(x[:, 3])
    assert abs(x[:, 3] - whole[:, 3]).max() <= 0.5
    whole[:, 3] = np.maximum(whole[:, 3], 0)
    expected = Ballistics(speed="integer").observe(None, whole)[:, 0]
    np.testing.assert_array_equal(landed, expected)


@pytest.mark.parametrize("impact", ["grid", "root"])
def test_the_stretch_standardises_impacts(impact):
    _, y = drawn(100_000, impact=impact)
    y = Ballistics().observations.stretch(y[None, np.isfinite(y)])
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


def test_the_example_runs():
    assert doctest.testmod(ballistics).failed == 0
