"""What an astronomer asks of a prediction where the truth is known: a simulated sky.

    made up     on noise alone, groups of pixels above 5 σ of the target's noise, per square arcmin
    flux        predicted over true, stars apart from galaxies, in bins of the source's magnitude
    colour      its error between neighbouring bands, in bins of the source's colour

All bins are of what the input shows; see :mod:`imgturbo.metrics.fluxes` for why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.stats import mad_std
from numpy.typing import NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.metrics.detection import count_peaks
from imgturbo.metrics.fluxes import FluxBin, aperture_fluxes, flux_bins
from imgturbo.scoring.together import Image, as_sky, in_unit_of
from imgturbo.sky.catalogue import places_of, read_table
from imgturbo.sky.frames import places_in

__all__ = ["KnownSky", "fluxes_of_known", "made_up"]

MAGNITUDES = (21.0, 22.0, 23.0, 24.0, 25.0, 26.0)
APERTURE = 0.4  # arcsec: radius of the circles
_COLOUR_BINS, _COLOUR_FAINTEST = 3, 25.0


def made_up(prediction: Image, target: Image) -> dict[str, float]:
    """Sources per square arcmin that a translator finds in noise, by band.

    Args:
        prediction: what it made of an image without sources.
        target: what the other telescope sees there, for its noise.

    Raises:
        ImgturboError: units or bands that cannot be compared.
    """
    seen = as_sky(target, "target")
    made = in_unit_of(seen, as_sky(prediction, "prediction"))
    valid = made.valid & seen.valid
    assert seen.pixel_scale is not None  # of a simulation
    area = valid.sum() * seen.pixel_scale**2 / 3600
    sigma = [mad_std(plane[valid]) for plane in seen.data]
    return {
        band: count_peaks(plane, float(noise), valid) / area
        for band, plane, noise in zip(made.bands, made.data, sigma, strict=True)
    }


class KnownSky(NamedTuple):
    """A prediction of a simulated sky, and what is known of it.

    Attributes:
        prediction: of the sky, on the grid of ``truth``.
        truth: the sky without noise.
        catalogue: ``truth.ecsv`` as ``imgturbo simulate`` writes it.
    """

    prediction: Image
    truth: Image
    catalogue: Path


def fluxes_of_known(skies: Sequence[KnownSky], source_bands: tuple[str, str]) -> dict[str, Any]:
    """Flux ratios and colours of the sources of simulated skies, all together.

    Args:
        skies: one or several, of the same bands.
        source_bands: two bands of the input, blue and red; the magnitude is of the red one.

    Returns:
        ``{"galaxies": [{"from", "to", "sources", "ratio": {band: …}, "error": {band: …}}, …],
        "stars": […], "colour": [{"from", "to", "sources", "error": {"F150W-F277W": …}}, …]}``,
        JSON as it is; ``from`` and ``to`` are magnitudes, of the colour differences of magnitudes.

    Raises:
        ImgturboError: units or bands that cannot be compared.
    """
    sources = [_measured(sky, source_bands) for sky in skies]
    bands = sources[0].bands
    if any(one.bands != bands for one in sources):
        raise ImgturboError("known skies of unlike bands are to be judged one by one")
    found, wanted, blue, red, star = (
        np.concatenate([np.asarray(getattr(one, name)) for one in sources])
        for name in ("found", "wanted", "blue", "red", "star")
    )
    result: dict[str, Any] = {
        name: [
            _row(one, bands) for one in flux_bins(found[kind], wanted[kind], red[kind], MAGNITUDES)
        ]
        for name, kind in (("galaxies", ~star), ("stars", star))
    }
    bright = (red >= MAGNITUDES[0]) & (red < _COLOUR_FAINTEST) & np.isfinite(found).all(1)
    colour = blue - red
    edges = np.quantile(colour[bright], np.linspace(0, 1, _COLOUR_BINS + 1)) if bright.any() else []
    bins = flux_bins(found[bright], wanted[bright], colour[bright], [*edges[:-1], np.inf])
    result["colour"] = [_colours(one, bands, edges[-1]) for one in bins]
    return result


class _Sources(NamedTuple):
    """Of one sky: fluxes (N, C) found and wanted, magnitudes of the input (N,), which are stars."""

    bands: tuple[str, ...]
    found: NDArray[np.float64]
    wanted: NDArray[np.float64]
    blue: NDArray[np.float64]
    red: NDArray[np.float64]
    star: NDArray[np.bool_]


def _measured(sky: KnownSky, source_bands: tuple[str, str]) -> _Sources:
    true = as_sky(sky.truth, "truth")
    made = in_unit_of(true, as_sky(sky.prediction, "prediction"))
    assert true.wcs is not None  # of a simulation
    assert true.pixel_scale is not None
    with door(sky.catalogue, remedy="simulate the sky again"):
        table = read_table(sky.catalogue)
        table.keep_columns(["ra", "dec", "kind", *(f"mag_{band}" for band in source_bands)])
    places = places_of(table, sky.catalogue)
    assert places is not None  # its columns are there
    x, y = places_in(true.wcs, places)
    radius = APERTURE / true.pixel_scale
    valid = made.valid & true.valid
    found, wanted = (
        aperture_fluxes(np.where(valid, image.data, np.nan), x, y, radius) for image in (made, true)
    )
    blue, red = (np.asarray(table[f"mag_{band}"], float) for band in source_bands)
    return _Sources(made.bands, found, wanted, blue, red, np.asarray(table["kind"]) == "star")


def _row(one: FluxBin, bands: tuple[str, ...]) -> dict[str, Any]:
    return {
        "from": one.low,
        "to": one.high,
        "sources": one.sources,
        "ratio": dict(zip(bands, one.ratio.tolist(), strict=True)),
        "error": {
            band: None if np.isnan(error) else float(error)
            for band, error in zip(bands, one.error, strict=True)
        },
    }


def _colours(one: FluxBin, bands: tuple[str, ...], largest: float) -> dict[str, Any]:
    magnitude: NDArray[np.float64] = -2.5 * np.log10(one.ratio)
    pairs = zip(bands[:-1], bands[1:], magnitude[:-1] - magnitude[1:], strict=True)
    return {
        "from": one.low,
        "to": min(one.high, float(largest)),
        "sources": one.sources,
        "error": {f"{blue}-{red}": float(error) for blue, red, error in pairs},
    }
