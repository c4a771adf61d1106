"""Is the light right? Fluxes of known sources, in bins of what the input shows of them.

The flux of a source is the sum over a circle about it, in prediction and noiseless truth alike, so
that neighbours and what the circle misses are the same in both. In each bin

    R = Σ F_prediction / Σ F_truth,

with the standard error that the scatter of the sources gives it. Bins must be of what the *input*
shows (its magnitudes, its colours). A prediction is at best the mean of what the truth may be given
the input, and that mean is unbiased in every such bin, R = 1; in bins of the truth itself it is
pulled towards the mean of all, however good it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from photutils.aperture import CircularAperture

__all__ = ["FluxBin", "aperture_fluxes", "flux_bins"]

Array = NDArray[np.float64]


class FluxBin(NamedTuple):
    """One bin: its edges, how many sources, and for every band R and its standard error (C,)."""

    low: float
    high: float
    sources: int
    ratio: Array
    error: Array


def aperture_fluxes(image: NDArray[np.floating], x: Array, y: Array, radius: float) -> Array:
    """Sums (N, C) over circles of ``radius`` pixels about (x, y), of an image (C, H, W).

    NaN where a circle leaves the image or holds a pixel that is NaN.
    """
    if not len(x):
        return np.zeros((0, len(image)))
    height, width = image.shape[-2:]
    circles = CircularAperture(np.column_stack([x, y]), radius)
    sums = np.column_stack([circles.do_photometry(plane)[0] for plane in image])
    edge = radius - 0.5
    inside = (x >= edge) & (x <= width - 1 - edge) & (y >= edge) & (y <= height - 1 - edge)
    return np.where(inside[:, None], sums, np.nan)


def flux_bins(prediction: Array, truth: Array, of: Array, edges: Sequence[float]) -> list[FluxBin]:
    """R in bins of ``of`` (N,), of fluxes (N, C); sources without a flux in all bands are left out.

    A bin is closed below and open above; one without sources is left out.
    """
    measured = np.isfinite(prediction).all(1) & np.isfinite(truth).all(1)
    bins = []
    for low, high in pairwise(edges):
        chosen = measured & (of >= low) & (of < high)
        if not chosen.any():
            continue
        found, true = prediction[chosen], truth[chosen]
        ratio = found.sum(0) / true.sum(0)
        # Of a ratio of sums, to first order: the scatter of F − R F_truth about zero.
        number = len(found)
        spread = np.square(found - ratio * true).sum(0) * number / max(number - 1, 1)
        error = np.sqrt(spread) / np.abs(true.sum(0)) if number > 1 else np.full(len(ratio), np.nan)
        bins.append(FluxBin(float(low), float(high), number, ratio, error))
    return bins
