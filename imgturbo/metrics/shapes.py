r"""Are stars points and galaxies as large as they are? Sizes and places of known sources.

Around a place, F(r) is the flux within a circle of radius r, and

    r_s = min { r : F(r) ≥ s F(R) }

the radius that encircles the share s of the flux within R: r_50 is the half-light radius of a
galaxy, r_50 and r_80 are those of the point spread function where the source is a star. The width
and the place of a star are those of the Gaussian that fits its middle (photutils), its width given
as FWHM = 2 √(2 ln 2) σ. Prediction and truth are measured in the same circles and boxes, so that
what these leave out is left out of both and ratios are of like with like.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray
from photutils.psf import fit_2dgaussian
from scipy.spatial import KDTree

from imgturbo.metrics.fluxes import aperture_fluxes

__all__ = ["Stars", "encircled", "fit_stars", "growth", "isolated"]

Array = NDArray[np.float64]

_BOX = 7  # pixels a side that are fitted: the middle of a well-sampled star


def isolated(x: Array, y: Array, distance: float) -> NDArray[np.bool_]:
    """Which of the places (N,) have no other within ``distance`` pixels."""
    if len(x) < 2:
        return np.ones(len(x), bool)
    places = np.column_stack([x, y])
    nearest, _ = KDTree(places).query(places, k=2)
    return np.asarray(nearest[:, 1] > distance)


def growth(image: NDArray[np.floating], x: Array, y: Array, radii: Sequence[float]) -> Array:
    """F(r) of each source for each radius in pixels, (N, R), of one band (H, W).

    NaN where the circle leaves the image or holds a pixel that is NaN.
    """
    return np.stack([aperture_fluxes(image[None], x, y, r)[:, 0] for r in radii], 1)


def encircled(radii: Sequence[float], fluxes: Array, share: float) -> Array:
    """r_s of the module's page (N,), linear between radii; NaN where it cannot be told.

    Args:
        radii: (R,), rising.
        fluxes: F(r), (N, R).
        share: s, between 0 and 1.
    """
    edges = np.concatenate([[0.0], np.asarray(radii, float)])
    grown = np.concatenate([np.zeros((len(fluxes), 1)), fluxes], 1)
    wanted = share * grown[:, -1:]
    known = np.isfinite(grown).all(1) & (grown[:, -1] > 0)
    reached = np.where(known[:, None], grown >= wanted, False)
    after = reached.argmax(1)
    rows = np.arange(len(grown))
    low, high = grown[rows, after - 1], grown[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (wanted[:, 0] - low) / (high - low)
    found = edges[after - 1] + part * (edges[after] - edges[after - 1])
    return np.where(known & (after > 0), found, np.nan)


class Stars(NamedTuple):
    """Where fitted stars are, in pixels, and how wide: (N,) each, NaN where the fit failed."""

    x: Array
    y: Array
    fwhm: Array


def fit_stars(image: NDArray[np.floating], x: Array, y: Array, fwhm: float) -> Stars:
    """Fit a round Gaussian to each star of one band (H, W).

    Args:
        image: fluxes, NaN where not measured.
        x, y: where the stars are to within a pixel, (N,).
        fwhm: in pixels, where the fits begin.
    """
    nothing = np.full(len(x), np.nan)
    height, width = image.shape
    half = _BOX // 2
    inside = (x >= half) & (y >= half) & (x < width - half) & (y < height - half)
    rows = np.flatnonzero(inside)
    rows = rows[[_whole(image, x[k], y[k], half) for k in rows]] if len(rows) else rows
    if not len(rows):
        return Stars(nothing, nothing.copy(), nothing.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # of fits that did not converge
        fitted = fit_2dgaussian(
            image, xypos=np.column_stack([x, y])[rows], fwhm=fwhm, fix_fwhm=False, fit_shape=_BOX
        ).results
    found = Stars(nothing, nothing.copy(), nothing.copy())
    places = np.asarray(fitted["x_fit"], float), np.asarray(fitted["y_fit"], float)
    near = np.hypot(places[0] - x[rows], places[1] - y[rows]) < half
    width_of = np.asarray(fitted["fwhm_fit"], float)
    good = near & np.isfinite(width_of) & (width_of > 0) & (width_of < 2 * _BOX)
    for column, values in zip(found, (*places, width_of), strict=True):
        column[rows[good]] = values[good]
    return found


def _whole(image: NDArray[np.floating], x: float, y: float, half: int) -> bool:
    """Whether every pixel of the box is measured."""
    row, col = round(y), round(x)
    box = image[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
    return bool(np.isfinite(box).all())
