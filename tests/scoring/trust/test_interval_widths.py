"""Intervals that are as wide as they should be hold what they say; narrower ones are found."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import norm
from trust_standins import BANDS, NOISE, fluxes_of, painted, places, sky

from imgturbo.scoring.trust.scene import bring_together
from imgturbo.scoring.trust.spread import spread

WHERE = places()
BASE = painted(WHERE, fluxes_of(len(WHERE)))


@pytest.mark.parametrize("width", [1.0, 0.7])
def test_planted_widths_are_found_within_the_stated_error(tmp_path, width):
    """Of Gaussian errors an interval that is 0.7 as wide covers P(|ε| < 0.7 z)."""
    path = tmp_path / "prediction.fits"
    hdus = [fits.PrimaryHDU()]
    for percent in (5, 25, 75, 95):
        end = BASE + width * NOISE * norm.ppf(percent / 100)
        hdus += [
            fits.ImageHDU(plane.astype(np.float32), name=f"Q{percent:02d}", ver=band + 1)
            for band, plane in enumerate(end)
        ]
    fits.HDUList(hdus).writeto(path)
    scene = bring_together(sky(BASE, 0.0), sky(BASE, NOISE, 11))
    found = spread(scene, path, (0, 1))
    assert list(found) == ["Q05-Q95", "Q25-Q75"]
    for row in found.values():
        z = norm.ppf((1 + row["nominal"]) / 2)
        expected = 2 * norm.cdf(width * z) - 1
        for band in BANDS:
            said = row["bands"][band]["all"]
            assert said["value"] == pytest.approx(expected, abs=3.5 * said["error"])
            assert said["error"] < 0.01
            told_apart = abs(said["value"] - row["nominal"]) > 5 * said["error"]
            assert told_apart == (width != 1.0)
            for part in row["bands"][band]["by_brightness"]:
                share = part["coverage"]
                assert share["value"] == pytest.approx(expected, abs=4 * share["error"] + 0.01)
