r"""What a translator makes of nothing, and of sources that were put in.

    noise      noise with the source image's own rms and correlation about its own level, and no
               source: whatever is found in the prediction was invented
    negative   2 s − f, the source image mirrored at its sky level s: its noise, and holes for
               sources; a source in the prediction is invented, or is the ringing of a hole
    injected   point sources and exponential galaxies of known magnitude, put into the source image
               with its camera's point spread function where it is dark, and looked for in what is
               made of it

A source is three connected pixels above 5 σ of the truth's noise for the first two, as in
:func:`imgturbo.metrics.detection.count_peaks`; for the third, one that is found within two pixels
of where it was put and was not there before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.stats import gaussian_fwhm_to_sigma
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.metrics.detection import count_peaks, find_sources, mutual
from imgturbo.metrics.recovery import depth, shares
from imgturbo.scoring.ceiling import noise_like
from imgturbo.scoring.trust.scene import Scene
from imgturbo.scoring.trust.sources import as_bins, detection, magnitude_edges
from imgturbo.sky import SkyImage

__all__ = ["Translate", "blank", "injected"]

Array = NDArray[np.float64]
Translate = Callable[[SkyImage], SkyImage]
"""From a source image to what is predicted of it, in the scene's bands and unit."""

_SPACING = 32  # pixels between injected sources
_STAMP = 31  # pixels a side
_SCALE = 2.0  # pixels, of exponential discs


def blank(scene: Scene, translate: Translate, seed: int = 0) -> dict[str, Any]:
    """Sources per square arcmin (per image without coordinates) of noise and of a negative sky.

    Returns:
        ``{"unit", "noise": {band: number}, "negative": {band: number}}``.
    """
    source = scene.images["source"]
    level = scene.level["source"][:, None, None]
    noise = noise_like(source.data, scene.valid, seed)
    area = scene.area
    result: dict[str, Any] = {"unit": "arcmin⁻²" if area else "image"}
    for name, data in (("noise", level + noise), ("negative", 2 * level - source.data)):
        shown = np.where(scene.valid, data, np.nan).astype(np.float32)
        made = translate(replace(source, data=shown, valid=scene.valid))
        result[name] = {
            band: count_peaks(_less(plane, scene.valid), float(sigma), scene.valid) / (area or 1.0)
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
    star = np.arange(len(places)) % 2 == 0
    before, threshold = find_sources(_seen(scene, translate(source)), scene.valid)
    data = source.data.copy()
    for band, zero in enumerate(source.zeropoints):
        assert zero is not None  # looked at above
        _put(data[band], places, 10 ** (-0.4 * (magnitude - zero)), star, fwhm)
    after, _ = find_sources(
        _seen(scene, translate(replace(source, data=data))), scene.valid, threshold
    )
    found = np.zeros(len(places), bool)
    found[mutual(places, after)[:, 0]] = True
    found[mutual(places, before)[:, 0]] = False
    edges = magnitude_edges(magnitude)
    result: dict[str, Any] = {"placed": len(places)}
    for name, kind in (("stars", star), ("galaxies", ~star)):
        bins = shares(magnitude[kind], found[kind], edges)
        result[name] = {"completeness": as_bins(bins), "complete_to": depth(bins)}
    return result


def _seen(scene: Scene, made: SkyImage) -> NDArray[np.float32]:
    level = np.nanmedian(np.where(scene.valid, made.data, np.nan), (1, 2))
    return detection(made.data - level[:, None, None], scene.noise, scene.valid)


def _dark_places(scene: Scene, random: np.random.Generator) -> Array:
    """Places (N, 2) on a jittered lattice whose surroundings hold no source of the image."""
    height, width = scene.valid.shape
    half = _STAMP // 2
    cols, rows = (np.arange(_SPACING, side - _SPACING + 1, _SPACING) for side in (width, height))
    lattice = np.stack(np.meshgrid(cols, rows), -1).reshape(-1, 2).astype(float)
    lattice += random.uniform(-4, 4, lattice.shape)
    light = scene.light["source"]
    sigma = np.array([np.nanstd(np.clip(p, *np.nanquantile(p, [0.02, 0.9]))) for p in light])
    bright = np.nansum(light / sigma[:, None, None], 0) / np.sqrt(len(light))
    kept = []
    for x, y in lattice:
        row, col = round(y) - half, round(x) - half
        part = slice(row, row + _STAMP), slice(col, col + _STAMP)
        if scene.valid[part].all() and np.quantile(bright[part], 0.98) < 5:
            kept.append((x, y))
    return np.array(kept).reshape(-1, 2)


def _put(
    plane: NDArray[np.float32], places: Array, fluxes: Array, star: NDArray[np.bool_], fwhm: float
) -> None:
    """Add sources to a band, in place."""
    half = _STAMP // 2
    sigma = fwhm * gaussian_fwhm_to_sigma
    kernel = Gaussian2DKernel(sigma)
    offsets = np.arange(_STAMP) - half
    for (x, y), flux, point in zip(places, fluxes, star, strict=True):
        col, row = round(x), round(y)
        dx, dy = offsets[None, :] - (x - col), offsets[:, None] - (y - row)
        if point:
            shape = np.exp(-(dx**2 + dy**2) / 2 / sigma**2)
        else:
            disc = np.exp(-np.hypot(dx, dy) / _SCALE)
            shape = convolve_fft(disc, kernel, boundary="fill", fill_value=0)
        part = slice(row - half, row + half + 1), slice(col - half, col + half + 1)
        plane[part] += (flux * shape / shape.sum()).astype(np.float32)
