"""Local shifts: splines that follow what neighbours share, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from data_prep.register import local
from data_prep.register.local import LocalShift, _splines, _weights, choose_local, fit_local
from data_prep.register.polynomial import folds


def scattered(count, box=(300.0, 200.0), seed=0):
    return np.random.default_rng(seed).uniform(0, box, (count, 2))


@pytest.mark.parametrize("count", [4, 5, 9])
def test_the_bases_are_cubic_splines_on_even_knots(count):
    """Their values are those of scipy's own elements, their sum is 1."""
    unit = np.linspace(0, 1, 23)
    found = _splines(unit, count)
    step = 1 / (count - 3)
    assert found.shape == (23, count)
    assert np.allclose(found.sum(1), 1)
    for k in range(count):
        element = BSpline.basis_element(step * np.arange(k - 3, k + 2), extrapolate=False)
        inside = np.minimum(unit, 1 - 1e-12)
        assert np.allclose(found[:, k], np.nan_to_num(element(inside)), atol=1e-9)


def test_the_shift_is_the_tensor_product_and_constant_beyond_the_box():
    rng = np.random.default_rng(1)
    low, high = np.array([10.0, 20.0]), np.array([110.0, 70.0])
    shift = LocalShift(rng.normal(0, 1, (6, 5, 2)), low, high, 1.0)
    points = np.array([[30.0, 65.0], [110.0, 20.0], [10.0, 70.0]])
    unit = (points - low) / (high - low)
    bx, by = _splines(unit[:, 0], 6), _splines(unit[:, 1], 5)
    assert np.allclose(shift(points), np.einsum("nk,nl,kli->ni", bx, by, shift.coefficients))
    beyond = np.array([[500.0, 65.0], [-80.0, 65.0], [30.0, 900.0], [30.0, -9.0]])
    nearest = np.array([[110.0, 65.0], [10.0, 65.0], [30.0, 70.0], [30.0, 20.0]])
    assert np.allclose(shift(beyond), shift(nearest))
    record = shift.to_dict()
    assert record["low"] == [10.0, 20.0]
    assert record["high"] == [110.0, 70.0]
    assert np.shape(record["coefficients"]) == (6, 5, 2)


@pytest.mark.parametrize(
    ("count", "shape"), [(4, (4, 4)), (36, (6, 5)), (100, (8, 7)), (1100, (19, 14))]
)
def test_there_are_four_sources_a_cell_and_at_most_sixteen_cells(count, shape):
    """Along the longer side, on a box of 3 × 2."""
    points = scattered(count)
    points[:2] = [[0, 0], [300, 200]]
    found = fit_local(points, np.zeros((count, 2)), 1.0, np.ones(count))
    assert found.coefficients.shape == (*shape, 2)
    turned = fit_local(points[:, ::-1], np.zeros((count, 2)), 1.0, np.ones(count))
    assert turned.coefficients.shape == (*shape[::-1], 2)


@pytest.mark.parametrize("smoothing", [0.01, 1.0, 1e3])
def test_a_plane_is_followed_whatever_the_smoothing(smoothing):
    """The penalty is on second differences."""
    points = scattered(80)
    plane = points @ np.array([[0.01, -0.002], [0.003, 0.02]]) + [1.0, -2.0]
    found = fit_local(points, plane, smoothing, np.ones(80))
    at = scattered(50, seed=2)
    at = np.clip(at, points.min(0), points.max(0))
    expected = at @ np.array([[0.01, -0.002], [0.003, 0.02]]) + [1.0, -2.0]
    assert np.allclose(found(at), expected, atol=1e-3)


def test_the_smoother_the_less_it_bends():
    """Nor does it matter which axis is which; the data's share and the penalty's weigh as said."""
    points = scattered(200)
    wave = np.stack([np.sin(points[:, 0] / 40), np.sin(points[:, 1] / 40)], axis=1)
    noise = np.random.default_rng(3).uniform(0.5, 2, 200)
    rough = []
    for smoothing in (0.01, 1.0, 100.0):
        found = fit_local(points, wave, smoothing, noise)
        c, weight = found.coefficients, _weights(noise)
        second = [np.diff(c, 2, axis=axis) for axis in (0, 1)]
        rough.append(sum((d**2).sum() for d in second))

        # No other coefficients are better: the gradient of the penalised sum is nought.
        def loss(coefficients, smoothing=smoothing, found=found, weight=weight):
            fitted = LocalShift(coefficients, found.low, found.high, smoothing)(points)
            bend = sum((np.diff(coefficients, 2, axis=axis) ** 2).sum() for axis in (0, 1))
            ridge = 1e-6 * (coefficients**2).sum()
            return weight @ ((wave - fitted) ** 2).sum(1) + smoothing * bend + ridge

        rng = np.random.default_rng(4)
        for _ in range(5):
            step = 1e-4 * rng.normal(0, 1, c.shape)
            slope = (loss(c + step) - loss(c - step)) / 2
            curve = loss(c + step) + loss(c - step) - 2 * loss(c)
            assert abs(slope) < 1e-3 * curve
    assert rough[0] > rough[1] > rough[2]


def test_points_on_a_line_or_at_one_place_have_a_box_of_a_pixel():
    points = np.stack([np.linspace(0, 90, 30), np.full(30, 5.0)], axis=1)
    found = fit_local(points, np.ones((30, 2)), 1.0, np.ones(30))
    assert np.array_equal(found.high, [90.0, 6.0])
    assert np.allclose(found(points), 1, atol=1e-3)
    single = fit_local(np.zeros((4, 2)), np.ones((4, 2)), 1.0, np.ones(4))
    assert np.allclose(single(np.zeros((1, 2))), 1, atol=1e-3)


def test_weights_are_inverse_variances_of_mean_one():
    weight = _weights(np.array([1.0, 2.0, 0.5]))
    assert np.allclose(weight / weight[0], [1, 0.25, 4])
    assert weight.mean() == pytest.approx(1)


# ----------------------------------------------------------------------------------- the choice


def waves(count, noise, seed=5):
    points = scattered(count, seed=seed)
    wave = np.stack([np.sin(points[:, 0] / 50), np.cos(points[:, 1] / 40)], axis=1)
    return points, wave + np.random.default_rng(seed + 1).normal(0, noise, wave.shape)


def test_a_shift_needs_twenty_pairs():
    points = scattered(20)
    plane = points * 0.1
    assert choose_local(points[:19], plane[:19], np.ones(19)) is None
    assert choose_local(points, plane, np.ones(20)) is not None


def test_what_is_noise_is_no_shift():
    points, _ = waves(150, 0.0)
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 1, (150, 2))
        assert choose_local(points, noise, np.ones(150)) is None


def test_the_smoothing_follows_the_noise():
    chosen = [choose_local(*waves(150, noise), np.ones(150)) for noise in (0, 0.2, 1.0)]
    smoothing = [shift.smoothing for shift in chosen]
    assert smoothing[0] == 0.01
    assert smoothing == sorted(smoothing)
    assert smoothing[2] >= 1.0
    points = scattered(150, seed=5)
    plane = points @ np.array([[0.01, 0.0], [0.0, 0.02]])
    noisy = plane + np.random.default_rng(7).normal(0, 0.5, plane.shape)
    assert choose_local(points, noisy, np.ones(150)).smoothing >= 100


def test_the_chosen_shift_is_the_one_that_predicts_held_out_pairs_best():
    """By the weighted squares, over the folds; and it must gain three per cent of the rms."""
    points, residuals = waves(90, 0.8)
    noise = np.random.default_rng(8).uniform(0.3, 3, 90)
    weight = 1 / noise**2
    errors = {}
    for smoothing in 10.0 ** np.arange(-2, 4):
        errors[smoothing] = 0.0
        for held in folds(90):
            kept = np.setdiff1d(np.arange(90), held)
            shift = fit_local(points[kept], residuals[kept], smoothing, noise[kept])
            left = residuals[held] - shift(points[held])
            errors[smoothing] += weight[held] @ (left**2).sum(1)
    best = min(errors, key=errors.get)
    chosen = choose_local(points, residuals, noise)
    assert chosen is not None
    assert chosen.smoothing == best
    assert errors[best] < 0.97**2 * weight @ (residuals**2).sum(1)
    whole = fit_local(points, residuals, best, noise)
    assert np.array_equal(chosen.coefficients, whole.coefficients)


@pytest.mark.parametrize(("gain", "taken"), [(0.969, True), (0.971, False)])
def test_a_gain_of_three_per_cent_is_asked_for(gain, taken, monkeypatch):
    """Splines that leave so much of every residual, held out or not."""
    points, residuals = waves(40, 0.3)
    monkeypatch.setattr(
        local, "fit_local", lambda p, r, *_: lambda at: (1 - gain) * waves(40, 0.3)[1][index(at)]
    )

    def index(at):
        return [int(np.flatnonzero((points == place).all(1))[0]) for place in at]

    assert (choose_local(points, residuals, np.ones(40)) is not None) == taken
