"""Law 2 of bounded numbers: a bijection is undone, and its inverse never leaves the set."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import gamma, norm

from imgturbo.sky import bijection
from imgturbo.sky.bijection import Bijection
from imgturbo.sky.stretch import Stretch

ends = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)).map(lambda e: (e[0], e[0] + e[1]))


@given(ends, st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9))
def test_a_bijection_is_undone(between, shares):
    low, high = between
    f = low + (high - low) * np.array(shares)
    for kind in ("none", "log", "logit", "angle"):
        one = Bijection(kind, low, high)
        np.testing.assert_allclose(one.inverse(one(f)), f, atol=1e-9 * (1 + abs(low) + high - low))


@given(ends, st.lists(st.floats(-30, 30), min_size=1, max_size=9))
def test_whatever_a_network_gives_is_in_the_set(between, t):
    low, high = between
    for kind in ("logit", "angle"):
        f = Bijection(kind, low, high).inverse(np.array(t))
        assert ((low <= f) & (f <= high)).all()
    assert (Bijection("log", low).inverse(np.array(t)) >= low).all()


def test_they_are_the_maps_of_the_same_name():
    f = np.array([0.01, 0.4, 2.5])
    np.testing.assert_allclose(Bijection("log", -1.0)(f), np.log1p(f))
    np.testing.assert_allclose(Bijection("logit", 0.0, 4.0)(f), logit(f / 4))
    turn = Bijection("angle", -np.pi, np.pi)
    np.testing.assert_allclose(turn(f + 6 * np.pi), turn(f), atol=1e-9)
    np.testing.assert_allclose(turn(f), logit(0.5 + f / (2 * np.pi)))


def test_what_is_outside_has_no_image():
    f = np.array([-1.0, 0.0, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(Bijection("logit")(f), [np.nan, -np.inf, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(Bijection("log")(f)[:2], [np.nan, -np.inf])


@pytest.mark.parametrize(
    "wrong", [("sqrt",), ("log", np.nan), ("logit", 1.0, 1.0), ("angle", 0.0, np.inf)]
)
def test_what_is_no_bijection_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Bijection(*wrong)


@pytest.fixture
def mixed():
    before = (Bijection(), Bijection("log", -1.0), Bijection("logit", -2.0, 5.0))
    return Stretch(np.arange(3.0), np.array([np.inf, 2.0, np.inf]), np.full(3, 0.7), before)


def test_a_stretch_goes_through_them_first(mixed):
    f = np.array([[1.0, 2.0], [3.0, 0.5], [4.0, -1.0]])
    t = np.stack([f[0], np.log(f[1] + 1), logit((f[2] + 2) / 7)])
    plain = Stretch(mixed.offset, mixed.softening, mixed.scale)
    np.testing.assert_allclose(mixed(f), plain(t))
    np.testing.assert_allclose(mixed.inverse(mixed(f)), f)
    again = Stretch.from_dict(json.loads(json.dumps(mixed.to_dict())))
    assert again == mixed
    assert "before" not in plain.to_dict()


def test_in_another_unit_it_is_the_same(mixed):
    f, factor = np.array([[1.0, 2.0], [3.0, 0.5], [4.0, -1.0]]), np.array([3.0, 0.5, 100.0])
    np.testing.assert_allclose(mixed.scaled(factor)(factor[:, None] * f), mixed(f), rtol=1e-9)


def test_columns_are_standardised_after_their_bijection():
    rng = np.random.default_rng(0)
    values = np.stack([norm(3, 2).rvs(4000, rng), gamma(2).rvs(4000, rng), np.full(4000, 7.0)])
    values[0, 5] = np.nan
    stretch = Stretch.standardising(values, (Bijection(), Bijection("log"), Bijection()))
    y = stretch(values)
    np.testing.assert_allclose(np.nanmean(y, 1), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(y, 1), [1, 1, 0], atol=1e-12)
    short = Stretch.standardising(values, digits=3)
    np.testing.assert_allclose(short.scale, [2.0, 1.41, 1.0], atol=0.03)
    assert all(len(f"{value:.12g}".replace(".", "")) <= 4 for value in short.scale)


@pytest.mark.parametrize("digits", [1, 2, 3, 6])
def test_rounded_means_keep_the_place_of_the_deviations_last_digit(digits):
    values = norm(321.987654321, 2.718281828).rvs((1, 999), np.random.default_rng(1))
    exact, short = Stretch.standardising(values), Stretch.standardising(values, digits=digits)
    unit = 10.0 ** (1 - digits)  # of the deviation's last digit: it lies between 1 and 10
    for found, true in ((short.offset, exact.offset), (short.scale, exact.scale)):
        np.testing.assert_allclose(found, true, atol=unit / 2, rtol=0)
        np.testing.assert_allclose(found / unit, np.round(found / unit), rtol=1e-12)


def test_images_have_none(mixed):
    with pytest.raises(ValueError, match="table"):
        mixed.header_cards(("a", "b", "c"))
    with pytest.raises(ValueError, match="one bijection a band"):
        Stretch(np.zeros(2), np.ones(2), np.ones(2), (Bijection("log"),))


def test_the_example_runs():
    assert doctest.testmod(bijection).failed == 0
