"""Laws of the spectra: flat stays flat, breaks break, dust reddens, hot is blue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.simulate.spectra import (
    BANDS,
    REFERENCE,
    TEMPLATES,
    ab_magnitude,
    flux_from_magnitude,
    galaxy_fluxes,
    star_fluxes,
)


def one(template: str, redshift: float, bands: list[str], dust: float = 0.0) -> np.ndarray:
    return galaxy_fluxes(
        [template], np.array([redshift]), np.array([dust]), np.array([100.0]), bands
    )[0]


@given(magnitude=st.floats(10, 35))
def test_magnitude_and_flux_are_inverse(magnitude):
    assert ab_magnitude(flux_from_magnitude(magnitude)) == pytest.approx(magnitude, abs=1e-9)


def test_zero_points_of_the_system():
    """3631 Jy is magnitude 0; no flux is infinitely faint."""
    assert ab_magnitude(3631e9) == pytest.approx(0, abs=2e-3)
    assert ab_magnitude(0.0) == np.inf


@pytest.mark.parametrize(("band", "pivot"), [("F606W", 0.5921), ("F814W", 0.8045), ("F444W", 4.40)])
def test_pivots_are_near_the_real_filters(band, pivot):
    assert BANDS[band].pivot == pytest.approx(pivot, rel=0.015)


@given(
    template=st.sampled_from(sorted(TEMPLATES)),
    redshift=st.floats(0.0, 9.0),
    dust=st.floats(0, 4),
)
def test_reference_flux_is_kept_and_nothing_is_negative(template, redshift, dust):
    fluxes = one(template, redshift, [*BANDS], dust)
    assert fluxes[list(BANDS).index(REFERENCE)] == pytest.approx(100)
    assert np.isfinite(fluxes).all()
    assert fluxes.min() >= 0


@given(redshift=st.floats(0.35, 0.45))
def test_red_sequence_is_redder_than_young_galaxies(redshift):
    def colour(template):
        blue, red = one(template, redshift, ["F606W", "F814W"])
        return ab_magnitude(blue) - ab_magnitude(red)

    assert colour("old") > 0.7
    assert colour("old") > colour("disk") + 0.25 > colour("young") + 0.25


def test_the_break_reddens_as_it_passes_between_two_bands():
    bands = ["F606W", "F814W"]
    before, passing = (one("old", z, bands) for z in (0.1, 0.7))
    assert passing[0] / passing[1] < 0.5 * before[0] / before[1]
    before, passing = (one("young", z, bands) for z in (0.1, 0.7))
    assert passing[0] / passing[1] > 0.7 * before[0] / before[1]


@pytest.mark.parametrize(("redshift", "band"), [(7.2, "F606W"), (7.8, "F814W"), (8.5, "F090W")])
def test_dropouts_vanish_blueward_of_lyman_alpha(redshift, band):
    blue, reference = one("burst", redshift, [band, "F150W"])
    assert reference == pytest.approx(100)
    assert blue < 1.0


@given(redshift=st.floats(0.1, 4.0), dust=st.floats(0.5, 4.0))
def test_dust_reddens(redshift, dust):
    clear, dusty = (one("young", redshift, ["F814W", "F444W"], a_v) for a_v in (0.0, dust))
    assert dusty[0] / dusty[1] < clear[0] / clear[1]


@given(cool=st.floats(2800, 6000), warmer=st.floats(1.1, 1.6))
def test_hotter_stars_are_bluer(cool, warmer):
    bands = ["F606W", "F814W", "F444W"]
    fluxes = star_fluxes(np.array([cool, cool * warmer]), np.array([50.0, 50.0]), bands)
    assert fluxes.shape == (2, 3)
    assert fluxes[1, 0] / fluxes[1, 1] > fluxes[0, 0] / fluxes[0, 1]
    assert fluxes[1, 2] < fluxes[0, 2]


def test_stars_follow_rayleigh_and_jeans_when_hot():
    """f_ν ∝ λ⁻² far redward of the peak."""
    red, redder = star_fluxes(np.array([1e6]), np.array([1.0]), ["F277W", "F444W"])[0]
    expected = (BANDS["F444W"].pivot / BANDS["F277W"].pivot) ** -2
    assert redder / red == pytest.approx(expected, rel=0.02)
