r"""Places and widths of stars, sizes and shapes of galaxies.

Stars are those of the catalogue, or, where nobody tells, true sources that are bright, stand alone
and are as narrow as the narrowest tenth of those: no galaxy is narrower than the point spread
function. Galaxies are the others. Both images are measured in the same circles and boxes
(:mod:`imgturbo.metrics.shapes`); ratios are of the prediction over the truth, medians over sources.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.metrics.estimates import as_json, bootstrap, median, scatter
from imgturbo.metrics.shapes import encircled, fit_stars, growth, isolated
from imgturbo.scoring.trust.scene import Scene
from imgturbo.scoring.trust.sources import Catalogue

__all__ = ["points"]

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

_MOST = 300  # of each kind: fits take milliseconds each
_SIGNIFICANT = 30.0  # σ of the circle's flux that a shape needs
_APART = 1.5  # radii of the circles without a neighbour
_NARROW = 1.15  # times the narrow tenth's width: still a star
_SMALLEST, _LARGEST = 1.0, 6.0  # pixels: widths that can be fitted
_RADII = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)  # of the circles


def points(scene: Scene, true: Catalogue) -> dict[str, Any]:
    """What stars and galaxies look like in the prediction, a band each.

    Returns:
        ``{"stars": {band: {"n", "offset_x", "offset_y", "offset_rms", "fwhm", "fwhm_ratio",
        "r50_ratio", "r80_ratio"}}, "galaxies": {band: {"n", "r50_ratio", "r50_scatter"}},
        "unit": "mas" or "pixel"}``; offsets and widths in that unit, each an estimate.
    """
    step = 1000 * scene.pixel_scale if scene.pixel_scale else 1.0
    result: dict[str, Any] = {
        "unit": "mas" if scene.pixel_scale else "pixel",
        "stars": {},
        "galaxies": {},
    }
    for k, band in enumerate(scene.bands):
        star, galaxy = _kinds(scene, true, k)
        result["stars"][band] = _stars(scene, true, k, star, step)
        result["galaxies"][band] = _galaxies(scene, true, k, galaxy)
    return result


def _kinds(scene: Scene, true: Catalogue, band: int) -> tuple[Numbers, Numbers]:
    """Numbers of the bright lone stars and galaxies, the brightest first."""
    flux = true.fluxes["truth"][:, band]
    limit = _SIGNIFICANT / 3 * scene.faintest[band]
    good = np.isfinite(flux) & (flux > limit)
    good &= isolated(true.x, true.y, _APART * scene.radius)
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(-flux[rows])]
    if true.star is not None:
        return rows[true.star[rows]][:_MOST], rows[~true.star[rows]][:_MOST]
    rows = rows[: 2 * _MOST]
    wide = fit_stars(scene.light["truth"][band], true.x[rows], true.y[rows], 2.5).fwhm
    fits = np.isfinite(wide) & (wide > _SMALLEST) & (wide < _LARGEST)
    if not fits.any():
        return rows[:0], rows[:_MOST]
    with np.errstate(invalid="ignore"):
        narrow = fits & (wide < _NARROW * np.quantile(wide[fits], 0.1))
    return rows[narrow][:_MOST], rows[~narrow][:_MOST]


def _stars(scene: Scene, true: Catalogue, band: int, rows: Numbers, step: float) -> dict[str, Any]:
    x, y = true.x[rows], true.y[rows]
    real, made = (fit_stars(scene.light[role][band], x, y, 2.5) for role in ("truth", "prediction"))
    both = np.isfinite(real.fwhm) & np.isfinite(made.fwhm)
    east, up = step * (made.x - real.x)[both], step * (made.y - real.y)[both]
    radii = _encircled(scene, band, x, y)
    return {
        "n": int(both.sum()),
        "offset_x": as_json(bootstrap(median, east)),
        "offset_y": as_json(bootstrap(median, up)),
        "offset_rms": as_json(bootstrap(_rms, np.hypot(east, up))),
        "fwhm": as_json(bootstrap(median, step * real.fwhm[both])),
        "fwhm_ratio": as_json(bootstrap(median, (made.fwhm / real.fwhm)[both])),
        "r50_ratio": as_json(bootstrap(median, radii[0])),
        "r80_ratio": as_json(bootstrap(median, radii[1])),
    }


def _galaxies(scene: Scene, true: Catalogue, band: int, rows: Numbers) -> dict[str, Any]:
    ratio = _encircled(scene, band, true.x[rows], true.y[rows])[0]
    return {
        "n": len(ratio),
        "r50_ratio": as_json(bootstrap(median, ratio)),
        "r50_scatter": as_json(bootstrap(scatter, ratio)),
    }


def _encircled(scene: Scene, band: int, x: Array, y: Array) -> list[Array]:
    """Ratios of r_50 and of r_80, of those that have them in both images."""
    radii = [scene.radius * share for share in _RADII]
    grown = {role: growth(scene.light[role][band], x, y, radii) for role in ("truth", "prediction")}
    ratios = []
    for share in (0.5, 0.8):
        real, made = (encircled(radii, grown[role], share) for role in ("truth", "prediction"))
        known = np.isfinite(real) & np.isfinite(made)
        ratios.append(made[known] / real[known])
    return ratios


def _rms(values: Array) -> Array:
    return np.asarray(np.sqrt((values**2).mean(-1)))
