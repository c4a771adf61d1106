"""KS, W1 and AUC against scipy and closed forms; weights are repetitions; the floor is chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, mannwhitneyu, wasserstein_distance

from imgturbo.metrics.distributions import Pooled, area_under_curve, bootstrap_weights, floor_of

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999), st.booleans())


def samples(size) -> tuple[np.ndarray, np.ndarray]:
    n, m, seed, tied = size
    random = np.random.default_rng(seed)
    a, b = random.normal(size=n), random.normal(0.3, 1.5, m)
    return (np.round(a), np.round(b)) if tied else (a, b)


@given(SIZES)
def test_distances_are_scipys(size):
    a, b = samples(size)
    ks, w1 = Pooled(a, b).distances()
    assert ks == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    assert w1 == pytest.approx(wasserstein_distance(a, b), abs=1e-12)


@given(SIZES)
def test_the_area_is_that_of_ranks(size):
    a, b = samples(size)
    area = area_under_curve(a, b)
    assert area == pytest.approx(mannwhitneyu(a, b).statistic / (len(a) * len(b)), abs=1e-12)
    assert area_under_curve(b, a) == pytest.approx(1 - area, abs=1e-12)


@given(SIZES)
def test_weights_are_repetitions(size):
    a, b = samples(size)
    random = np.random.default_rng(0)
    wa, wb = bootstrap_weights(random, len(a)), bootstrap_weights(random, len(b))
    assert wa.sum() == len(a)
    a2, b2 = np.repeat(a, wa.astype(int)), np.repeat(b, wb.astype(int))
    assert Pooled(a, b).distances(wa, wb) == pytest.approx(Pooled(a2, b2).distances(), abs=1e-12)
    weighed = area_under_curve(a, b, (wa, wb))
    assert weighed == pytest.approx(area_under_curve(a2, b2), abs=1e-12)


def test_a_shift_is_its_distance():
    a = np.random.default_rng(0).normal(size=1001)
    assert Pooled(a + 2.5, a).distances()[1] == pytest.approx(2.5)
    assert Pooled(a, a).distances() == pytest.approx((0, 0), abs=1e-12)


def test_the_floor_is_what_independent_samples_have():
    random = np.random.default_rng(1)
    n, m = 300, 900
    true = random.normal(size=m)
    seen = np.array([Pooled(random.normal(size=n), random.normal(size=m)).distances()
                     for _ in range(200)]).mean(0)  # fmt: skip
    floors = np.array([floor_of(random.normal(size=m), n, random) for _ in range(20)]).mean(0)
    np.testing.assert_allclose(floors, seen, rtol=0.12)
    assert np.isnan(floor_of(true[:1], n, random)).all()


def test_bootstrap_errors_are_the_spread_of_samples():
    """Of the distance of two unlike distributions, which is far from its floor."""
    random = np.random.default_rng(2)

    def pooled() -> Pooled:
        return Pooled(random.normal(1, 1, 400), random.normal(size=400))

    truth = np.std([pooled().distances() for _ in range(300)], axis=0)
    one = pooled()
    drawn = [one.distances(bootstrap_weights(random, 400), bootstrap_weights(random, 400))
             for _ in range(300)]  # fmt: skip
    np.testing.assert_allclose(np.std(drawn, axis=0), truth, rtol=0.25)
