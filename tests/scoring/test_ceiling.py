"""Ceilings: what the truth itself scores, and what a second exposure would."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from imgturbo import evaluate
from imgturbo.scoring.ceiling import seen_again
from imgturbo.sky import SkyImage, Stretch, resample


def _lit(seed: int, noise: float = 0.02) -> NDArray[np.float32]:
    """Blobs that are the same for every seed, and noise that is not: (2, 97, 101)."""
    rng = np.random.default_rng(99)
    y, x = np.mgrid[:97, :101]
    image = np.zeros((2, 97, 101))
    for row, col, width, peak in rng.uniform((8, 8, 1.5, 1), (89, 93, 4, 9), (25, 4)):
        image += peak * np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * width**2))
    image += noise * np.random.default_rng(seed).standard_normal(image.shape)
    return image.astype(np.float32)


def _wcs(scale: float, size: tuple[int, int]) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = size[1] / 2 + 0.5, size[0] / 2 + 0.5
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def _on_sky(data: NDArray[np.float32], scale: float, unit: str) -> SkyImage:
    size = data.shape[1:]
    wcs = _wcs(scale, size)
    return SkyImage(data, np.ones(size, bool), wcs, unit, ("F150W", "F277W"))


def test_the_noiseless_truth_is_the_ceiling_and_lacks_nothing_that_can_be_seen():
    target, truth = _lit(1, 0.5), _lit(2, 0.0)
    scores = evaluate(_lit(3, 0.5), target, ceiling=truth, perceptual=False)
    given, again = scores["ceilings"]["given"], scores["ceilings"]["again"]
    assert given["spectrum_error"] < 0.03
    assert given["coherence"] == pytest.approx(1, abs=0.05)
    # The target's noise is all that the truth lacks, and what fresh noise adds to the target is as
    # much; between two exposures there is twice as much.
    assert again["psnr"] == pytest.approx(given["psnr"], abs=0.5)
    lost = given["psnr"] - scores["prediction"]["psnr"]
    assert lost == pytest.approx(10 * np.log10(2), abs=0.5)
    assert scores["beside_by_band"]["ceiling"].keys() == scores["by_band"].keys()


@pytest.mark.parametrize("unit", ["nJy", "MJy/sr"])
def test_a_ceiling_on_other_pixels_is_scored_as_a_prediction_there_would_be(unit):
    """Fluxes per pixel change with the pixels' area, once."""
    truth = _on_sky(_lit(1), 0.05, unit)
    fine = resample(truth, _wcs(0.04, (122, 127)), (122, 127))
    stretch = Stretch.linear(2)
    beside = evaluate(truth, truth, ceiling=fine, stretch=stretch, perceptual=False)
    alone = evaluate(fine, truth, stretch=stretch, perceptual=False)
    assert beside["ceilings"]["given"]["psnr"] == pytest.approx(alone["prediction"]["psnr"])


def test_where_the_ceiling_was_not_measured_nothing_is_scored():
    truth, guess, best = _lit(1), _lit(2), _lit(3, 0.0)
    best[:, :30] = np.nan
    stretch = Stretch.linear(2)
    scores = evaluate(guess, truth, ceiling=best, stretch=stretch, perceptual=False)
    kept = (slice(None), slice(30, None))
    alone = evaluate(guess[kept], truth[kept], stretch=stretch, perceptual=False)
    assert scores["valid_fraction"] == pytest.approx(67 / 97)
    assert scores["prediction"]["mse"] == pytest.approx(alone["prediction"]["mse"], rel=1e-5)
    assert scores["ceilings"]["given"]["psnr"] is not None


def test_pictures_have_no_noise_of_their_own():
    guess, truth = np.random.default_rng(0).random((2, 3, 31, 37)).astype(np.float32)
    scores = evaluate(guess, truth, stretch=Stretch.linear(3), perceptual=False)
    assert scores["ceilings"] == {"given": None, "again": None}


@given(seed=st.integers(0, 2**31), shape=st.tuples(st.integers(90, 140), st.integers(90, 140)))
def test_fresh_noise_is_as_the_skys_and_its_own(seed, shape):
    """As strong, as correlated between neighbours, and without a trace of the first."""
    white = np.random.default_rng(seed).standard_normal((1, *shape))
    sky_noise = gaussian_filter(white, (0, 0.7, 0.7)).astype(np.float32)
    valid = np.ones(shape, bool)
    valid[:7] = False
    sky_noise[:, 20:26, 20:26] += 40
    again = seen_again(sky_noise, valid, seed=seed % 1000)
    assert np.array_equal(again[:, :7], sky_noise[:, :7])
    fresh = (again - sky_noise)[0, 7:]
    old = gaussian_filter(white, (0, 0.7, 0.7))[0, 7:]
    assert fresh.std() == pytest.approx(old.std(), rel=0.2)

    def beside(image):
        return np.mean(image[:, 1:] * image[:, :-1]) / image.var()

    assert beside(fresh) == pytest.approx(beside(old), abs=0.15)
    assert abs(np.corrcoef(fresh.ravel(), old.ravel())[0, 1]) < 0.1
