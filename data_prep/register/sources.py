"""Sources of one image: where they are, to a few hundredths of a pixel.

Detection filters the image I with a difference of Gaussians, D = G_σ * I − G_2σ * I, which knows
neither the sky level nor slow nebulosity, and keeps local maxima of D over its own local noise
(a clipped standard deviation in boxes). Missing pixels are left out of the Gaussians' means
(normalised convolution), so they neither create sources nor spread NaN.

Positions are windowed centroids (SExtractor's XWIN_IMAGE; Bertin & Arnouts 1996, A&AS 117, 393):

    p ← p + 2 Σ w(r−p) I(r) (r−p) / Σ w(r−p) I(r),    w(r) = exp(−r²/2σ²),

whose fixed point has nearly the noise of a fitted point-spread function. With F = Σ w I and v the
variance of w I along an axis, the sum Σ w I (r−p) answers a step δ of the source by F (1 − v/σ²) δ;
so noise of that sum, s_M, displaces the centroid by

    s = s_M / (F (1 − v/σ²)),

and s_M is measured on the sky between the sources, where correlated noise counts as it is.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from photutils.background import Background2D, StdBackgroundRMS
from photutils.detection import find_peaks
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.ndimage import gaussian_filter

__all__ = ["WINDOW", "Sources", "bands_passed", "centroid", "find_sources", "luminance", "measure"]

Floats = NDArray[np.float64]

WINDOW = 1.5  # σ of the filter and of the centroid's window, pixels: a well-sampled star
_BOX = 64  # side of the boxes of the noise map, pixels
_LOST = 2.5  # a centroid that walks further than this (in windows) has left its source
_ITERATIONS = 15
_QUIET = 2.0  # significance below which there is sky
_SAMPLE = 100  # pixels of sky that noise is measured on
_STIFF = 0.5  # least response of a window to a step: that of a star as wide as the window
_FLOOR = (
    0.02  # least noise after the filter, in units of the unfiltered noise; white noise has 0.13
)


@dataclass(frozen=True)
class Sources:
    """Sources of an image, most significant first.

    Attributes:
        positions: (N, 2) x, y in pixels, the first pixel's centre at 0.
        significance: (N,) of the filtered peak, in standard deviations.
        noise: (N,) standard deviation of a position along an axis, pixels, from the sky's noise.
        sky: (N,) noise of the sky there, over its median.
        quiet: (H, W) True where sky was measured and shows no source.
    """

    positions: Floats
    significance: Floats
    noise: Floats
    sky: Floats
    quiet: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: NDArray[Any]) -> Sources:
        return Sources(
            self.positions[rows],
            self.significance[rows],
            self.noise[rows],
            self.sky[rows],
            self.quiet,
        )


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
    used = np.flatnonzero(2 * cover >= cover.max())
    mask = np.asarray(finite[used].all(axis=0))
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
    nothing = Sources(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0), mask)
    if not mask.any():
        return nothing
    filtered, inner = bands_passed(image, mask)
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
    order = np.argsort(-value, kind="stable")
    x, y = (np.asarray(peaks[name])[order] for name in ("x_peak", "y_peak"))
    sky = np.ones(len(x))
    if not isinstance(noise, float):
        sky = np.asarray(noise[y, x] / np.median(noise[inner]), float)
    start = np.stack([x, y], axis=1).astype(float)
    quiet = inner & (significance < _QUIET)
    return measure(image, Sources(start, value[order], np.zeros(len(x)), sky, quiet), WINDOW)


def bands_passed(
    image: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The difference of Gaussians D of an image (H, W), and where no hole or border cuts it."""
    weight = mask.astype(np.float32)
    narrow, _ = _smooth(image, weight, WINDOW)
    wide, cover = _smooth(image, weight, 2 * WINDOW)
    return narrow - wide, cover > 0.95  # a window cut by a border has a biased centroid


def measure(image: NDArray[np.float32], sources: Sources, sigma: float) -> Sources:
    """The sources of an image (H, W) that have a centroid in a window of ``sigma`` pixels."""
    positions, response, good = centroid(image, sources.positions, sigma)
    moment = gaussian_filter(image, sigma, order=(0, 1)) * (2 * np.pi * sigma**4)
    sample = moment[sources.quiet]
    if sample.size < _SAMPLE:
        sample = moment.ravel()
    spread = 1.4826 * float(np.median(np.abs(sample - np.median(sample))))
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = spread * sources.sky / response
    return replace(sources, positions=positions, noise=noise)[good]


def centroid(
    image: NDArray[np.float32], start: Floats, sigma: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Windowed centroids of sources near ``start`` (N, 2).

    The sky under each source is the median of the rim of its window.

    Returns:
        positions (N, 2); what the weighted sum answers a step of one pixel with, (N,); and which
        sources stayed near their start, (N,).
    """
    height, width = image.shape
    reach = int(np.ceil(3 * sigma))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    rim = np.hypot(dx, dy) > 0.8 * reach
    anchor = np.rint(start).astype(int)
    inside = (anchor >= reach).all(1) & (anchor < np.array([width, height]) - reach).all(1)
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
    square = (weighted * (u**2 + v**2)).sum(axis=(1, 2)) / np.where(total > 0, total, np.inf)
    # A faint source's own second moment is mostly noise, so it is not believed beyond a star's.
    response = total * np.clip(1 - square / (2 * sigma**2), _STIFF, 1)
    walked = np.hypot(*(position - start).T)
    return position, response, inside & (total > 0) & (walked < _LOST * sigma)


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
