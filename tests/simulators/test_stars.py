"""Stars obey their own theory, and two different ones can look the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, kstest

from imgturbo.simulators import Stars
from imgturbo.simulators.stars import isochrone

TWOFOLD = np.array([[6.4765, 0.2336, 0.2372]])


def test_the_sun_is_the_sun():
    light, heat = isochrone(np.array([9.66]), np.array([0.0]))
    assert abs(light[0]) < 0.1
    assert abs(heat[0] - np.log10(5772)) < 0.02


def test_young_stars_shrink_and_old_ones_swell():
    ages = np.linspace(5.7, 7.0, 40)
    light, _ = isochrone(ages, np.zeros(40))
    assert (np.diff(light) < 0).all()
    slope = np.diff(light)[0] / np.diff(ages)[0]
    assert abs(slope + 2 / 3) < 0.02  # Hayashi's
    late = np.linspace(8.0, 9.9, 40)
    light, heat = isochrone(late, np.zeros(40))
    assert light[-1] > light[0]
    assert heat[-1] < heat[0]


def test_dead_stars_are_dark():
    observed = Stars().observe(
        np.random.default_rng(0), np.array([[8.0, 1.4, 0.3], [6.0, 1.4, 0.3]])
    )
    assert np.isnan(observed[0]).all()
    assert np.isfinite(observed[1]).all()


@pytest.mark.parametrize("bands", ["VI", "LEGUS"])
def test_dust_dims_and_reddens_by_its_law(bands):
    simulator = Stars(bands=bands, noise=1e-9)
    stars = np.array([[6.5, 0.3, 0.0], [6.5, 0.3, 2.0]])
    bare, dusty = simulator.observe(np.random.default_rng(0), stars)
    np.testing.assert_allclose(dusty - bare, 2 * (simulator.wavelengths / 0.55) ** -1.3, atol=1e-6)


def test_a_black_body_by_hand():
    """A star of Vega's temperature and radius has Vega's magnitudes, whatever the band."""
    simulator = Stars(bands="LEGUS", noise=1e-9, distance_modulus=0.0)
    masses = np.linspace(0.2, 0.5, 4000)
    ages = np.full(4000, 8.0)
    light, heat = isochrone(ages, masses)
    k = np.abs(10**heat - 9600).argmin()
    radius = light[k] - 4 * (heat[k] - 3.762)  # log R²
    seen = simulator.observe(np.random.default_rng(0), np.array([[8.0, masses[k], 0.0]]))[0]
    np.testing.assert_allclose(seen, 0.58 - 2.5 * (radius - 2 * np.log10(2.5)), atol=0.01)


def test_stars_are_in_the_large_magellanic_cloud_unless_asked():
    """18.5 magnitudes fainter than at ten parsec (Pietrzyński et al. 2013: 18.49 ± 0.05)."""
    star = np.array([[8.0, 0.3, 0.0]])
    far, near = (
        Stars(noise=1e-9, **where).observe(np.random.default_rng(0), star)
        for where in ({}, {"distance_modulus": 0.0})
    )
    np.testing.assert_allclose(far - near, 18.5, atol=1e-6)


def test_the_prior_is_of_living_stars():
    rows = Stars().prior(np.random.default_rng(0), 20_000)
    assert np.isfinite(Stars().observe(np.random.default_rng(1), rows)).all()
    assert kstest(rows[:, 2], gamma(2, scale=0.5).cdf).pvalue > 0.01  # dust knows nothing of death
    assert (rows[:, 0] <= 10 - 2.5 * rows[:, 1]).all()


def test_one_point_of_the_diagram_can_be_two_stars():
    """What is seen at one place in V and I has either of two masses, with a gap between."""
    rows, seen = Stars().draw(np.random.default_rng(0), 600_000)
    wanted = Stars(noise=1e-9).observe(np.random.default_rng(1), TWOFOLD)[0]
    near = rows[(np.abs(seen - wanted) < 0.1).all(1), 1]
    counts, _ = np.histogram(near, np.arange(0.0, 0.9, 0.1))
    low, between, high = counts[1:3].max(), counts[4], counts[5:7].max()
    assert min(low, high) > max(50, 2 * between)


def test_the_two_stars_are_of_different_modes():
    """One still contracts, the other has settled: the gap in mass is the gap between the modes."""
    simulator = Stars()
    rows, seen = simulator.draw(np.random.default_rng(0), 600_000)
    wanted = Stars(noise=1e-9).observe(np.random.default_rng(1), TWOFOLD)[0]
    near = rows[(np.abs(seen - wanted) < 0.1).all(1)]
    mode = simulator.mode(near)
    assert simulator.modes[simulator.mode(TWOFOLD)[0]] == "contracting"
    masses = near[:, 1]
    agree = (mode == 0) == (masses < 0.45)
    assert agree.mean() > 0.9


def test_the_other_theory_differs_by_more_than_the_noise():
    rows = Stars().prior(np.random.default_rng(0), 2000)
    young = rows[rows[:, 0] < 6.5]
    a, b = (
        Stars(isochrones=name, noise=1e-9).observe(np.random.default_rng(1), young) for name in "AB"
    )
    assert np.nanmedian(np.abs(a - b)) > 0.05
    assert Stars(isochrones="B").observations.stretch == Stars().observations.stretch
