"""Maps of the plane: their monomials, their fits, and what the scatter of pairs is taken for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.register.polynomial import (
    Polynomial,
    basis,
    excess,
    fit_polynomial,
    fit_robust,
    fit_weighted,
    folds,
    formal_error,
    parameters,
    rms,
)


def test_a_degree_has_as_many_parameters_as_monomials():
    points = np.random.default_rng(0).uniform(-2, 2, (9, 2))
    u, v = points.T
    assert [parameters(degree) for degree in range(6)] == [1, 3, 6, 10, 15, 21]
    for degree in range(6):
        assert basis(points, degree).shape == (9, parameters(degree))
    expected = [1 + 0 * u, u, v, u**2, u * v, v**2, u**3, u**2 * v, u * v**2, v**3]
    assert np.allclose(basis(points, 3), np.stack(expected, axis=1))


def test_a_map_adds_its_monomials_of_the_scaled_position():
    coefficients = np.array([[1.0, 2.0], [0.5, 0.0], [0.0, -3.0]])
    found = Polynomial(1, coefficients, np.array([10.0, 20.0]), 4.0)
    assert np.allclose(found(np.array([[18.0, 14.0]])), [[18 + 1 + 0.5 * 2, 14 + 2 - 3 * -1.5]])


@given(degree=st.integers(0, 4), seed=st.integers(0, 99))
def test_a_map_of_the_degree_is_found_exactly(degree, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 300, (40, 2))
    truth = Polynomial(degree, rng.normal(0, 3, (parameters(degree), 2)), np.array([90, 70]), 160)
    noise = rng.uniform(0.1, 2, 40)
    for weights in (None, noise):
        found = fit_polynomial(points, truth(points), degree, weights)
        assert np.allclose(found(points), truth(points), atol=1e-7)
        # Well conditioned: the pairs' box is centred, its farther side a unit long.
        unit = (points - found.centre) / found.scale
        assert np.abs(unit).max() == pytest.approx(1)
        assert np.allclose(unit.min(0), -unit.max(0))


def test_pairs_count_by_their_inverse_variance():
    points = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 4.0]])
    offsets, noise = np.array([[1.0, 0.0], [2.0, 5.0], [4.0, 1.0]]), np.array([0.5, 1.0, 3.0])
    weight = 1 / noise**2
    expected = weight @ offsets / weight.sum()
    found = fit_polynomial(points, points + offsets, 0, noise)
    assert np.allclose(found.coefficients, expected)
    alone = fit_polynomial(points[:1], points[:1] + 2.0, 0)
    assert np.allclose(alone(np.array([[9.0, 9.0]])), 11.0)
    assert alone.scale == 1.0


@pytest.mark.parametrize(("count", "degree", "free"), [(8, 1, 5 / 8), (30, 2, 0.8), (11, 3, 0.1)])
def test_what_the_map_cannot_follow_is_added_to_the_noise(count, degree, free):
    """Equal noise: the mean square residual over what the map left free; a tenth at least."""
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 100, (count, 2))
    observed = points + rng.normal(0, 2.0, (count, 2))
    plain = fit_polynomial(points, observed, degree)
    polynomial, total = fit_weighted(points, observed, degree, np.full(count, 0.01))
    assert np.allclose(polynomial(points), plain(points))
    expected = np.mean((observed - plain(points)) ** 2) / free
    assert np.allclose(total**2, expected)


def test_pairs_without_noise_or_scatter_keep_a_little():
    points = np.random.default_rng(2).uniform(0, 100, (20, 2))
    noise = np.r_[np.zeros(10), np.full(10, 0.3)]
    polynomial, total = fit_weighted(points, points + 1.0, 1, noise)
    assert np.allclose(polynomial(points), points + 1)
    assert np.allclose(total, np.maximum(noise, 1e-4), rtol=1e-6)


def test_the_weights_settle():
    """Of two populations, noise and excess agree with the map that they weigh."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 100, (300, 2))
    noise = np.where(np.arange(300) < 100, 0.05, 2.0)
    observed = points + rng.normal(0, 1, (300, 2)) * np.hypot(noise, 0.5)[:, None]
    polynomial, total = fit_weighted(points, observed, 1, noise)
    again = fit_polynomial(points, observed, 1, total)
    assert np.allclose(again(points), polynomial(points), atol=1e-3)
    assert np.sqrt(np.mean(total[:100] ** 2 - 0.05**2)) == pytest.approx(0.5, rel=0.1)


def test_the_formal_error_is_that_of_a_mean_and_of_a_line():
    """Of a shift (2/Σ s⁻²)^½; of an affine map more, the further from the pairs."""
    points, noise = np.array([[0.0, 0.0], [10.0, 4.0], [3.0, 8.0]]), np.array([0.5, 1.0, 2.0])
    at = np.array([[50.0, 50.0]])
    assert formal_error(points, 0, noise, at) == pytest.approx(np.sqrt(2 / (4 + 1 + 0.25)))
    square = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]) * 6
    for far in (0.0, 6.0, 30.0):
        expected = 0.3 * np.sqrt(2 * (1 / 4 + far**2 / (4 * 36)))
        there = formal_error(square, 1, np.full(4, 0.3), np.array([[far, 0.0]]))
        assert there == pytest.approx(expected)
    # Of several points the mean square; of one pair the shift alone.
    two = np.array([[0.0, 0.0], [30.0, 0.0]])
    expected = 0.3 * np.sqrt(2 * (1 / 4 + 900 / 2 / (4 * 36)))
    assert formal_error(square, 1, np.full(4, 0.3), two) == pytest.approx(expected)
    assert formal_error(points[:1], 0, noise[:1], at) == pytest.approx(0.5 * np.sqrt(2))


# ---------------------------------------------------------------------------------------- excess


@given(seed=st.integers(0, 99), noise=st.floats(0.0, 1.0))
def test_of_equal_noise_the_excess_is_the_difference_of_variances(seed, noise):
    rng = np.random.default_rng(seed)
    vectors, share = rng.normal(0, 2, (12, 2)), rng.uniform(0.5, 3, 12)
    for weights in (None, share):
        mean = np.average((vectors**2).sum(1) / 2, weights=weights)
        expected = np.sqrt(max(mean - max(noise, 1e-4) ** 2, 0))
        assert excess(vectors, np.full(12, noise), weights) == pytest.approx(expected, abs=1e-6)


def test_the_excess_solves_its_equation():
    """Σ a |v|²/2/(s² + τ²) = Σ a."""
    rng = np.random.default_rng(4)
    noise, share = rng.uniform(0.1, 2, 30), rng.uniform(0.5, 3, 30)
    vectors = rng.normal(0, 1, (30, 2)) * np.hypot(noise, 1.5)[:, None]
    tau = excess(vectors, noise, share)
    terms = (vectors**2).sum(1) / 2 / (noise**2 + tau**2)
    assert share @ terms == pytest.approx(share.sum(), rel=1e-6)


def test_the_excess_of_nothing_is_unknown_and_of_too_little_none():
    assert np.isnan(excess(np.zeros((0, 2)), np.zeros(0)))
    assert excess(np.full((5, 2), 0.1), np.ones(5)) == 0.0
    assert excess(np.zeros((5, 2)), np.zeros(5)) == 0.0
    # So large that a ten-thousandth of a pixel is rounded away.
    assert excess(np.array([[1e9, 1e9]]), np.zeros(1)) == pytest.approx(1e9)


# ------------------------------------------------------------------------------------ robust fit


def around(lengths):
    """Pairs whose mean offset is nought: two, opposite, of each length."""
    lengths = np.asarray(lengths, float)
    points = np.stack([np.arange(2.0 * len(lengths)), np.zeros(2 * len(lengths))], axis=1)
    offsets = np.zeros_like(points)
    offsets[:, 1] = np.r_[lengths, -lengths]
    return points, points + offsets


@pytest.mark.parametrize(("ratio", "kept"), [(2.5, True), (2.6, False)])
def test_pairs_beyond_three_standard_deviations_are_left_out(ratio, kept):
    """σ is the median over 1.177."""
    for length in (0.2, 3.0):
        points, observed = around([length] * 20 + [ratio * length])
        polynomial, keep = fit_robust(points, observed, 0)
        assert keep[[20, 41]].tolist() == [kept, kept]
        assert keep.sum() == 40 + 2 * kept
        assert np.allclose(polynomial.coefficients, 0)


@pytest.mark.parametrize(("length", "kept"), [(0.099, True), (0.101, False)])
def test_nearer_than_a_tenth_of_a_pixel_none_is_left_out(length, kept):
    points, observed = around([0.01] * 20 + [length])
    assert fit_robust(points, observed, 0)[1][[20, 41]].tolist() == [kept, kept]
    points, observed = around([0.01] * 20 + [10 * length])
    assert fit_robust(points, observed, 0, 1.0)[1][[20, 41]].tolist() == [kept, kept]


def test_outliers_do_not_turn_the_fit_and_enough_pairs_are_kept():
    rng = np.random.default_rng(5)
    points = rng.uniform(0, 200, (60, 2))
    truth = Polynomial(1, np.array([[2.0, -1.0], [0.4, 0.1], [-0.2, 0.5]]), np.full(2, 100.0), 100)
    observed = truth(points) + rng.normal(0, 0.05, (60, 2))
    observed[:15] += rng.uniform(5, 9, (15, 2))
    polynomial, keep = fit_robust(points, observed, 1)
    assert not keep[:15].any()
    assert np.abs(polynomial(points) - truth(points)).max() < 0.1
    # Never fewer than the parameters: of four pairs for three, all that scatter.
    few = fit_robust(points[:4], points[:4] + rng.normal(0, 5, (4, 2)), 1)[1]
    assert few.sum() >= 3


# -------------------------------------------------------------------------------------- the rest


@given(count=st.integers(1, 40), parts=st.integers(1, 7))
def test_folds_are_a_partition_and_always_the_same(count, parts):
    found = folds(count, parts)
    assert sorted(np.concatenate(found).tolist()) == list(range(count))
    assert len(found) == min(parts, count)
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(part) > 0).all() for part in found)
    for part, again in zip(found, folds(count, parts), strict=True):
        assert np.array_equal(part, again)
    assert len(folds(count)) == min(5, count)


def test_rms_is_of_the_lengths():
    assert rms(np.array([[3.0, 4.0], [0.0, 1.0]])) == pytest.approx(np.sqrt(13))
    assert np.isnan(rms(np.zeros((0, 2))))
