"""Means, deviations and quantiles of draws of angles are those of the circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.mosaic.reducers import Reducer, Reduction
from imgturbo.side import Side
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.angles import Angles

TURN = 2 * math.pi
LEVELS = (0.25, 0.5, 0.75)
BEFORE = (NONE, Bijection("angle", -math.pi, math.pi), Bijection("angle", 0.0, 360.0))


def reduced(draws: np.ndarray, before=BEFORE) -> dict[str, np.ndarray]:
    """What is said of draws (N, n, C)."""
    columns = draws.shape[2]
    stretch = Stretch(np.zeros(columns), np.full(columns, np.inf), np.ones(columns), before)
    side = Side(tuple("abc"[:columns]), "", stretch, kind="table")
    reduction = Reduction.of(len(draws), LEVELS, False)
    reducer, angles = Reducer(reduction), Angles(side, reduction)
    for draw in draws:
        reducer.update(draw)
        angles.update(draw)
    planes = reducer.planes()
    angles.mend(planes)
    return planes


def wrapped(values, low, period):
    return low + np.mod(values - low, period)


@given(st.floats(-TURN, TURN), st.floats(0.001, 0.7), st.integers(0, 2**32 - 1))
def test_turning_all_draws_turns_what_is_said_of_them(turn, width, seed):
    """Of narrow draws around 0 it is what numbers have; turned, the same turned."""
    noise = width * np.random.default_rng(seed).uniform(-1, 1, (31, 4, 1))
    plain = reduced(np.repeat(noise, 3, 2), (NONE,) * 3)
    draws = np.concatenate(
        [
            noise,
            wrapped(noise + turn, -math.pi, TURN),
            wrapped(np.degrees(noise + turn), 0, 360),
        ],
        2,
    )
    found = reduced(draws)
    for name, plane in plain.items():
        np.testing.assert_array_equal(found[name][:, 0], plane[:, 0])
        for column, period, scale in ((1, TURN, 1.0), (2, 360.0, 180 / math.pi)):
            wanted = scale * plane[:, 0]
            if name == "STD":  # by the length of the mean, about that of numbers
                sure = wanted * math.sqrt(30 / 31)
                np.testing.assert_allclose(found[name][:, column], sure, rtol=0.3)
                continue
            apart = (found[name][:, column] - wanted - scale * turn) / period
            np.testing.assert_allclose(apart - np.round(apart), 0, atol=0.02 * width)
    assert (found["Q25"] <= found["Q75"]).all()
    assert (found["SCI"][:, 1] >= -math.pi).all()
    assert (found["SCI"][:, 2] < 360).all()


def test_across_the_end_is_not_the_opposite_side():
    draws = np.array([[179.0], [-179.0], [178.0], [-178.0]])[:, None]
    found = reduced(draws, (Bijection("angle", -180.0, 180.0),))
    assert abs(abs(found["SCI"][0, 0]) - 180) < 1e-9
    assert found["STD"][0, 0] == pytest.approx(math.sqrt(2.5), rel=1e-3)
    assert found["Q75"][0, 0] - found["Q25"][0, 0] < 5


def test_single_draws_and_other_columns_are_left_alone():
    draws = np.random.default_rng(0).normal(size=(1, 5, 3))
    planes = {"SCI": draws[0].copy()}
    Angles(
        Side(tuple("abc"), "", Stretch(np.zeros(3), np.full(3, np.inf), np.ones(3), BEFORE),
             kind="table"),
        Reduction.of(1, (), False),
    ).mend(planes)  # fmt: skip
    np.testing.assert_array_equal(planes["SCI"], draws[0])


def test_a_row_without_an_answer_has_none():
    draws = np.full((4, 2, 3), np.nan)
    draws[:, 1] = 1.0
    found = reduced(draws)
    assert all(np.isnan(plane[0]).all() for plane in found.values())
    np.testing.assert_allclose(found["SCI"][1], 1.0)
    np.testing.assert_allclose(found["STD"][1], 0.0, atol=1e-5)
