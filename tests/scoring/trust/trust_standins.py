"""A field of stars of which everything is known, and predictions of it with planted errors."""

from __future__ import annotations

import math

import numpy as np
from astropy.wcs import WCS

from imgturbo.sky import SkyImage

SIZE, SCALE, SIGMA, NOISE = 384, 0.04, 1.3, 0.02
ZERO = 28.0
BANDS = ("F150W", "F277W")


def wcs():
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval, found.wcs.crpix = [10.0, -5.0], [SIZE / 2, SIZE / 2]
    found.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return found


def places(seed=0, step=24):
    """Lone places, off the pixels' middles, in no order."""
    random = np.random.default_rng(seed)
    middles = np.arange(step, SIZE - step / 2, step)
    grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
    return random.permutation(grid + random.uniform(-2, 2, grid.shape))


def painted(where, fluxes, sigma=SIGMA):
    """(C, H, W) of Gaussian stars, fluxes (N, C)."""
    rows, cols = np.mgrid[:SIZE, :SIZE]
    image = np.zeros((fluxes.shape[1], SIZE, SIZE))
    reach = 12
    for (x, y), flux in zip(where, fluxes, strict=True):
        r, c = (slice(max(0, round(p) - reach), round(p) + reach + 1) for p in (y, x))
        r2 = (cols[r, c] - x) ** 2 + (rows[r, c] - y) ** 2
        star = np.exp(-r2 / 2 / sigma**2) / (2 * math.pi * sigma**2)
        image[:, r, c] += flux[:, None, None] * star
    return image


def fluxes_of(n, seed=1):
    """(N, 2), of 20 to 26.5 mag, a colour each."""
    random = np.random.default_rng(seed)
    magnitude = random.uniform(20, 26.5, n)
    colour = random.normal(0.3, 0.4, n)
    return 10 ** (-0.4 * (np.stack([magnitude, magnitude - colour], 1) - ZERO))


def sky(data, noise=NOISE, seed=2, bands=BANDS):
    noisy = data + noise * np.random.default_rng(seed).normal(size=data.shape)
    return SkyImage.from_array(
        noisy, wcs=wcs(), unit="nJy", bands=bands, zeropoints=(ZERO,) * len(bands)
    )
