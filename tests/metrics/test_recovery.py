"""Completeness, purity and depth, on catalogues of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.metrics.recovery import common_depth, depth, shares


@given(
    data=st.lists(st.tuples(st.floats(20, 30), st.booleans()), max_size=60),
    edges=st.lists(st.integers(19, 31), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_shares_are_counts(data, edges):
    of = np.array([m for m, _ in data])
    hit = np.array([h for _, h in data], bool)
    found = shares(of, hit, edges)
    for one in found:
        inside = [h for m, h in data if one.low <= m < one.high]
        assert one.n == len(inside) > 0
        assert one.share == pytest.approx(sum(inside) / len(inside))
        assert 0 < one.error <= 0.5
    assert sum(one.n for one in found) == sum(edges[0] <= m < edges[-1] for m, _ in data)


def test_planted_completeness_is_found_within_its_error():
    random = np.random.default_rng(0)
    hit = random.random(5000) > 0.1  # 10 % are missed
    (one,) = shares(np.full(5000, 24.5), hit, [24, 25])
    assert one.share == pytest.approx(0.9, abs=4 * one.error)
    assert one.error == pytest.approx(np.sqrt(0.09 / 5000), rel=0.1)


def test_the_depth_lies_where_the_share_falls_through_the_level():
    m = np.repeat([24.5, 25.5, 26.5], 100)
    hit = np.concatenate([np.ones(100), np.arange(100) < 95, np.arange(100) < 45]) > 0
    bins = shares(m, hit, [24, 25, 26, 27])
    assert depth(bins) == pytest.approx(25.5 + (0.95 - 0.9) / (0.95 - 0.45))
    assert depth(bins[:2]) == 26  # a limit
    assert depth(bins[2:]) is None
    assert depth([]) is None
    assert depth(shares(m[:9], hit[:9], [24, 25])) is None  # nine sources are no depth


def test_a_bin_that_recovers_does_not_count():
    m = np.repeat([24.5, 25.5, 26.5], 10)
    hit = np.repeat([True, False, True], 10)
    assert depth(shares(m, hit, [24, 25, 26, 27])) == pytest.approx(24.6)


def test_both_must_hold():
    deep = shares(np.full(50, 25.5), np.ones(50, bool), [25, 26])
    shallow = shares(np.full(50, 23.5), np.ones(50, bool), [23, 24])
    assert common_depth(deep, shallow) == 24
    assert common_depth(deep, []) is None
