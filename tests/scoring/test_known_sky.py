"""Scores of a sky whose truth is known: the truth has no fault, and faults are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.simulate import simulate
from imgturbo.scoring.known_sky import KnownSky, fluxes_of_known, made_up
from imgturbo.sky import read_sky

BANDS = ("F606W", "F814W")


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    return simulate(folder, pixels=300, seed=3, star_density=300, noiseless=True)


def test_the_truth_itself_is_without_fault(field):
    truth = read_sky(list(field.noiseless))
    found = fluxes_of_known([KnownSky(truth, truth, field.truth)], BANDS)
    assert sum(row["sources"] for row in found["stars"]) > 5
    for row in (*found["galaxies"], *found["stars"]):
        assert row["ratio"] == pytest.approx(dict.fromkeys(truth.bands, 1.0))
    assert len(found["colour"]) == 3
    for row in found["colour"]:
        assert row["error"] == pytest.approx({"F150W-F277W": 0, "F277W-F444W": 0}, abs=1e-9)


def test_light_and_colour_that_are_wrong_are_found_in_any_unit(field):
    truth = read_sky(list(field.noiseless))
    factors = np.array([0.9, 1.0, 1.2], np.float32)[:, None, None]
    zero = tuple(point + 15 for point in truth.zeropoints)  # 2.5 lg 10⁶
    wrong = replace(truth, data=truth.data * factors * 1e6, unit="Jy/sr", zeropoints=zero)
    found = fluxes_of_known([KnownSky(wrong, truth, field.truth)], BANDS)
    for row in (*found["galaxies"], *found["stars"]):
        assert list(row["ratio"].values()) == pytest.approx([0.9, 1.0, 1.2], rel=1e-5)
    blue, red = 2.5 * np.log10(1 / 0.9), 2.5 * np.log10(1.2)
    for row in found["colour"]:
        assert list(row["error"].values()) == pytest.approx([blue, red], abs=1e-4)


def test_sources_of_several_skies_are_judged_together(field):
    """Light that is 0.9 in one of two alike skies and 1.1 in the other is right in all."""
    truth = read_sky(list(field.noiseless))
    skies = [
        KnownSky(replace(truth, data=truth.data * np.float32(factor)), truth, field.truth)
        for factor in (0.9, 1.1)
    ]
    one, both = (fluxes_of_known(some, BANDS) for some in (skies[:1], skies))
    for kind in ("galaxies", "stars"):
        for alone, row in zip(one[kind], both[kind], strict=True):
            assert row["sources"] == 2 * alone["sources"]
            assert row["ratio"] == pytest.approx(dict.fromkeys(truth.bands, 1.0))
            assert all(error > 0.02 / row["sources"] ** 0.5 for error in row["error"].values())


def test_noise_is_no_source_but_what_is_made_of_it_may_be(tmp_path):
    empty = simulate(tmp_path, pixels=200, seed=4, density=0, star_density=0, cluster=False)
    seen = read_sky(list(empty.target))
    flat = replace(seen, data=np.zeros_like(seen.data))
    assert made_up(flat, seen) == dict.fromkeys(seen.bands, 0.0)
    y, x = 100, 100
    sharp = flat.data.copy()
    sharp[1, y : y + 2, x : x + 2] = 10 * np.nanstd(seen.data[1])
    area = np.sum(seen.valid) * 0.04**2 / 3600
    found = made_up(replace(flat, data=sharp), seen)
    assert found == pytest.approx({"F150W": 0, "F277W": 1 / area, "F444W": 0})
