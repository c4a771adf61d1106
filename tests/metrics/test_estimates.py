"""Error bars by the bootstrap, held against formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.metrics.estimates import bootstrap, median, rate, scatter


@given(seed=st.integers(0, 2**31), n=st.integers(30, 300))
@settings(max_examples=15)
def test_the_error_of_a_mean_is_the_textbooks(seed, n):
    values = np.random.default_rng(seed).normal(3.0, 2.0, n)
    found = bootstrap(lambda v: v.mean(-1), values, draws=1000)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std() / math.sqrt(n), rel=0.15)


def test_the_error_of_a_median_of_normal_numbers():
    """σ √(π / 2n): asymptotic, so of many numbers and averaged over samples."""
    random = np.random.default_rng(1)
    errors = [bootstrap(median, random.normal(size=900), seed=k).error for k in range(12)]
    assert np.mean(errors) == pytest.approx(math.sqrt(math.pi / 2 / 900), rel=0.1)


def test_a_robust_scatter_is_sigma_and_outliers_do_not_matter():
    values = np.random.default_rng(2).normal(0, 0.3, 4000)
    values[:200] += 50
    found = bootstrap(scatter, values)
    assert found.value == pytest.approx(0.3, abs=4 * found.error + 0.02)
    assert found.n == 4000


def test_pairs_are_drawn_together():
    random = np.random.default_rng(3)
    true = random.lognormal(size=200)
    found = bootstrap(lambda f, t: f.sum(-1) / t.sum(-1), 1.05 * true, true)
    assert found.value == pytest.approx(1.05)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_one_source_has_no_error_and_none_no_value():
    assert math.isnan(bootstrap(median, np.array([4.0])).error)
    none = bootstrap(median, np.zeros(0))
    assert math.isnan(none.value)
    assert none.n == 0


def test_more_sources_than_are_drawn_at_once(monkeypatch):
    values = np.random.default_rng(4).normal(size=101)
    whole = bootstrap(median, values, draws=50)
    monkeypatch.setattr("imgturbo.metrics.estimates._AT_ONCE", 300)
    parts = bootstrap(median, values, draws=50)
    assert parts.value == whole.value
    assert parts.error == pytest.approx(whole.error, rel=0.5)


def test_a_rate_of_none_has_an_error_too():
    assert rate(0, 2.0) == (0.0, 0.5, 0)
    assert rate(8, 0.5) == (16.0, 6.0, 8)
