"""The registration as a WCS: one reprojection then does all.

Given the map T from source pixels to target pixels, the source's WCS is fitted to the points
(r, sky(T(r))) on a grid. With (ξ, η) the tangent plane at CRVAL,

    (ξ, η) = CD · (u + A(u, v), v + B(u, v)),    (u, v) = r − CRPIX,

first without A, B, then as a SIP polynomial (Shupe et al. 2005, ASPC 347, 491) of rising order;
what is still left, and local shifts, goes into distortion lookup tables (the CPDIS of the
distortion paper by Calabretta et al. 2004), so that the WCS follows T to 10⁻³ pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.utils import pixel_to_pixel
from numpy.typing import NDArray

from imgturbo.sky.headers import quiet

__all__ = ["fit_wcs", "frame_points", "nominal_wcs", "pixels_to_pixels"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

NOMINAL = "NOMINAL"  # WCSNAME of coordinates that stand for a picture's own pixels
_EXACT = 1e-3  # pixels
_ORDERS = (2, 3, 4, 5)


def nominal_wcs(shape: tuple[int, int]) -> WCS:
    """Tangent-plane coordinates for a picture (H, W) that has none: 1″ a pixel, RA 180°, Dec 0°.

    They give two pictures a common frame; they say nothing about the true sky (WCSNAME says so).
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [180.0, 0.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cd = np.diag([-1 / 3600, 1 / 3600])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.name = NOMINAL
    wcs.array_shape = shape
    wcs.wcs.set()
    return wcs


def pixels_to_pixels(first: WCS, second: WCS, points: Floats) -> Floats:
    """Pixels (N, 2) of ``first`` in ``second``; NaN where the sky point has none."""
    with quiet(), np.errstate(invalid="ignore"):  # far outside a distorted WCS there is no pixel
        mapped = pixel_to_pixel(first, second, points[:, 0], points[:, 1])
    return np.stack(mapped, axis=1).astype(float)


def fit_wcs(to_target: Map, shape: tuple[int, int], target: WCS, tables: bool = False) -> WCS:
    """WCS of the source whose pixels (N, 2) ``to_target`` takes to pixels of ``target``.

    Args:
        shape: (H, W) of the source.
        tables: add lookup tables in any case (for maps with local structure).
    """
    grid = frame_points(shape, 25)
    sky = np.stack(target.pixel_to_world_values(*to_target(grid).T), axis=1)
    crval = np.array(target.wcs.crval)
    best, error = _tangent(grid, sky, crval, target, shape, 1)
    if not error <= _EXACT:
        # About the image's own middle the polynomial is well conditioned wherever CRPIX lies.
        middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
        crval = np.array(target.pixel_to_world_values(*to_target(middle).T)).ravel()
        for order in (1, *_ORDERS):
            trial, trial_error = _tangent(grid, sky, crval, target, shape, order)
            if trial_error < error:
                best, error = trial, trial_error
            if error <= _EXACT:
                break
    if tables or not error <= _EXACT:
        _add_tables(best, to_target, shape, target)
    return best


def frame_points(shape: tuple[int, int], count: int) -> Floats:
    """A grid (count², 2) of pixel positions that spans an image (H, W), rim to rim."""
    x, y = np.meshgrid(
        np.linspace(-0.5, shape[1] - 0.5, count), np.linspace(-0.5, shape[0] - 0.5, count)
    )
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _blank(crval: Floats, target: WCS, shape: tuple[int, int]) -> WCS:
    """Tangent plane at ``crval`` in the target's celestial frame, degrees for pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"{kind[:5]}TAN" for kind in target.wcs.ctype]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = [0.0, 0.0]
    wcs.wcs.cd = np.eye(2)
    wcs.wcs.radesys = target.wcs.radesys
    if np.isfinite(target.wcs.equinox):
        wcs.wcs.equinox = target.wcs.equinox
    wcs.wcs.name = target.wcs.name
    wcs.array_shape = shape
    wcs.wcs.set()
    return wcs


def _tangent(
    grid: Floats, sky: Floats, crval: Floats, target: WCS, shape: tuple[int, int], order: int
) -> tuple[WCS, float]:
    """TAN(-SIP) of an order, fitted to the grid, and its largest error in source pixels."""
    wcs = _blank(crval, target, shape)
    plane = wcs.wcs_world2pix(sky, 1)
    if not np.isfinite(plane).all():  # more than 90° from there: no tangent plane sees it
        return wcs, np.inf
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    scale = max(shape) / 2
    powers = [(t - j, j) for t in range(order + 1) for j in range(t + 1)]
    if order > 1:
        powers = powers[1:]  # CRVAL is the sky at the middle: no constant
    u, v = ((grid - middle) / scale).T
    design = np.stack([u**i * v**j for i, j in powers], axis=1)
    solution = np.linalg.lstsq(design, plane, rcond=None)[0]
    linear = {power: solution[k] / scale ** sum(power) for k, power in enumerate(powers)}
    matrix = np.stack([linear[1, 0], linear[0, 1]], axis=1)
    wcs.wcs.cd = matrix
    constant = linear.get((0, 0), np.zeros(2))
    wcs.wcs.crpix = middle + 1 - np.linalg.solve(matrix, constant)
    if order > 1:
        tables = np.zeros((2, order + 1, order + 1))
        for (i, j), value in linear.items():
            if i + j > 1:
                tables[:, i, j] = np.linalg.solve(matrix, value)
        wcs.wcs.ctype = [f"{kind[:5]}TAN-SIP" for kind in target.wcs.ctype]
        wcs.sip = Sip(tables[0], tables[1], None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    misfit = design @ solution - plane
    return wcs, float(np.hypot(*np.linalg.solve(matrix, misfit.T)).max())


def _add_tables(wcs: WCS, to_target: Map, shape: tuple[int, int], target: WCS) -> None:
    """Lookup tables of what ``wcs`` leaves, on a grid of at most 513 nodes a side (in place)."""
    count = [int(np.clip(side / 4, 2, 512)) + 1 for side in (shape[1], shape[0])]
    low = np.array([-8.0, -8.0])
    step = (np.array([shape[1], shape[0]]) + 16.0) / (np.array(count) - 1)
    x, y = np.meshgrid(*(low[i] + step[i] * np.arange(count[i]) for i in (0, 1)))
    nodes = np.stack([x.ravel(), y.ravel()], axis=1)
    sky = np.stack(target.pixel_to_world_values(*to_target(nodes).T), axis=1)
    wanted = wcs.wcs_world2pix(sky, 0)
    given = wcs.wcs_world2pix(wcs.all_pix2world(nodes, 0), 0)
    delta = (wanted - given).astype(np.float32)
    made = [
        DistortionLookupTable(
            np.ascontiguousarray(delta[:, axis].reshape(x.shape)),
            (1.0, 1.0),
            tuple(low + 1),
            tuple(step),
        )
        for axis in (0, 1)
    ]
    wcs.cpdis1, wcs.cpdis2 = made
