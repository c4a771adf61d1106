"""Every prior against scipy: its draws, and the closed forms that its stretch is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from imgturbo.simulators.priors import (
    Beta,
    Gamma,
    LogNormal,
    Normal,
    Uniform,
    VonMises,
    draw_all,
    side_of,
)

CASES = [
    (Normal(3.0, 2.0), stats.norm(3, 2)),
    (LogNormal(0.125, 0.3), stats.lognorm(0.3, scale=0.125)),
    (Uniform(-2.0, 5.0), stats.uniform(-2, 7)),
    (Beta(4.939, 2.117), stats.beta(4.939, 2.117)),
    (Gamma(2.0, 30.0), stats.gamma(2, scale=30)),
    (VonMises(0.01), stats.vonmises(0.01)),
]
N = 50_000


@pytest.mark.parametrize(("prior", "known"), CASES, ids=lambda one: type(one).__name__)
def test_draws_follow_the_distribution(prior, known):
    drawn = prior.draw(np.random.default_rng(0), N)
    assert stats.kstest(drawn, known.cdf).pvalue > 0.01


@pytest.mark.parametrize(("prior", "known"), CASES, ids=lambda one: type(one).__name__)
def test_the_stretch_standardises_them(prior, known):
    t = prior.bijection(np.asarray(known.rvs(N, random_state=np.random.default_rng(1))))
    mean, deviation = prior.moments
    assert abs(t.mean() - mean) < 0.03 * deviation
    assert abs(t.std() / deviation - 1) < 0.03


def test_a_table_of_priors():
    priors = [prior for prior, _ in CASES]
    rows = draw_all(priors, np.random.default_rng(0), 9)
    side = side_of("abcdef", priors)
    assert rows.shape == (9, 6)
    assert side.names == tuple("abcdef")
    np.testing.assert_allclose(side.stretch.inverse(side.stretch(rows.T)), rows.T, rtol=1e-9)
    wild = side.stretch.inverse(np.full((6, 1), 30.0))[:, 0]
    assert wild[2] <= 5
    assert wild[3] <= 1
    assert wild[5] <= math.pi
