"""The toy tissue: its formula by a loop, and that its colour tells its oxygen."""

from __future__ import annotations

import math

import numpy as np

from imgturbo.simulators import Tissue
from imgturbo.simulators.tissue import reflectance

TABLE = {500: (20933, 20862), 540: (53236, 46592), 560: (32613, 53788), 660: (320, 3227)}


def test_reflectance_is_the_formula():
    names = Tissue().observations.names
    parameters = Tissue().prior(np.random.default_rng(0), 5)
    for (s, v, a, b, _), row in zip(parameters, reflectance(parameters), strict=True):
        for wavelength, (oxygenated, bare) in TABLE.items():
            mu_a = math.log(10) * 150 / 64500 * v * (s * oxygenated + (1 - s) * bare)
            mu_s = a * (wavelength / 500) ** -b
            albedo = mu_s / (mu_a + mu_s)
            root = math.sqrt(3 * (1 - albedo))
            expected = albedo / (1 + 5.9 * (1 - albedo) + (1 + 5.9 / 3) * root)
            assert math.isclose(row[names.index(f"R{wavelength}")], expected, rel_tol=1e-9)


def test_more_blood_is_darker_and_oxygen_is_redder():
    base = np.array([[0.5, 0.03, 20.0, 1.0]])
    less = reflectance(base * [1, 0.5, 1, 1])
    more = reflectance(base * [1, 2, 1, 1])
    assert (more > 0).all()
    assert (more < less).all()
    assert (less < 1).all()
    blue, red = reflectance(base * [0.1, 1, 1, 1])[0], reflectance(base * [1.9, 1, 1, 1])[0]
    assert red[-1] > blue[-1]  # at 660 nm


def test_the_noise_is_what_was_asked():
    parameters = np.repeat(Tissue().prior(np.random.default_rng(0), 1), 20_000, 0)
    seen = Tissue(noise=0.05).observe(np.random.default_rng(1), parameters)
    np.testing.assert_allclose(seen.std(0), 0.05, rtol=0.03)
