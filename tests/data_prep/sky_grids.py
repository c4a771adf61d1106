"""Coordinates for skies that tests make."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS


def tangent(
    shape: tuple[int, int],
    scale: float = 0.05,
    angle: float = 0.0,
    ra: float = 150.1,
    dec: float = 2.2,
) -> WCS:
    """TAN WCS whose reference pixel is the middle of (H, W); ``scale`` in arcsec a pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs
