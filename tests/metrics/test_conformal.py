"""The law of conformal ends: right whatever the model, at any n, and by blocks where pixels err
together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.metrics.conformal import enough, shift


@given(
    n=st.integers(1, 60),
    level=st.sampled_from([0.02, 0.1, 0.25, 0.6, 0.8, 0.95]),
    block=st.integers(1, 4),
)
def test_the_rank_is_that_of_the_correction(n, level, block):
    scores = np.random.default_rng(n).permutation(n).astype(float)
    found = shift(scores, level, block)
    upper = max(level, 1 - level)
    k = math.ceil(upper * (n + block) - 1e-9)
    assert enough(n, level, block) == (k <= n)
    if k > n:
        assert found == (math.inf if level > 0.5 else -math.inf)
    else:
        assert found == (k - 1 if level > 0.5 else n - k)


@given(st.integers(20, 50), st.sampled_from([0.05, 0.2, 0.9]))
def test_lower_ends_are_the_mirror_of_upper_ones(n, level):
    scores = np.random.default_rng(n).normal(size=n)
    assert shift(-scores, level) == -shift(scores, 1 - level)


@pytest.mark.parametrize("n", [19, 39, 100])
def test_exchangeable_scores_are_covered_exactly_as_often_as_ranks_say(n):
    """Mean over seeds of P(new ≤ end) is k/(n + 1): at least the level, by at most 1/(n + 1)."""
    random = np.random.default_rng(0)
    below = [
        np.mean(random.exponential(size=400) <= shift(random.exponential(size=n), 0.95))
        for _ in range(3000)
    ]
    expected = math.ceil(0.95 * (n + 1) - 1e-9) / (n + 1)
    assert np.mean(below) == pytest.approx(expected, abs=4 * np.std(below) / math.sqrt(3000))
    assert 0.95 <= expected < 0.95 + 1 / (n + 1)


def test_pixels_that_err_together_need_blocks():
    """Of few blocks, whose pixels share most of their error, those of single pixels fall short."""

    def field(random, blocks, pixels=32):
        shared = 2.0 * random.standard_t(4, (blocks, 1))
        return (shared + random.normal(size=(blocks, pixels))).ravel()

    covered = {1: [], 32: []}
    for seed in range(400):
        random = np.random.default_rng(seed)
        fitted, new = field(random, 40), field(random, 300)
        for block, found in covered.items():
            low, high = (shift(fitted, level, block) for level in (0.05, 0.95))
            found.append(np.mean((new >= low) & (new <= high)))
    error = np.std(covered[32]) / math.sqrt(400)
    assert np.mean(covered[1]) < 0.9 - 3 * error
    assert np.mean(covered[32]) > 0.9 - 3 * error
    assert np.mean(covered[32]) < 0.97  # and not by being useless


def test_a_median_is_a_median():
    assert shift(np.array([5.0, 1.0, 3.0]), 0.5) == 3.0
