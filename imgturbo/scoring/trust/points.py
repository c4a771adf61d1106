r"""Places and widths of stars, sizes and shapes of galaxies.

Stars are those of the catalogue, or, where nobody tells, true sources that are bright, stand alone
and are as narrow as the narrowest tenth of those: no galaxy is narrower than the point spread
function. Galaxies are the others. Both images are measured in the same circles and boxes
(:mod:`imgturbo.metrics.shapes`); ratios are of the prediction over the truth, medians over sources.
Shapes (:mod:`imgturbo.metrics.morphology`) are differences, prediction less truth, within the
outline that the source has in the truth; those of statmorph are None where it is not installed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.metrics.estimates import as_json, bootstrap, median, scatter
from imgturbo.metrics.morphology import NAMES, NOTHING, can_measure, ellipticity, outline, shape_of
from imgturbo.metrics.shapes import Stars, encircled, fit_stars, isolated
from imgturbo.scoring.held import at_places, forget
from imgturbo.scoring.trust.light import grown
from imgturbo.scoring.trust.scene import Role, Scene
from imgturbo.scoring.trust.sources import Catalogue

__all__ = ["points"]

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

_MOST = 300  # of each kind: fits take milliseconds each
_MOST_SHAPES = 100  # of each kind that have an ellipticity
_BY_STATMORPH = 25  # the brightest: it takes a third of a second each
_STAMP = 2.5  # radii of the circles, half a side of a stamp
_SIGNIFICANT = 30.0  # σ of the circle's flux that a shape needs
_APART = 1.5  # radii of the circles without a neighbour
_NARROW = 1.15  # times the narrow tenth's width: still a star
_WIDTH = 2.5  # pixels: where fits begin
_AROUND = 16  # pixels about a star that its fit may look at
_SMALLEST, _LARGEST = 1.0, 6.0  # pixels: widths that can be fitted
_RADII = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)  # of the circles


def points(scene: Scene, true: Catalogue) -> dict[str, Any]:
    """What stars and galaxies look like in the prediction, a band each.

    Returns:
        ``{"stars": {band: {"n", "offset_x", "offset_y", "offset_rms", "fwhm", "fwhm_ratio",
        "r50_ratio", "r80_ratio", "ellipticity"}}, "galaxies": {band: {"n", "r50_ratio",
        "r50_scatter", "ellipticity", "sersic_n", "gini", "m20", "asymmetry"}}, "unit": "mas" or
        "pixel"}``; offsets and widths in that unit, each an estimate; a shape is
        ``{"true": median, "bias": median of the differences, "scatter"}``, each an estimate.
    """
    step = 1000 * scene.pixel_scale if scene.pixel_scale else 1.0
    result: dict[str, Any] = {
        "unit": "mas" if scene.pixel_scale else "pixel",
        "stars": {},
        "galaxies": {},
    }
    if not can_measure():
        scene.notes.append(
            "Sérsic index, Gini, M20 and asymmetry of galaxies: not measured; "
            "pip install 'imgturbo[morphology]'"
        )
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
    wide = _fitted(scene, "truth", band, true.x[rows], true.y[rows]).fwhm
    fits = np.isfinite(wide) & (wide > _SMALLEST) & (wide < _LARGEST)
    if not fits.any():
        return rows[:0], rows[:_MOST]
    with np.errstate(invalid="ignore"):
        narrow = fits & (wide < _NARROW * np.quantile(wide[fits], 0.1))
    return rows[narrow][:_MOST], rows[~narrow][:_MOST]


def _stars(scene: Scene, true: Catalogue, band: int, rows: Numbers, step: float) -> dict[str, Any]:
    x, y = true.x[rows], true.y[rows]
    real, made = (_fitted(scene, role, band, x, y) for role in ("truth", "prediction"))
    both = np.isfinite(real.fwhm) & np.isfinite(made.fwhm)
    both &= true.fluxes["prediction"][rows, band] > scene.faintest[band]  # it is there at all
    right, up = step * (made.x - real.x)[both], step * (made.y - real.y)[both]
    radii = _encircled(scene, band, x, y)
    return {
        "n": int(both.sum()),
        "offset_x": as_json(bootstrap(median, right)),
        "offset_y": as_json(bootstrap(median, up)),
        "offset_rms": as_json(bootstrap(_rms, np.hypot(right, up))),
        "fwhm": as_json(bootstrap(median, step * real.fwhm[both])),
        "fwhm_ratio": as_json(bootstrap(median, (made.fwhm / real.fwhm)[both])),
        "r50_ratio": as_json(bootstrap(median, radii[0])),
        "r80_ratio": as_json(bootstrap(median, radii[1])),
        "ellipticity": _shapes(scene, band, x, y, ("ellipticity",))["ellipticity"],
    }


def _fitted(scene: Scene, role: Role, band: int, x: Array, y: Array) -> Stars:
    """Stars of :func:`imgturbo.metrics.shapes.fit_stars`, by pieces."""
    plane = scene.light[role][band]

    def measure(window: tuple[slice, slice], x: Array, y: Array) -> Array:
        top, left = window[0].start, window[1].start
        found = fit_stars(plane[window].astype(np.float64), x, y, _WIDTH)
        return np.column_stack([found.x + left, found.y + top, found.fwhm])

    return Stars(*at_places(plane.shape, x, y, _AROUND, measure).T)


def _galaxies(scene: Scene, true: Catalogue, band: int, rows: Numbers) -> dict[str, Any]:
    ratio = _encircled(scene, band, true.x[rows], true.y[rows])[0]
    return {
        "n": len(ratio),
        "r50_ratio": as_json(bootstrap(median, ratio)),
        "r50_scatter": as_json(bootstrap(scatter, ratio)),
        **_shapes(scene, band, true.x[rows], true.y[rows], ("ellipticity", *NAMES)),
    }


def _shapes(
    scene: Scene, band: int, x: Array, y: Array, names: tuple[str, ...]
) -> dict[str, dict[str, Any] | None]:
    """Of the brightest sources, what differs of each of these names; None is not measured."""
    able = len(names) > 1 and can_measure()
    pairs: list[list[list[float]]] = []
    for number, place in enumerate(zip(np.rint(x), np.rint(y), strict=True)):
        if len(pairs) == _MOST_SHAPES:
            break
        column, row = map(int, place)
        if (pair := _shape_pair(scene, band, column, row, able and number < _BY_STATMORPH)) is None:
            continue
        pairs.append(pair)
    forget()
    columns = len(names) if able else 1
    real, made = (
        np.array(pairs, float).reshape(-1, 2, 1 + len(NAMES))[..., :columns].transpose(1, 2, 0)
    )
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
    for name, true, seen in zip(names, real, made, strict=False):
        known = np.isfinite(true) & np.isfinite(seen)
        apart = (seen - true)[known]
        found[name] = {
            "true": as_json(bootstrap(median, true[known])),
            "bias": as_json(bootstrap(median, apart)),
            "scatter": as_json(bootstrap(scatter, apart)),
        }
    return found


def _shape_pair(
    scene: Scene, band: int, column: int, row: int, more: bool
) -> list[list[float]] | None:
    """Shapes of a source in truth and prediction; None where its stamp is not all measured."""
    half = math.ceil(_STAMP * scene.radius)
    if min(column, row) < half:
        return None
    window = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
    real, made = (
        scene.light[role][band][window].astype(np.float64) for role in ("truth", "prediction")
    )
    if real.shape != (2 * half + 1,) * 2 or not np.isfinite(real).all():
        return None
    sigma = float(scene.noise[band])
    if (source := outline(real, sigma)) is None:
        return None
    return [
        [ellipticity(stamp, source), *(shape_of(stamp, source, sigma) if more else NOTHING)]
        for stamp in (real, made)
    ]


def _encircled(scene: Scene, band: int, x: Array, y: Array) -> list[Array]:
    """Ratios of r_50 and of r_80, of those that have them in both images."""
    radii = [scene.radius * share for share in _RADII]
    growths = {role: grown(scene, role, band, x, y, radii) for role in ("truth", "prediction")}
    ratios = []
    for share in (0.5, 0.8):
        real, made = (encircled(radii, growths[role], share) for role in ("truth", "prediction"))
        known = np.isfinite(real) & np.isfinite(made)
        ratios.append(made[known] / real[known])
    return ratios


def _rms(values: Array) -> Array:
    return np.asarray(np.sqrt((values**2).mean(-1)))
