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


@given(st.integers(2, 5000), FINAL)
def test_the_linear_schedule_is_flat_for_half_and_then_a_line(steps, final):
    rates = [learning_rate_factor(t, steps, 0, final, "linear") for t in range(steps + 1)]
    half = steps // 2
    assert rates[: half + 1] == pytest.approx([1.0] * (half + 1))
    expected = [final + (1 - final) * 2 * (steps - t) / steps for t in range(half + 1, steps + 1)]
    assert rates[half + 1 :] == pytest.approx(expected, abs=1e-12)
    assert learning_rate_factor(2 * steps, steps, 0, final, "linear") == pytest.approx(final)


def test_a_warm_up_comes_before_the_flat_half():
    rates = [learning_rate_factor(t, 110, 10, 0.0, "linear") for t in (0, 9, 10, 60, 85, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.0])
