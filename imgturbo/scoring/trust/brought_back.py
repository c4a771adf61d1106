r"""The prediction brought back to the source image: does it contradict what was seen?

By the bundle's own way back (an encoder x → z̃) where it has one; else by a camera: the source band
s is fitted by

    s ≈ Σ_b w_b (g_σ ∗ x_b) + c,

the predicted bands blurred by a Gaussian of the width σ that fits best, with weights of bands and a
level by least squares: what a broader telescope would see of it in a band in between. With the
noise σ_s of a pixel of the source,

    χ² = mean ((s − ŝ)/σ_s)²,

1 where the difference is noise alone; the typical one is by the median, which bright cores do not
rule. Sources that were invented and sources that were dropped stand out in the map of (s − ŝ)/σ_s.
The camera has few numbers, and where a band of the source lies outside those of the prediction no
camera can tell: the map is then of colours, and this is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from imgturbo.metrics.detection import sky_noise
from imgturbo.scoring.held import Piece, held, pieces, sampled
from imgturbo.scoring.trust.scene import Scene

__all__ = ["brought_back"]

Array = NDArray[np.float64]

_MEDIAN = 0.4549  # of χ² of one degree of freedom
_WIDTHS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # pixels
_HALO = 16  # pixels: four of the widest


def brought_back(
    scene: Scene, back: NDArray[np.floating] | None
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """χ² of the source image given the prediction, and its map.

    Args:
        scene: with a source.
        back: (C', H, W), the prediction brought back by the bundle, in the source's unit and bands;
            None: by the fitted camera.

    Returns:
        ``{"by": "encoder" or "camera", "bands": {band: {"chi2", "chi2_typical", "correlation",
        "blur"}}}``, and (s − ŝ)/σ_s (C', H, W), NaN where not valid.
    """
    source, valid = scene.images["source"], scene.valid
    maps, bands = held(scene.light["source"].shape), {}
    pixels = sampled(scene.light["source"], valid)
    levels = None if back is None else np.median(sampled(back, valid), 1)
    for k, band in enumerate(source.bands):
        sigma = max(sky_noise(pixels[k]), float(np.finfo(np.float32).tiny))
        blur, weights = (0.0, None) if levels is not None else _camera(scene, k)
        sums = np.zeros(6)
        for piece in pieces(valid.shape, _HALO):
            known = valid[piece.core]
            seen = scene.light["source"][k][piece.core].astype(np.float64)
            if weights is None:
                assert back is not None
                assert levels is not None
                expected = back[k][piece.core] - levels[k]
            else:
                expected = _seen_by(scene, piece, blur, weights)
            apart = np.where(known, (seen - expected) / sigma, np.nan)
            maps[k][piece.core] = apart
            sums += _moments(seen[known], expected[known], apart[known])
        typical = np.median(sampled(maps[k : k + 1], valid) ** 2)
        bands[band] = {
            "chi2": float(sums[5] / valid.sum()),
            "chi2_typical": float(typical / _MEDIAN),
            "correlation": _correlation(int(valid.sum()), sums),
            "blur": None if weights is None else blur,
        }
    return {"by": "camera" if back is None else "encoder", "bands": bands}, maps


def _moments(seen: Array, expected: Array, apart: Array) -> Array:
    """Sums of a, b, a², b², a b and of χ²."""
    a, b = seen, expected
    return np.array([a.sum(), b.sum(), a @ a, b @ b, a @ b, apart @ apart])


def _correlation(n: int, sums: Array) -> float | None:
    """Pearson's; None where one of them does not vary."""
    a, b, aa, bb, ab, _ = sums / n
    variances = aa - a * a, bb - b * b
    least = [1e-12 * of for of in (aa, bb)]  # what rounding leaves of a constant
    if n < 2 or variances[0] <= least[0] or variances[1] <= least[1]:
        return None
    return float((ab - a * b) / np.sqrt(variances[0] * variances[1]))


def _camera(scene: Scene, band: int) -> tuple[float, Array]:
    """The fitted camera of a band of the source: its blur in pixels, weights and level."""
    numbers = len(scene.bands) + 1
    grams, moments = np.zeros((len(_WIDTHS), numbers, numbers)), np.zeros((len(_WIDTHS), numbers))
    for piece in pieces(scene.valid.shape, _HALO):
        known = scene.valid[piece.core]
        seen = scene.light["source"][band][piece.core][known].astype(np.float64)
        light = _predicted(scene, piece)
        for number, width in enumerate(_WIDTHS):
            blurred = _blurred(light, piece, width)[:, known]
            design = np.concatenate([blurred, np.ones((1, len(seen)))])
            grams[number] += design @ design.T
            moments[number] += design @ seen
    fits: list[Any] = [
        np.linalg.lstsq(gram, moment, rcond=1e-12)[0]
        for gram, moment in zip(grams, moments, strict=True)
    ]
    # Σ (s − w·d)² less Σ s², which all widths have in common.
    misfits = [
        weights @ gram @ weights - 2 * weights @ moment
        for weights, gram, moment in zip(fits, grams, moments, strict=True)
    ]
    best = int(np.argmin(misfits))
    return _WIDTHS[best], fits[best]


def _predicted(scene: Scene, piece: Piece) -> Array:
    return np.nan_to_num(scene.light["prediction"][:, *piece.wide].astype(np.float64))


def _blurred(light: Array, piece: Piece, width: float) -> Array:
    planes = [gaussian_filter(plane, width) if width else plane for plane in light]
    return np.stack(planes)[:, *piece.inner]


def _seen_by(scene: Scene, piece: Piece, blur: float, weights: Array) -> Array:
    """What the fitted camera sees of a piece."""
    blurred = _blurred(_predicted(scene, piece), piece, blur)
    return np.asarray(np.tensordot(weights[:-1], blurred, axes=1) + weights[-1])
