"""Fluxes in circles and their ratios, against arithmetic on skies that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.metrics.fluxes import aperture_fluxes, flux_bins


@given(radius=st.floats(1.5, 8), x=st.floats(12, 30), y=st.floats(12, 25))
def test_a_flat_sky_fills_the_circle_and_a_point_is_inside_or_not(radius, x, y):
    flat = np.stack([np.full((37, 43), 2.0), np.full((37, 43), -1.0)])
    sums = aperture_fluxes(flat, np.array([x]), np.array([y]), radius)
    np.testing.assert_allclose(sums, [[2 * np.pi * radius**2, -np.pi * radius**2]], rtol=1e-6)
    point = np.zeros((1, 37, 43))
    point[0, round(y), round(x)] = 5.0
    inside, outside = aperture_fluxes(
        point, np.array([x, x]), np.array([y, y + radius + 2]), radius
    )
    assert inside[0] == pytest.approx(5.0)
    assert outside[0] == 0 or np.isnan(outside[0])


def test_a_circle_over_the_edge_or_a_hole_has_no_flux():
    image = np.ones((1, 21, 31))
    image[0, 5, 5] = np.nan
    x, y = np.array([5.0, 15.0, 1.0, 29.0, 15.0]), np.array([5.0, 10.0, 10.0, 10.0, 19.0])
    sums = aperture_fluxes(image, x, y, 3.0)[:, 0]
    assert np.isnan(sums).tolist() == [True, False, True, True, True]
    assert aperture_fluxes(image, x[:0], y[:0], 3.0).shape == (0, 1)


@given(seed=st.integers(0, 2**31), bias=st.floats(0.5, 2))
def test_the_ratio_is_of_sums_and_its_error_that_of_the_scatter(seed, bias):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 10, (500, 2))
    of = rng.uniform(20, 23, 500)
    found = truth * bias * rng.normal(1, 0.3, truth.shape)
    found[0] = np.nan
    bins = flux_bins(found, truth, of, [20, 21, 22, 25])
    assert [(b.low, b.high) for b in bins] == [(20, 21), (21, 22), (22, 25)]
    assert sum(b.sources for b in bins) == 499
    for one in bins:
        kept = (of >= one.low) & (of < one.high) & np.isfinite(found[:, 0])
        np.testing.assert_allclose(one.ratio, found[kept].sum(0) / truth[kept].sum(0))
        assert (np.abs(one.ratio - bias) < 5 * one.error).all()
        # Of independent errors of 30 % on fluxes F: σ(R) = 0.3 R √ΣF²/ΣF.
        expected = 0.3 * bias * np.sqrt(np.square(truth[kept]).sum(0)) / truth[kept].sum(0)
        np.testing.assert_allclose(one.error, expected, rtol=0.35)


def test_one_source_has_a_ratio_and_no_error():
    (one,) = flux_bins(np.array([[2.0]]), np.array([[4.0]]), np.array([21.0]), [20, 21, 22])
    assert (one.low, one.sources, one.ratio[0]) == (21, 1, 0.5)
    assert np.isnan(one.error[0])
