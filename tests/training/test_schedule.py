from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.training.schedule import learning_rate_factor

STEPS = st.integers(1, 5000)
WARMUP = st.integers(0, 300)
FINAL = st.floats(0, 1)


@given(STEPS, WARMUP, FINAL)
def test_rises_through_the_warm_up_then_falls_to_the_final_rate(steps, warmup, final):
    first, last = min(warmup, steps), steps
    rising = [learning_rate_factor(t, steps, warmup, final) for t in range(first)]
    falling = [learning_rate_factor(t, steps, warmup, final) for t in range(first, last + 1)]
    assert all(a < b for a, b in itertools.pairwise(rising))
    if warmup <= steps:
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(falling))
    assert all(0 < factor <= 1 for factor in rising)
    assert all(0 <= factor <= 1 for factor in falling)


@given(STEPS, WARMUP, FINAL)
def test_reaches_full_rate_after_the_warm_up_and_the_final_rate_at_the_end(steps, warmup, final):
    if warmup:
        assert learning_rate_factor(warmup - 1, steps, warmup, final) == 1.0
    if warmup < steps:
        assert learning_rate_factor(warmup, steps, warmup, final) == pytest.approx(1.0)
        assert learning_rate_factor(steps, steps, warmup, final) == pytest.approx(final)
        assert learning_rate_factor(2 * steps, steps, warmup, final) == pytest.approx(final)


def test_half_way_down_the_cosine_is_the_mean_of_both_ends():
    assert learning_rate_factor(60, 110, 10, 0.2) == pytest.approx(0.6)
