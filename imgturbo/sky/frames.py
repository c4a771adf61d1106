"""From one image's pixels to another's: always over the sky, in a frame that both know.

World coordinates of one header mean nothing to another: they may be galactic, of another equinox,
or latitude first. So pixels become directions, directions are transformed from frame to frame
(astropy's), and become pixels again,

    (x, y) → direction in the frame of A → direction in the frame of B → (u, v),

and (u, v) counts only where its own direction is the one that was asked for: beyond the reach of a
projection or a polynomial the way back leads somewhere else. Cylinders and cubes (CAR, TSC, …) are
rolled out from −180° to 180° of longitude on the way back, whatever part of the roll an image shows
(a cube's runs from −45° to 315°); a place beside it is looked for one turn further.
"""

from __future__ import annotations

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, WCSCOMPARE_ANCILLARY
from astropy.wcs.utils import pixel_to_pixel
from numpy.typing import ArrayLike, NDArray

from imgturbo.sky.headers import quiet
from imgturbo.sky.wcs import pixel_area, solid_angles

__all__ = ["directions", "icrs", "places_in", "same_grid", "to_pixels"]

Floats = NDArray[np.float64]

_ROLLED = ("CAR", "CEA", "MER", "TSC", "CSC", "QSC")
_MATCH = 0.01
"""Pixels by which two grids may differ and still be one."""


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
        u, v = _unrolled(b, u, v)
        away = np.linalg.norm(directions(b, u, v) - directions(a, x, y), axis=-1)
    area = pixel_area(b)
    assert area is not None
    lost = ~(away < np.sqrt(area))
    u[lost], v[lost] = np.nan, np.nan
    return u, v


def places_in(wcs: WCS, places: SkyCoord) -> tuple[Floats, Floats]:
    """Pixels (x, y) of an image in which directions lie; NaN where it does not see them."""
    nowhere = np.full(places.shape, np.nan)
    with quiet(), np.errstate(invalid="ignore"):
        try:
            x, y = (np.array(c, float) for c in wcs.world_to_pixel(places))
        except ValueError:  # a frame that knows nothing of the stars
            return nowhere, nowhere.copy()
        x, y = _unrolled(wcs, x, y)
        found = directions(wcs, x, y)
    wanted = np.moveaxis(places.icrs.cartesian.xyz.value, 0, -1)
    area = pixel_area(wcs)
    assert area is not None
    lost = ~(np.linalg.norm(found - wanted, axis=-1) < np.sqrt(area))
    x[lost], y[lost] = np.nan, np.nan
    return x, y


def _unrolled(wcs: WCS, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Pixels that lie beside the image, one turn further if they lie in it there."""
    lng, size = wcs.wcs.lng, wcs.array_shape
    if size is None or lng < 0 or wcs.wcs.ctype[lng][5:8] not in _ROLLED or wcs.has_distortion:
        return u, v
    turn = np.linalg.solve(wcs.pixel_scale_matrix, 360.0 * np.eye(2)[lng])

    def inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
        within = (x > -0.5) & (x < size[1] - 0.5) & (y > -0.5) & (y < size[0] - 0.5)
        return np.asarray(within)

    for step in (turn, -turn):
        further = inside(u + step[0], v + step[1]) & ~inside(u, v)
        u, v = np.where(further, u + step[0], u), np.where(further, v + step[1], v)
    return u, v


def same_grid(a: WCS, b: WCS, shape: tuple[int, int]) -> bool:
    """True where the pixels of an image (H, W) agree to a hundredth of a pixel in both.

    Directions are compared, pixel by pixel, and no way back from the sky is needed: many valid
    grids have none everywhere (the rim of an all-sky map, a polynomial far from its middle).
    """
    if a is b:
        return True
    if not (a.has_distortion or b.has_distortion) and a.wcs.compare(b.wcs, WCSCOMPARE_ANCILLARY):
        return True
    height, width = shape
    x, y = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    here, there = directions(a, x, y), directions(b, x, y)
    on_sky, also = np.isfinite(here).all(-1), np.isfinite(there).all(-1)
    both = on_sky & also
    if not 2 * both.sum() > max(on_sky.sum(), also.sum()):  # at the rim one may be beyond it
        return False
    apart = np.linalg.norm(here - there, axis=-1)[both]
    wide = np.sqrt(solid_angles(a, x, y)[both])
    return bool((apart < _MATCH * wide).all())
