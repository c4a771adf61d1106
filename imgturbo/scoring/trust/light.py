r"""Fluxes and colours of true sources, in prediction and truth.

In bins of magnitude and colour, with F summed in circles,

    ratio R = Σ F_prediction / Σ F_truth,      scatter = σ_robust(F_prediction / F_truth)

In bins of what the *input* shows an honest prediction has R = 1. In bins of the truth it cannot
have, since what the input does not tell is drawn to the mean; how much, a regression of the truth's
flux on the input's fluxes shows beside it: the *ceiling* (five-fold cross-fitted, quadratic in
asinh of the fluxes over their noise). The same figures are given for the best affine map of the
input (:mod:`imgturbo.metrics.baselines`): what a prediction does no better, it did not learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.metrics.baselines import affine_map
from imgturbo.metrics.detection import sky_noise
from imgturbo.metrics.estimates import as_json, bootstrap, median, scatter
from imgturbo.metrics.shapes import encircled, growth
from imgturbo.scoring.held import at_places, forget, sampled, strips
from imgturbo.scoring.trust.scene import Role, Scene
from imgturbo.scoring.trust.sources import Catalogue, magnitude_edges

__all__ = ["grown", "photometry"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BRIGHT = 5.0  # σ of the circle's noise above which a source has a colour
_FOLDS = 5
_COLOUR_BINS = 3
_SIZE_BINS = 3
_BLOCKS = 8  # a side, of the bootstrap over sky
_RADII = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5)  # of the circles, in which r_50 is measured


def photometry(scene: Scene, true: Catalogue) -> dict[str, Any]:
    """All of the module's page, of the true sources.

    Returns:
        ``{"aperture": arcsec or None, "bands": {band: {"by_input", "by_truth", "by_size",
        "by_truth_ceiling", "scatter", "scatter_factor", "total", "sky"}}, "colours":
        {"F150W-F277W": {"by_input", "by_truth", "bias", "scatter"}}, "affine": the same bands and
        colours of the best affine map of the source}``. What needs a source image is empty without
        one, and ``"affine"`` is None.
    """
    made, real = true.fluxes["prediction"], true.fluxes["truth"]
    seen = true.fluxes.get("source")
    axes = _axes(scene, true)
    blocks = {role: _by_blocks(light) for role, light in scene.light.items()}
    found = _figures(scene, axes, made, blocks["prediction"], blocks["truth"])
    ceiling = None if seen is None else _regressed(seen, real, _circle_noise(scene, "source"))
    for k, name in enumerate(scene.bands):
        found["bands"][name] |= {
            "by_truth_ceiling": _bins(
                _column(ceiling, k), real[:, k], axes.truth[:, k], axes.truth_edges[k]
            ),
            "sky": _sky(scene, k),
        }
    affine = None
    if seen is not None:
        fluxes, of_blocks = _affine(scene, seen, blocks["source"])
        affine = _figures(scene, axes, fluxes, of_blocks, blocks["truth"])
    return {
        "aperture": scene.radius * scene.pixel_scale if scene.pixel_scale else None,
        **found,
        "affine": affine,
    }


class _Axes(NamedTuple):
    """Along what sources are put into bins: those of the input, of the truth, of sizes."""

    real: Array  # true fluxes (N, C)
    seen: Array | None  # the source image's (N, C')
    input: Array | None  # magnitude of its reddest band (N,)
    input_edges: list[float]
    truth: Array  # magnitudes (N, C)
    truth_edges: list[list[float]]
    sizes: Array


def _axes(scene: Scene, true: Catalogue) -> _Axes:
    real, seen = true.fluxes["truth"], true.fluxes.get("source")
    magnitudes = scene.magnitudes("truth", real)
    limits = scene.magnitudes("truth", scene.faintest[None])[0]
    edges = [magnitude_edges(magnitudes[:, k], limits[k]) for k in range(len(scene.bands))]
    if seen is None:
        return _Axes(real, None, None, [], magnitudes, edges, _sizes(scene, true))
    of_input = scene.magnitudes("source", seen)[:, -1]
    noise = _circle_noise(scene, "source")
    faintest = float(scene.magnitudes("source", 3 * noise[None])[0, -1])
    input_edges = magnitude_edges(of_input, faintest)
    return _Axes(real, seen, of_input, input_edges, magnitudes, edges, _sizes(scene, true))


def _figures(
    scene: Scene, axes: _Axes, made: Array, blocks: Array, true_blocks: Array
) -> dict[str, Any]:
    """Bands and colours of fluxes ``made`` (N, C); all light, of it and the truth, by blocks."""
    bands = {}
    for k, name in enumerate(scene.bands):
        one, true = made[:, k], axes.real[:, k]
        bands[name] = {
            "by_input": _bins(one, true, axes.input, axes.input_edges),
            "by_truth": _bins(one, true, axes.truth[:, k], axes.truth_edges[k]),
            "by_size": _bins(one, true, axes.sizes, _thirds(axes.sizes)),
            **_scatters(one, true, axes.seen),
            "total": as_json(bootstrap(_ratio, blocks[k], true_blocks[k])),
        }
    return {"bands": bands, "colours": _colours(scene, made, axes.real, axes.seen)}


def _ratio(found: Array, true: Array) -> Array:
    return np.asarray(found.sum(-1) / true.sum(-1))


def _bins(
    found: Array | None, true: Array, of: Array | None, edges: Sequence[float]
) -> list[dict[str, Any]]:
    if found is None or of is None:
        return []
    known = np.isfinite(found) & np.isfinite(true) & np.isfinite(of) & (true > 0)
    rows = []
    for low, high in pairwise(edges):
        inside = known & (of >= low) & (of < high)
        if inside.any():
            f, t = found[inside], true[inside]
            rows.append(
                {
                    "from": float(low),
                    "to": float(high),
                    "ratio": as_json(bootstrap(_ratio, f, t)),
                    "scatter": as_json(bootstrap(scatter, f / t)),
                }
            )
    return rows


def _column(fluxes: Array | None, k: int) -> Array | None:
    return None if fluxes is None else fluxes[:, k]


def _scatters(made: Array, real: Array, seen: Array | None) -> dict[str, Any]:
    """Scatter of magnitudes against the truth, and by what factor it is less than the input's."""
    known = (made > 0) & (real > 0) & np.isfinite(made) & np.isfinite(real)
    own = bootstrap(scatter, -2.5 * np.log10(made[known] / real[known]))
    if seen is None:
        return {"scatter": as_json(own), "scatter_factor": None}
    known &= np.isfinite(seen).all(1) & (seen > 0).all(1)
    error = -2.5 * np.log10(made[known] / real[known])
    inputs = -2.5 * np.log10(seen[known] / real[known, None])

    def factor(of_input: Array, of_prediction: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(scatter(of_input) / scatter(of_prediction))

    if not known.any():
        return {"scatter": as_json(own), "scatter_factor": None}
    best = min(inputs.T, key=lambda column: float(scatter(column)))
    return {"scatter": as_json(own), "scatter_factor": as_json(bootstrap(factor, best, error))}


# ---------------------------------------------------------------------- what the input allows


def _circle_noise(scene: Scene, role: str) -> Array:
    """σ of a flux in a circle, were pixels independent (C,)."""
    sigma = np.array([sky_noise(pixels) for pixels in sampled(scene.light[role], scene.valid)])
    return np.maximum(sigma * np.sqrt(np.pi) * scene.radius, np.finfo(np.float32).tiny)


def _regressed(seen: Array, real: Array, noise: Array) -> Array:
    """E[F_truth | F_source] of each source (N, C), fitted on the others."""
    known = np.isfinite(seen).all(1) & np.isfinite(real).all(1) & (real > 0).all(1)
    out = np.full(real.shape, np.nan)
    rows = np.flatnonzero(known)
    y = np.arcsinh(seen[rows] / noise)
    products = [y[:, i] * y[:, j] for i in range(y.shape[1]) for j in range(i, y.shape[1])]
    design = np.column_stack([np.ones(len(rows)), y, *products])
    if len(rows) < 4 * design.shape[1]:
        return out
    wanted = np.log(real[rows])
    fold = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
    for number in range(_FOLDS):
        fit, apply = fold != number, fold == number
        coefficients = np.linalg.lstsq(design[fit], wanted[fit], rcond=None)[0]
        fitted = np.exp(design[fit] @ coefficients)
        smear = real[rows][fit].sum(0) / fitted.sum(0)  # a mean of logarithms is no mean of fluxes
        out[rows[apply]] = np.exp(design[apply] @ coefficients) * smear
    return out


def _affine(scene: Scene, seen: Array, blocks: Array) -> tuple[Array, Array]:
    """Fluxes (N, C) and light by blocks (C, B) of the best affine map of the source image.

    What is linear in the pixels is so in their sums: the image itself is not needed.
    """
    a, b = affine_map(scene.light["source"], scene.light["truth"], scene.valid)
    pixels = _by_blocks(scene.valid[None])
    return seen @ a.T + b * (np.pi * scene.radius**2), a @ blocks + b[:, None] * pixels


# ------------------------------------------------------------------------- sizes, totals, sky


def _sizes(scene: Scene, true: Catalogue) -> Array:
    """r_50 of the true sources in pixels (N,), in the band where they are brightest over noise."""
    power = np.zeros(len(scene.bands))
    for rows in strips(scene.valid.shape):
        power += np.nansum(scene.light["truth"][:, rows].astype(np.float64) ** 2, (1, 2))
    best = int(np.argmax(power / scene.noise**2))
    radii = [scene.radius * share for share in _RADII]
    fluxes = grown(scene, "truth", best, true.x, true.y, radii)
    return encircled(radii, fluxes, 0.5)


def grown(scene: Scene, role: Role, band: int, x: Array, y: Array, radii: Sequence[float]) -> Array:
    """F(r) (N, R) of :func:`imgturbo.metrics.shapes.growth`, by pieces."""
    plane = scene.light[role][band]

    def measure(window: tuple[slice, slice], x: Array, y: Array) -> Array:
        return growth(plane[window].astype(np.float64), x, y, radii)

    return at_places(plane.shape, x, y, math.ceil(max(radii)) + 2, measure)


def _thirds(values: Array) -> list[float]:
    known = values[np.isfinite(values)]
    if len(known) < 2 * _SIZE_BINS:
        return []
    edges = np.quantile(known, np.linspace(0, 1, _SIZE_BINS + 1))
    return [*edges[:-1].tolist(), float(np.nextafter(edges[-1], np.inf))]


def _by_blocks(light: NDArray[Any]) -> Array:
    """Sums (C, B) over blocks of sky of an image (C, H, W), NaN left out."""
    sums = [
        [float(np.nansum(block, dtype=np.float64)) for block in np.array_split(rows, _BLOCKS, 1)]
        for plane in light
        for rows in np.array_split(plane, _BLOCKS, 0)
    ]
    forget()
    return np.array(sums).reshape(len(light), -1)


def _sky(scene: Scene, band: int) -> dict[str, float]:
    """How far apart the sky's levels lie, in the image's unit and in σ of a pixel."""
    apart = float(scene.level["prediction"][band] - scene.level["truth"][band])
    return {"difference": apart, "in_sigma": apart / float(scene.noise[band])}


# ------------------------------------------------------------------------------------- colours


def _colours(scene: Scene, made: Array, real: Array, seen: Array | None) -> dict[str, Any]:
    """Predicted less true colour, of neighbouring bands, of sources that have one."""
    limit = _BRIGHT / 3 * scene.faintest
    known = np.isfinite(made).all(1) & (made > 0).all(1) & (real > limit).all(1)
    found, true = (
        scene.magnitudes(role, fluxes)[known]
        for role, fluxes in (("prediction", made), ("truth", real))
    )
    of_input = None
    if seen is not None and seen.shape[1] > 1:
        magnitudes = scene.magnitudes("source", seen)[known]
        of_input = magnitudes[:, 0] - magnitudes[:, -1]
    colours = {}
    for k, (blue, red) in enumerate(pairwise(scene.bands)):
        error = (found[:, k] - found[:, k + 1]) - (true[:, k] - true[:, k + 1])
        colours[f"{blue}-{red}"] = {
            "bias": as_json(bootstrap(median, error)),
            "scatter": as_json(bootstrap(scatter, error)),
            "by_input": _colour_bins(error, of_input),
            "by_truth": _colour_bins(error, true[:, k] - true[:, k + 1]),
        }
    return colours


def _colour_bins(error: Array, of: Array | None) -> list[dict[str, Any]]:
    if of is None:
        return []
    rows = []
    for low, high in pairwise(_thirds(of)[: _COLOUR_BINS + 1]):
        inside = (of >= low) & (of < high)
        rows.append({"from": low, "to": high, "bias": as_json(bootstrap(median, error[inside]))})
    return rows
