"""Sizes and places of sources that were drawn with known ones."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.metrics.shapes import encircled, fit_stars, growth, isolated

RADII = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12)


def gaussians(places, sigma, shape, flux=100.0):
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for x, y in places:
        r2 = (cols - x) ** 2 + (rows - y) ** 2
        image += flux * np.exp(-r2 / 2 / sigma**2) / (2 * math.pi * sigma**2)
    return image


PLACES = np.array([[20.3, 30.1], [60.7, 25.5], [41.0, 63.9]])


@given(sigma=st.floats(1.2, 2.2), share=st.floats(0.3, 0.85))
@settings(max_examples=10)
def test_radii_of_gaussians_are_the_formulas(sigma, share):
    """F(r) = 1 − exp(−r² / 2σ²)."""
    image = gaussians(PLACES, sigma, (91, 83))
    found = encircled(RADII, growth(image, *PLACES.T, RADII), share)
    expected = sigma * math.sqrt(-2 * math.log(1 - share))
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_a_width_that_grew_by_a_fifth_and_a_shift_are_found():
    true = fit_stars(gaussians(PLACES, 1.3, (91, 83)), *PLACES.T, fwhm=3.0)
    made = fit_stars(gaussians(PLACES + np.array([0.2, 0]), 1.56, (91, 83)), *PLACES.T, fwhm=3.0)
    np.testing.assert_allclose(made.fwhm / true.fwhm, 1.2, rtol=0.01)
    np.testing.assert_allclose(made.x - true.x, 0.2, atol=0.01)
    np.testing.assert_allclose(made.y - true.y, 0, atol=0.01)
    # The fitted Gaussian is integrated over pixels, which are 1/12 of variance wide.
    np.testing.assert_allclose(true.fwhm, 2.3548 * math.sqrt(1.3**2 - 1 / 12), rtol=0.005)


def test_what_cannot_be_measured_is_nan():
    image = gaussians(PLACES, 1.3, (91, 83))
    image[30, 21] = np.nan
    x, y = np.append(PLACES[:, 0], 1.0), np.append(PLACES[:, 1], 50.0)  # and one at the border
    found = fit_stars(image, x, y, fwhm=3.0)
    assert np.isnan(found.fwhm).tolist() == [True, False, False, True]
    radii = encircled(RADII, growth(image, x, y, RADII), 0.5)
    assert np.isnan(radii).tolist() == [True, False, False, True]
    assert np.isnan(encircled((1.0, 2.0), np.array([[-1.0, -2.0]]), 0.5)).all()
    assert len(fit_stars(image, np.zeros(0), np.zeros(0), fwhm=3.0).x) == 0


def test_who_stands_alone():
    x, y = np.array([0.0, 3.0, 30.0]), np.zeros(3)
    assert isolated(x, y, 5).tolist() == [False, False, True]
    assert isolated(x[:1], y[:1], 5).tolist() == [True]
    assert isolated(x, y, 3.0).tolist() == [False, False, True]  # one at that distance is within it
