"""Sources of one image: where they are, to a few hundredths of a pixel.

Detection filters the image I with a difference of Gaussians, D = G_σ * I − G_2σ * I, which knows
neither the sky level nor slow nebulosity, and keeps local maxima of D over its own local noise
(a clipped standard deviation in boxes). Missing pixels are left out of the Gaussians' means
(normalised convolution), so they neither create sources nor spread NaN.

Positions are windowed centroids (SExtractor's XWIN_IMAGE; Bertin & Arnouts 1996, A&AS 117, 393):

    p ← p + 2 Σ w(r−p) I(r) (r−p) / Σ w(r−p) I(r),    w(r) = exp(−r²/2σ²),

whose fixed point has nearly the noise of a fitted point-spread function.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from photutils.background import Background2D, StdBackgroundRMS
from photutils.detection import find_peaks
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.ndimage import gaussian_filter

__all__ = ["Sources", "centroid", "find_sources", "luminance"]

Floats = NDArray[np.float64]

WINDOW = 1.5  # σ of the filter and of the centroid's window, pixels: a well-sampled star
_BOX = 64  # side of the boxes of the noise map, pixels
_LOST = 2.5  # a centroid that walks further than this (in windows) has left its source
_ITERATIONS = 15
_FLOOR = (
    0.02  # least noise after the filter, in units of the unfiltered noise; white noise has 0.13
)


@dataclass(frozen=True)
class Sources:
    """Positions (N, 2) as x, y in pixels, first pixel's centre at 0; most significant first."""

    positions: Floats
    significance: Floats

    def __len__(self) -> int:
        return len(self.positions)


def luminance(data: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean of the bands, each in units of its own noise, and where it was measured.

    Bands that cover less than half of what the widest band covers are left out, so that a small
    band does not cut the area in which sources are looked for.

    Args:
        data: (C, H, W), NaN where not measured.

    Returns:
        (H, W), zero where not measured, and (H, W) bool.
    """
    finite = np.isfinite(data)
    cover = finite.sum(axis=(1, 2))
    used = np.flatnonzero((cover > 0) & (2 * cover >= cover.max()))
    mask = np.asarray(finite[used].all(axis=0)) & bool(len(used))
    total = np.zeros(data.shape[1:], np.float32)
    for band in used:
        sample = data[band][mask]
        sample = sample[sample != 0][::7]  # black frames of pictures are no sky
        if sample.size == 0:
            continue
        middle = np.median(sample)
        noise = 1.4826 * np.median(np.abs(sample - middle))
        if noise == 0:
            noise = float(np.std(sample)) or 1.0
        total += np.where(mask, (data[band] - middle) / np.float32(noise * len(used)), 0)
    return total, mask


def find_sources(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    threshold: float = 5.0,
    limit: int = 4000,
) -> Sources:
    """Compact sources of an image (H, W) where ``mask`` is True, at most ``limit``.

    Args:
        image: any unit; zero outside the mask.
        mask: True where measured.
        threshold: least significance of the filtered peak, in standard deviations.
        limit: the most significant are kept.
    """
    nothing = Sources(np.zeros((0, 2)), np.zeros(0))
    if not mask.any():
        return nothing
    weight = mask.astype(np.float32)
    narrow, _ = _smooth(image, weight, WINDOW)
    wide, cover = _smooth(image, weight, 2 * WINDOW)
    filtered = narrow - wide
    inner = cover > 0.95  # a window cut by a border has a biased centroid
    if not inner.any():
        return nothing
    noise = _noise(filtered, inner)
    if noise is None:
        return nothing
    significance = np.where(inner, filtered / noise, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)  # the caller counts them
        peaks = find_peaks(
            significance,
            threshold,
            box_size=5,
            mask=~inner,
            n_peaks=limit,
            border_width=int(3 * WINDOW),
        )
    if peaks is None or len(peaks) == 0:
        return nothing
    value = np.asarray(peaks["peak_value"], float)
    start = np.stack([np.asarray(peaks["x_peak"]), np.asarray(peaks["y_peak"])], axis=1)
    order = np.argsort(-value, kind="stable")
    positions, good = centroid(image, start[order].astype(float), WINDOW)
    return Sources(positions[good], value[order][good])


def centroid(
    image: NDArray[np.float32], start: Floats, sigma: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Windowed centroids of sources near ``start`` (N, 2), and which of them stayed there.

    The sky under each source is the median of the rim of its window.
    """
    height, width = image.shape
    reach = int(np.ceil(3 * sigma))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    rim = np.hypot(dx, dy) > 0.8 * reach
    anchor = np.rint(start).astype(int)
    inside = (anchor >= reach).all(1) & (anchor < np.array([width, height]) - reach).all(1)
    anchor = np.clip(anchor, 0, [width - 1, height - 1])
    x = np.clip(anchor[:, 0, None, None] + dx, 0, width - 1)
    y = np.clip(anchor[:, 1, None, None] + dy, 0, height - 1)
    stamp = image[y, x].astype(float)
    stamp -= np.median(stamp[:, rim], axis=1)[:, None, None]
    np.maximum(stamp, 0, out=stamp)
    position = start.astype(float).copy()
    for _ in range(_ITERATIONS):
        u = x - position[:, 0, None, None]
        v = y - position[:, 1, None, None]
        weighted = stamp * np.exp(-(u**2 + v**2) / (2 * sigma**2))
        total = weighted.sum(axis=(1, 2))
        moment = np.stack([(weighted * u).sum(axis=(1, 2)), (weighted * v).sum(axis=(1, 2))], 1)
        step = 2 * moment / np.where(total > 0, total, np.inf)[:, None]
        position += np.clip(step, -sigma, sigma)
        if np.abs(step).max(initial=0) < 1e-4:
            break
    walked = np.hypot(*(position - start).T)
    return position, inside & (total > 0) & (walked < _LOST * sigma)


def _smooth(
    image: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gaussian mean over measured pixels, and the measured share of the Gaussian."""
    if weight.all():
        return gaussian_filter(image, sigma), weight
    share = gaussian_filter(weight, sigma, mode="constant")
    # The frame's own border is no missing data: scale the share to what lies in the frame.
    frame = gaussian_filter(np.ones(image.shape[0], np.float32), sigma, mode="constant")[:, None]
    frame = frame * gaussian_filter(np.ones(image.shape[1], np.float32), sigma, mode="constant")
    mean = gaussian_filter(image * weight, sigma, mode="constant") / np.maximum(share, 1e-3)
    return mean, share / frame


def _noise(
    filtered: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.float32] | float | None:
    """Local noise of the filtered image (H, W); one number where boxes cannot be had."""
    box = tuple(min(_BOX, side) for side in filtered.shape)
    whole = float(1.4826 * np.median(np.abs(filtered[mask])))
    try:
        noise = Background2D(
            filtered,
            box,
            mask=~mask,
            exclude_percentile=90,
            filter_size=3,
            bkg_rms_estimator=StdBackgroundRMS(),
        ).background_rms
    except ValueError:  # every box is mostly masked
        return whole or None
    positive = noise[noise > 0]
    if positive.size == 0:
        return whole or float(np.std(filtered[mask])) or None
    # Black frames and flat sky must not turn compression noise into sources.
    return np.maximum(noise, max(0.3 * float(np.median(positive)), _FLOOR))
