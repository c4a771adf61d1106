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
from imgturbo.scoring.trust.scene import Scene

__all__ = ["brought_back"]

Array = NDArray[np.float64]

_MEDIAN = 0.4549  # of χ² of one degree of freedom
_WIDTHS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # pixels


def brought_back(scene: Scene, back: NDArray[np.floating] | None) -> tuple[dict[str, Any], Array]:
    """χ² of the source image given the prediction, and its map.

    Args:
        scene: with a source.
        back: (C', H, W), the prediction brought back by the bundle, in the source's unit and bands;
            None: by the fitted camera.

    Returns:
        ``{"by": "encoder" or "camera", "bands": {band: {"chi2", "chi2_typical", "correlation",
        "blur"}}}``, and (s − ŝ)/σ_s (C', H, W), NaN where not valid.
    """
    source = scene.images["source"]
    valid, maps, bands = scene.valid, [], {}
    for k, band in enumerate(source.bands):
        seen = scene.light["source"][k]
        sigma = max(sky_noise(seen[valid]), float(np.finfo(np.float32).tiny))
        blur = None
        if back is None:
            expected, blur = _camera(scene, seen)
        else:
            expected = back[k] - np.median(back[k][valid])
        apart = np.where(valid, (seen - expected) / sigma, np.nan)
        maps.append(apart)
        bands[band] = {
            "chi2": float(np.nanmean(apart**2)),
            "chi2_typical": float(np.nanmedian(apart**2) / _MEDIAN),
            "correlation": _correlation(seen[valid], expected[valid]),
            "blur": blur,
        }
    return {"by": "camera" if back is None else "encoder", "bands": bands}, np.stack(maps)


def _correlation(a: Array, b: Array) -> float | None:
    """Pearson's, of values (n,); None where one of them does not vary."""
    if len(a) < 2 or not a.std() or not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _camera(scene: Scene, seen: Array) -> tuple[Array, float]:
    """What the fitted camera sees (H, W), and its blur in pixels."""
    valid = scene.valid
    light = np.nan_to_num(scene.light["prediction"])
    best: tuple[float, Array, float] | None = None
    for width in _WIDTHS:
        blurred = np.stack([gaussian_filter(plane, width) if width else plane for plane in light])
        design = np.column_stack([*blurred[:, valid], np.ones(int(valid.sum()))])
        gram, moment = design.T @ design, design.T @ seen[valid]
        weights = np.linalg.lstsq(gram, moment, rcond=1e-12)[0]
        expected = np.tensordot(weights[:-1], blurred, axes=1) + weights[-1]
        misfit = float(np.square(seen - expected)[valid].mean())
        if best is None or misfit < best[0]:
            best = misfit, expected, width
    assert best is not None
    return best[1], best[2]
