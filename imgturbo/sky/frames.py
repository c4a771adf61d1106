"""From one image's pixels to another's: always over the sky, in a frame that both know.

World coordinates of one header mean nothing to another: they may be galactic, of another equinox,
or latitude first. So pixels become directions, directions are transformed from frame to frame
(astropy's), and become pixels again,

    (x, y) → direction in the frame of A → direction in the frame of B → (u, v),

and (u, v) counts only where its own direction is the one that was asked for: beyond the reach of a
projection or a polynomial the way back leads somewhere else.
"""

from __future__ import annotations

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel
from numpy.typing import ArrayLike, NDArray

from imgturbo.sky.headers import pixel_area, quiet

__all__ = ["directions", "icrs", "to_pixels"]

Floats = NDArray[np.float64]


def icrs(wcs: WCS, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Right ascension and declination (ICRS, degrees) of pixels; NaN where there is no sky.

    Coordinates of a frame that is not tied to the stars (the Sun's, a planet's) stay its own.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    with quiet():
        if wcs.wcs.lngtyp == "RA" and wcs.wcs.radesys == "ICRS":
            world = wcs.pixel_to_world_values(x, y)
            return np.asarray(world[wcs.wcs.lng]), np.asarray(world[wcs.wcs.lat])
        place = wcs.pixel_to_world(x, y)
        if isinstance(place, SkyCoord):
            there = place.icrs
            return np.asarray(there.ra.deg), np.asarray(there.dec.deg)
        world = wcs.pixel_to_world_values(x, y)
    return np.asarray(world[wcs.wcs.lng]), np.asarray(world[wcs.wcs.lat])


def directions(wcs: WCS, x: ArrayLike, y: ArrayLike) -> Floats:
    """Unit vectors (…, 3) of pixels in ICRS; NaN where there is no sky."""
    ra, dec = (np.radians(angle) for angle in icrs(wcs, x, y))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def to_pixels(a: WCS, b: WCS, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Pixels (x, y) of ``a`` in pixels of ``b``; NaN where ``b`` does not see that place."""
    x, y = (np.array(c, float) for c in np.broadcast_arrays(x, y))
    nowhere = np.full(x.shape, np.nan)
    with quiet(), np.errstate(invalid="ignore"):
        try:
            u, v = (np.array(c, float) for c in pixel_to_pixel(a, b, x, y))
        except ValueError:  # two frames that know nothing of each other
            return nowhere, nowhere.copy()
        away = np.linalg.norm(directions(b, u, v) - directions(a, x, y), axis=-1)
    area = pixel_area(b)
    assert area is not None
    lost = ~(away < np.sqrt(area))
    u[lost], v[lost] = np.nan, np.nan
    return u, v
