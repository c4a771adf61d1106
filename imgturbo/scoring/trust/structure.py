r"""Power and coherence by scale: is there as much structure as there should be, and is it this one?

On the sky's own scale (light over its noise, compressed by asinh so that no star rules), with the
azimuthal means P of :mod:`imgturbo.metrics.spectrum` and the truth's noise power N taken away,

    power ratio(k) = P_prediction / (P_truth − N),    γ(k) = Re C / √(P_prediction (P_truth − N)).

Scales at which the truth does not stand out from its noise have no figure. The errors come from
quarters of the field.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.spectrum import spectrum_by_scale
from imgturbo.scoring.trust.scene import Scene

__all__ = ["structure"]

_LEAST = 64  # pixels a side of a quarter
_SOFT = 3.0  # σ at which asinh leaves the linear


def structure(scene: Scene) -> dict[str, Any]:
    """Power ratio and coherence by scale, a band each.

    Returns:
        ``{"unit": "cycles/arcsec" or "cycles/pixel", "k": […], "bands": {band: {"power_ratio",
        "power_ratio_error", "coherence", "coherence_error"}}}``, lists with None where nothing
        stands out.
    """
    parts = [_scores(scene, part) for part in _quarters(scene)]
    k, *whole = _scores(scene, (slice(None), slice(None)))
    bands: dict[str, dict[str, list[float | None]]] = {band: {} for band in scene.bands}
    for place, name in enumerate(("power_ratio", "coherence")):
        each = np.stack([part[place + 1] for part in parts]) if parts else whole[place][None]
        known = np.isfinite(each).all(0) & (len(parts) > 1)
        error = np.where(
            known, np.nan_to_num(each).std(0) / math.sqrt(max(len(parts) - 1, 1)), np.nan
        )
        for number, band in enumerate(scene.bands):
            bands[band][name] = _listed(whole[place][number])
            bands[band][f"{name}_error"] = _listed(error[number])
    scale = scene.pixel_scale
    return {
        "unit": "cycles/arcsec" if scale else "cycles/pixel",
        "k": (k / scale if scale else k).tolist(),
        "bands": bands,
    }


def _quarters(scene: Scene) -> list[tuple[slice, slice]]:
    height, width = (side // 2 for side in scene.valid.shape)
    if min(height, width) < _LEAST:
        return []
    # All of one size, so that their scales are the same.
    return [(slice(r, r + height), slice(c, c + width)) for r in (0, height) for c in (0, width)]


def _scores(scene: Scene, part: tuple[slice, slice]) -> tuple[NDArray[np.float64], ...]:
    """k in cycles a pixel (K,), power ratio (C, K), coherence (C, K)."""
    valid = torch.from_numpy(np.ascontiguousarray(scene.valid[part]))[None, None]
    images = []
    for role in ("prediction", "truth"):
        y = np.arcsinh(scene.light[role][:, *part] / (_SOFT * scene.noise[:, None, None]))
        images.append(torch.from_numpy(np.nan_to_num(y))[None])
    bins = max(2, min(32, _smallest(scene) // 4))
    found = spectrum_by_scale(images[0], images[1], valid, bins)
    return found.k.numpy(), found.ratio[0].numpy(), found.coherence[0].numpy()


def _smallest(scene: Scene) -> int:
    side = min(scene.valid.shape)
    return side // 2 if side // 2 >= _LEAST else side


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
