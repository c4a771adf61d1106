"""Small skies that the mosaic tests share."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS


def rotated_wcs(height: int, width: int, scale: float = 0.05, angle: float = 33.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [214.91, 52.87]
    wcs.wcs.crpix = [width / 3, height / 2]
    a = np.radians(angle)
    turn = np.array([[-np.cos(a), np.sin(a)], [np.sin(a), np.cos(a)]])
    wcs.wcs.cd = turn * scale / 3600
    return wcs


def noise_sky(channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise about a sky level, some bright pixels, a NaN border and a hole."""
    random = np.random.default_rng(seed)
    data = random.normal(0.015, 0.03, size=(channels, height, width))
    data[:, random.random((height, width)) < 0.01] += 5.0
    data[:, :, :4] = np.nan
    data[:, -3:] = np.nan
    data[0, height // 3, width // 3] = np.nan
    return data.astype(np.float32)
