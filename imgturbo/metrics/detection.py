"""Are the sources there, and only those? Detected in the prediction, matched to the truth's.

Both images, of one luminance, go through the same finder: a local background b is subtracted
(σ-clipped boxes, smoothed), the rest is filtered by a Gaussian g of the width of a well-sampled
star, connected pixels above one threshold are sources, and blended ones are taken apart. The
threshold is t = 5 σ with σ the noise of the *target* after the filter, for both images alike: a
threshold from the prediction's own noise would reward a network for smoothing noise away.

    precision = m / N_prediction,   recall (completeness) = m / N_target,
    F1 = 2m / (N_prediction + N_target)

with m the number of pairs that are each other's nearest and at most 2 pixels apart (centroids).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.stats import SigmaClip, gaussian_fwhm_to_sigma
from numpy.typing import NDArray
from photutils.background import Background2D
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.spatial import KDTree

__all__ = ["RADIUS", "SIGNIFICANCE", "Detection", "compare_sources"]

Array = NDArray[np.float32]
Positions = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIGNIFICANCE = 5.0  # threshold, in σ of the filtered target
RADIUS = 2.0  # pixels within which two centroids are one source
_BOX = 48  # pixels, side of the boxes of the background: wider than most galaxies
_FWHM = 2.5  # pixels, of the filter
_AREA = 5  # connected pixels that make a source
_CONTRAST = 0.01  # of a blend's flux, which a part must have to be a source


class Detection(NamedTuple):
    """What was found where; ratios are NaN where their denominator is 0."""

    precision: float
    recall: float
    f1: float
    matched: int
    predicted: int
    true: int
    threshold: float


def compare_sources(pred: Array, target: Array, valid: Mask | None = None) -> Detection:
    """Detect in both images (H, W), of one unit, and match; pixels outside ``valid`` do not count.

    An image below three pixels a side, or without a valid pixel, has no sources.
    """
    valid = np.ones(target.shape, bool) if valid is None else valid
    if not valid.any() or min(target.shape) < 3:
        return Detection(np.nan, np.nan, np.nan, 0, 0, 0, np.nan)
    smooth_target, smooth_pred = _filtered(target, valid), _filtered(pred, valid)
    threshold = SIGNIFICANCE * _noise(smooth_target[valid])
    true, found = (_sources(u, threshold, valid) for u in (smooth_target, smooth_pred))
    matched = _pairs(found, true)
    return Detection(
        precision=_ratio(matched, len(found)),
        recall=_ratio(matched, len(true)),
        f1=_ratio(2 * matched, len(found) + len(true)),
        matched=matched,
        predicted=len(found),
        true=len(true),
        threshold=threshold,
    )


def _filtered(image: Array, valid: Mask) -> NDArray[np.float64]:
    """Less its local background, and filtered; what is not valid takes no part and is 0."""
    image = np.where(valid, image, 0).astype(np.float64)
    background = Background2D(
        image,
        tuple(min(_BOX, side) for side in image.shape),
        coverage_mask=~valid,
        exclude_percentile=80.0,
        sigma_clip=SigmaClip(sigma=3.0, maxiters=10),
    )
    kernel = Gaussian2DKernel(_FWHM * gaussian_fwhm_to_sigma)
    kernel.normalize()
    less = np.where(valid, image - background.background, np.nan)
    smooth = convolve_fft(less, kernel, boundary="fill", fill_value=0, allow_huge=True)
    return np.where(valid, np.nan_to_num(smooth), 0)


def _noise(values: NDArray[np.float64]) -> float:
    """Robust σ of what is left when sources are clipped, from the median downward.

    Sources only add light, so the lower half of the values is noise alone.
    """
    median = np.median(values)
    below = median - values[values <= median]
    return float(np.quantile(below, 0.6827)) if below.size else 0.0


def _sources(smooth: NDArray[np.float64], threshold: float, valid: Mask) -> Positions:
    """Centroids (N, 2) as x, y."""
    # A noiseless image has sources too, wherever it is above its background.
    threshold = max(threshold, float(np.finfo(np.float32).eps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = detect_sources(smooth, threshold, _AREA, mask=~valid)
        if segments is None:
            return np.zeros((0, 2))
        segments = deblend_sources(smooth, segments, _AREA, contrast=_CONTRAST, progress_bar=False)
    return np.atleast_2d(SourceCatalog(smooth, segments).centroid)


def _pairs(a: Positions, b: Positions) -> int:
    """How many of ``a`` and ``b`` are each other's nearest, within the radius."""
    if not len(a) or not len(b):
        return 0
    distance, nearest_b = KDTree(b).query(a)
    _, nearest_a = KDTree(a).query(b)
    mutual = nearest_a[nearest_b] == np.arange(len(a))
    return int(np.sum(mutual & (distance <= RADIUS)))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
