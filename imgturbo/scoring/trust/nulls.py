r"""What a translator makes of nothing, and of sources that were put in.

    noise      noise with the source image's own rms and correlation about its own level, and no
               source: whatever is found in the prediction was invented
    negative   2 s − f, the source image mirrored at its sky level s: its noise, and holes for
               sources; a source in the prediction is invented, or is the ringing of a hole
    injected   point sources and Sérsic galaxies of known magnitude (n of 0.5 to 4, half-light radii
               of 1.5 to 5 pixels, axis ratios of 0.4 to 1), put into the source image with its
               camera's point spread function where it is dark, and looked for in what is made of
               it

A source is three connected pixels above 5 σ of the truth's noise for the first two, as in
:func:`imgturbo.metrics.detection.count_peaks`; for the third, one that is found within two pixels
of where it was put, by the threshold of the truth's own sources, and was not there before. (By the
noise of a prediction, which is smooth, the faintest bump would count.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.modeling.models import Sersic2D
from astropy.stats import gaussian_fwhm_to_sigma
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from imgturbo.errors import ImgturboError
from imgturbo.metrics.detection import count_peaks, mutual
from imgturbo.metrics.estimates import as_json, rate
from imgturbo.metrics.recovery import depth, shares
from imgturbo.scoring.ceiling import noise_like
from imgturbo.scoring.held import sampled
from imgturbo.scoring.trust.scene import Scene
from imgturbo.scoring.trust.sources import as_bins, look_for, magnitude_edges, threshold_of
from imgturbo.sky import SkyImage

__all__ = ["Translate", "blank", "injected"]

Array = NDArray[np.float64]
Translate = Callable[[SkyImage], SkyImage]
"""From a source image to what is predicted of it, in the scene's bands and unit."""

_SPACING = 32  # pixels between injected sources
_STAMP = 31  # pixels a side
_FINE = 5  # parts of a pixel along each axis, in which sources are painted


def blank(scene: Scene, translate: Translate, seed: int = 0) -> dict[str, Any]:
    """Sources per square arcmin (per image without coordinates) of noise and of a negative sky.

    Returns:
        ``{"unit", "noise": {band: estimate}, "negative": {band: estimate}}``.
    """
    source = scene.images["source"]
    level = scene.level["source"][:, None, None]
    noise = noise_like(source.data, scene.valid, seed)
    area = scene.area
    result: dict[str, Any] = {"unit": "arcmin⁻²" if area else "image"}
    for name, data in (("noise", level + noise), ("negative", 2 * level - source.data)):
        shown = np.where(scene.valid, data, np.nan).astype(np.float32)
        with warnings.catch_warnings():
            # Noise alone and holes for sources are unlike any training's sky, as they should be.
            warnings.filterwarnings("ignore", ".*sky is not the training's")
            made = translate(replace(source, data=shown, valid=scene.valid))
        result[name] = {
            band: as_json(
                rate(count_peaks(_less(plane, scene.valid), float(sigma), scene.valid), area or 1.0)
            )
            for band, plane, sigma in zip(made.bands, made.data, scene.noise, strict=True)
        }
    return result


def _less(plane: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Less its middle: a sky's level is no source."""
    return np.asarray(plane - np.median(plane[valid]), np.float32)


def injected(
    scene: Scene,
    translate: Translate,
    fwhm: float,
    magnitudes: tuple[float, float],
    seed: int = 0,
) -> dict[str, Any]:
    """How many of the sources that were put into the source image are found in its prediction.

    Args:
        scene: with a source whose zero points are known.
        translate: what makes the prediction.
        fwhm: of the source camera's point spread function, in pixels; a Gaussian.
        magnitudes: AB, brightest and faintest in every band of the source; flat in between.
        seed: of places and magnitudes.

    Returns:
        ``{"stars": {"completeness": [bin, …], "complete_to"}, "galaxies": …, "placed"}``.

    Raises:
        ImgturboError: no zero points, or no dark place for a source.
    """
    source = scene.images["source"]
    if None in source.zeropoints:
        raise ImgturboError(
            f"{source.path or 'the source'}: has no AB zero point, so that no magnitude can be put "
            "into it; leave injected sources out"
        )
    random = np.random.default_rng(seed)
    places = _dark_places(scene, random)
    if not len(places):
        raise ImgturboError(
            "no place of the source image is dark enough for an injected source; give a larger one"
        )
    magnitude = random.uniform(*magnitudes, len(places))
    models = _galaxies(len(places), random)
    star = np.array([model is None for model in models])
    before, threshold = _looked_for(scene, translate(source), threshold_of(scene))
    data = source.data.copy()
    for band, zero in enumerate(source.zeropoints):
        assert zero is not None  # looked at above
        _put(data[band], places, 10 ** (-0.4 * (magnitude - zero)), models, fwhm)
    after, _ = _looked_for(scene, translate(replace(source, data=data)), threshold)
    found = np.zeros(len(places), bool)
    found[mutual(places, after)[:, 0]] = True
    found[mutual(places, before)[:, 0]] = False
    edges = magnitude_edges(magnitude)
    result: dict[str, Any] = {"placed": len(places)}
    for name, kind in (("stars", star), ("galaxies", ~star)):
        bins = shares(magnitude[kind], found[kind], edges)
        result[name] = {"completeness": as_bins(bins), "complete_to": depth(bins)}
    return result


def _looked_for(
    scene: Scene, made: SkyImage, threshold: float | None = None
) -> tuple[Array, float]:
    """Sources of what was made, and their threshold."""
    level = np.median(sampled(made.data, scene.valid), 1).astype(np.float32)
    return look_for(made.data - level[:, None, None], scene.noise, scene.valid, threshold)


def _dark_places(scene: Scene, random: np.random.Generator) -> Array:
    """Places (N, 2) on a jittered lattice whose surroundings hold no source of the image."""
    height, width = scene.valid.shape
    half = _STAMP // 2
    cols, rows = (np.arange(_SPACING, side - _SPACING + 1, _SPACING) for side in (width, height))
    lattice = np.stack(np.meshgrid(cols, rows), -1).reshape(-1, 2).astype(float)
    lattice += random.uniform(-4, 4, lattice.shape)
    light = scene.light["source"]
    sigma = np.array(
        [np.clip(p, *np.quantile(p, [0.02, 0.9])).std() for p in sampled(light, scene.valid)]
    )
    bright = np.nansum(light / sigma[:, None, None], 0) / np.sqrt(len(light))
    kept = []
    for x, y in lattice:
        row, col = round(y) - half, round(x) - half
        part = slice(row, row + _STAMP), slice(col, col + _STAMP)
        if scene.valid[part].all() and np.quantile(bright[part], 0.98) < 5:
            kept.append((x, y))
    return np.array(kept).reshape(-1, 2)


def _put(
    plane: NDArray[np.float32],
    places: Array,
    fluxes: Array,
    models: list[Sersic2D | None],
    fwhm: float,
) -> None:
    """Add sources to a band, in place; a model of None is a star."""
    half = _STAMP // 2
    sigma = fwhm * gaussian_fwhm_to_sigma
    fine = (np.arange(_STAMP * _FINE) + 0.5) / _FINE - 0.5 - half
    for (x, y), flux, model in zip(places, fluxes, models, strict=True):
        col, row = round(x), round(y)
        dx, dy = fine[None, :] - (x - col), fine[:, None] - (y - row)
        if model is None:
            shape = np.exp(-(dx**2 + dy**2) / 2 / sigma**2)
        else:
            shape = gaussian_filter(model(*np.broadcast_arrays(dx, dy)), sigma * _FINE)
        shape = shape.reshape(_STAMP, _FINE, _STAMP, _FINE).sum((1, 3))
        part = slice(row - half, row + half + 1), slice(col - half, col + half + 1)
        plane[part] += (flux * shape / shape.sum()).astype(np.float32)


def _galaxies(number: int, random: np.random.Generator) -> list[Sersic2D | None]:
    """Sérsic galaxies of all sorts, every second source a star."""
    radius = random.uniform(1.5, 5.0, number)
    index, axis, angle = (
        random.uniform(low, high, number) for low, high in ((0.5, 4.0), (0.4, 1.0), (0.0, np.pi))
    )
    return [
        Sersic2D(1.0, r, n, 0.0, 0.0, 1 - q, turn) if k % 2 else None
        for k, (r, n, q, turn) in enumerate(zip(radius, index, axis, angle, strict=True))
    ]
