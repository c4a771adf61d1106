"""Are the sources there, and only those? Detected in the prediction, matched to the truth's.

Both images, of one luminance, go through the same finder: a local background b is subtracted
(σ-clipped boxes, smoothed), the rest is filtered by a Gaussian g of the width of a well-sampled
star, connected pixels above one threshold are sources, and blended ones are taken apart. A source
stands where it is brightest: the centroid of all its pixels is drawn away by its neighbours. What
is long, much fainter than a source nearby and points at it is a spike of that source, and none
itself. The threshold is t = 5 σ with σ the noise of the *target* after the filter, for both images
alike: a threshold from the prediction's own noise would reward a network for smoothing noise away.

    precision = m / N_prediction,   recall (completeness) = m / N_target,
    F1 = 2m / (N_prediction + N_target)

with m the number of pairs that are each other's nearest and at most 2 pixels apart.
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
from scipy.ndimage import label, maximum, maximum_position
from scipy.spatial import KDTree

__all__ = [
    "RADIUS",
    "SIGNIFICANCE",
    "Detection",
    "compare_sources",
    "count_peaks",
    "filtered",
    "find_sources",
    "local_background",
    "mutual",
    "sky_noise",
    "sources_above",
]

Array = NDArray[np.float32]
Positions = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIGNIFICANCE = 5.0  # threshold, in σ of the filtered target
RADIUS = 2.0  # pixels within which two centroids are one source
_BOX = 48  # pixels, side of the boxes of the background: wider than most galaxies
_FWHM = 2.5  # pixels, of the filter
_AREA = 5  # connected pixels that make a source
_PEAK = 3  # connected pixels that no noise of a pixel makes
_CONTRAST = 0.005  # of a blend's flux, which a part must have to be a source
_SPIKE_REACH = 100  # pixels from a star's centre to the middle of a piece of its spikes
_SPIKE_LENGTH = 1.7  # times as long as wide
_SPIKE_ANGLE = 12.0  # degrees between its long axis and the direction of the star
_SPIKE_FAINT = 1 / 30  # of the star's peak, at most; asinh of a very bright star: see _BURNT
_BURNT = (1.2, 0.4)  # above this peak a stretched star is compressed, and this share will do


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
    true, threshold = find_sources(target, valid)
    found, _ = find_sources(pred, valid, threshold)
    matched = len(mutual(found, true))
    return Detection(
        precision=_ratio(matched, len(found)),
        recall=_ratio(matched, len(true)),
        f1=_ratio(2 * matched, len(found) + len(true)),
        matched=matched,
        predicted=len(found),
        true=len(true),
        threshold=threshold,
    )


def find_sources(
    image: Array, valid: Mask, threshold: float | None = None
) -> tuple[Positions, float]:
    """Places (N, 2) of the sources of an image (H, W), as x and y, and the threshold.

    Args:
        image: fluxes or stretched values; what is not ``valid`` (H, W) takes no part.
        valid: at least one pixel.
        threshold: of the filtered image; None: 5 σ of its own noise.
    """
    smooth = filtered(image, valid)
    if threshold is None:
        threshold = SIGNIFICANCE * sky_noise(smooth[valid])
    return sources_above(smooth, threshold, valid), threshold


def count_peaks(image: Array, sigma: float, valid: Mask | None = None) -> int:
    """How many groups of three or more connected pixels of (H, W) lie above 5 ``sigma``.

    The null test of a translator: of the prediction from noise alone, with σ the noise of a pixel
    of the *target*, each is a source that was made up.
    """
    above = image > SIGNIFICANCE * sigma
    if valid is not None:
        above &= valid
    groups, _ = label(above, np.ones((3, 3)))
    return int(np.sum(np.bincount(groups.ravel())[1:] >= _PEAK))


def filtered(image: Array, valid: Mask) -> NDArray[np.float64]:
    """What sources are looked for in: (H, W) less its local background, and filtered.

    What is not ``valid`` takes no part and is 0.
    """
    known = np.where(valid, image, 0).astype(np.float64)
    background = local_background(known, valid, _BOX, 80.0)
    kernel = Gaussian2DKernel(_FWHM * gaussian_fwhm_to_sigma)
    kernel.normalize()
    less = np.where(valid, known - background, np.nan)
    smooth = convolve_fft(less, kernel, boundary="fill", fill_value=0, allow_huge=True)
    return np.where(valid, np.nan_to_num(smooth), 0)


def local_background(
    image: NDArray[np.float64], valid: Mask, box: int, exclude: float
) -> NDArray[np.float64]:
    """The level of the sky around each pixel of (H, W), sources clipped.

    Args:
        image: finite everywhere.
        valid: where it counts.
        box: pixels a side of the boxes that have a level each.
        exclude: percent of a box that may be invalid. Where none is as whole as that, the level
            is one, the median of all that is valid.
    """
    try:
        found = Background2D(
            image,
            tuple(min(box, side) for side in image.shape),
            coverage_mask=~valid,
            exclude_percentile=exclude,
            sigma_clip=SigmaClip(sigma=3.0, maxiters=10),
        )
    except ValueError:
        return np.full(image.shape, np.median(image[valid]))
    return np.asarray(found.background, np.float64)


def sky_noise(values: NDArray[np.float64]) -> float:
    """Robust σ of what is left when sources are clipped, from the median downward.

    Sources only add light, so the lower half of the values is noise alone. Of no values it is 0.
    """
    if not values.size:
        return 0.0
    median = np.median(values)
    below = median - values[values <= median]
    return float(np.quantile(below, 0.6827)) if below.size else 0.0


def sources_above(smooth: NDArray[np.float64], threshold: float, valid: Mask) -> Positions:
    """Places (N, 2), as x and y, of the sources of what :func:`filtered` gives."""
    # A noiseless image has sources too, wherever it is above its background.
    threshold = max(threshold, float(np.finfo(np.float32).eps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        # Of a source without contrast photutils takes another spacing of levels, and says so.
        warnings.filterwarnings("ignore", "The deblending mode of one or more source labels")
        segments = detect_sources(smooth, threshold, _AREA, mask=~valid)
        if segments is None:
            return np.zeros((0, 2))
        segments = deblend_sources(smooth, segments, _AREA, contrast=_CONTRAST, progress_bar=False)
    table = SourceCatalog(smooth, segments)
    brightest = maximum_position(smooth, segments.data, segments.labels)
    places = np.array(brightest, np.float64)[:, ::-1]
    spikes = _spikes(
        places,
        np.asarray(maximum(smooth, segments.data, segments.labels), np.float64),
        np.atleast_1d(table.elongation.value),
        np.atleast_1d(table.orientation.value),
    )
    return _refined(smooth, places[~spikes])


def _spikes(places: Positions, peak: Positions, elongation: Positions, angle: Positions) -> Mask:
    """Which of the sources are pieces of a brighter one's diffraction spikes (N,)."""
    pairs = KDTree(places).query_pairs(_SPIKE_REACH, output_type="ndarray")
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    piece, star = pairs.T
    faint = peak[piece] < _SPIKE_FAINT * peak[star]
    faint |= (peak[star] > _BURNT[0]) & (peak[piece] < _BURNT[1] * peak[star])
    step = places[star] - places[piece]
    direction = np.degrees(np.arctan2(step[:, 1], step[:, 0]))
    turned = np.abs((direction - angle[piece] + 90) % 180 - 90)
    points = faint & (elongation[piece] > _SPIKE_LENGTH) & (turned < _SPIKE_ANGLE)
    found = np.zeros(len(places), bool)
    found[piece[points]] = True
    return found


def _refined(smooth: NDArray[np.float64], places: Positions) -> Positions:
    """Brightest pixels (N, 2), moved to the centroid of the 3 × 3 pixels about them."""
    padded = np.pad(np.maximum(smooth, 0), 1)
    x, y = places.T.astype(int)
    offsets = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    light = np.stack([padded[y + 1 + dy, x + 1 + dx] for dx, dy in offsets])
    light = light - light.min(0)  # what the pixels share draws to the middle
    moved = (light[:, :, None] * np.array(offsets)[:, None, :]).sum(0)
    return places + moved / np.maximum(light.sum(0), 1e-30)[:, None]


def mutual(a: Positions, b: Positions, radius: float = RADIUS) -> NDArray[np.int64]:
    """Pairs (M, 2) of rows of ``a`` and ``b``, each other's nearest and within ``radius``."""
    if not len(a) or not len(b):
        return np.zeros((0, 2), np.int64)
    distance, nearest_b = KDTree(b).query(a)
    _, nearest_a = KDTree(a).query(b)
    chosen = np.flatnonzero((nearest_a[nearest_b] == np.arange(len(a))) & (distance <= radius))
    return np.column_stack([chosen, nearest_b[chosen]]).astype(np.int64)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
