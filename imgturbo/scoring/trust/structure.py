r"""Power and coherence by scale: is there as much structure as there should be, and is it this one?

On the sky's own scale (light over its noise, compressed by asinh so that no star rules), with the
azimuthal means P of :mod:`imgturbo.metrics.spectrum` and the truth's noise power N taken away,

    power ratio(k) = P_prediction / (P_truth − N),    γ(k) = Re C / √(P_prediction (P_truth − N)).

Scales at which the truth does not stand out from its noise have no figure. A large field is
measured in parts of at most 1536 pixels a side, and the powers are their means. The errors come
from these parts, or from quarters of a field that is one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.spectrum import Powers, by_scale, powers
from imgturbo.scoring.held import forget
from imgturbo.scoring.trust.scene import Scene

__all__ = ["structure"]

Window = tuple[slice, slice]

_LEAST = 64  # pixels a side of a quarter
_MOST = 1536  # pixels a side of a part
_SOFT = 3.0  # σ at which asinh leaves the linear


def structure(scene: Scene) -> dict[str, Any]:
    """Power ratio and coherence by scale, a band each.

    Returns:
        ``{"unit": "cycles/arcsec" or "cycles/pixel", "k": […], "bands": {band: {"power_ratio",
        "power_ratio_error", "coherence", "coherence_error"}}}``, lists with None where nothing
        stands out.
    """
    whole = _parts(scene.valid.shape)
    apart = whole if len(whole) > 1 else _quarters(scene)
    smallest = min(side.stop - side.start for side in (apart or whole)[0])
    bins = max(2, min(32, smallest // 4))
    powers_of = [_powers(scene, part, bins) for part in whole]
    k, *found = _figures(powers_of)
    if apart is not whole:
        powers_of = [_powers(scene, part, bins) for part in apart]
    parts = [_figures([part]) for part in powers_of]
    bands: dict[str, dict[str, list[float | None]]] = {band: {} for band in scene.bands}
    for place, name in enumerate(("power_ratio", "coherence")):
        each = np.stack([part[place + 1] for part in parts]) if parts else found[place][None]
        known = np.isfinite(each).all(0) & (len(parts) > 1)
        error = np.where(
            known, np.nan_to_num(each).std(0) / math.sqrt(max(len(parts) - 1, 1)), np.nan
        )
        for number, band in enumerate(scene.bands):
            bands[band][name] = _listed(found[place][number])
            bands[band][f"{name}_error"] = _listed(error[number])
    scale = scene.pixel_scale
    return {
        "unit": "cycles/arcsec" if scale else "cycles/pixel",
        "k": (k / scale if scale else k).tolist(),
        "bands": bands,
    }


def _parts(shape: tuple[int, ...], least: int = 1) -> list[Window]:
    """At least ``least`` parts a side, all of one size, so that their scales are the same."""
    number = [max(least, math.ceil(side / _MOST)) for side in shape]
    tall, wide = (side // n for side, n in zip(shape, number, strict=True))
    return [
        (slice(r * tall, (r + 1) * tall), slice(c * wide, (c + 1) * wide))
        for r in range(number[0])
        for c in range(number[1])
    ]


def _quarters(scene: Scene) -> list[Window]:
    return _parts(scene.valid.shape, 2) if min(scene.valid.shape) // 2 >= _LEAST else []


def _powers(scene: Scene, part: Window, bins: int) -> list[Powers]:
    """Of each band of a part of the field."""
    valid = torch.from_numpy(np.ascontiguousarray(scene.valid[part]))[None, None]
    bands = []
    for k, noise in enumerate(scene.noise):
        light = (scene.light[role][k][part].astype(np.float64) for role in ("prediction", "truth"))
        made, true = (
            torch.from_numpy(np.nan_to_num(np.arcsinh(one / (_SOFT * noise))))[None, None]
            for one in light
        )
        bands.append(powers(made, true, valid, bins))
    forget()
    return bands


def _figures(parts: list[list[Powers]]) -> tuple[NDArray[np.float64], ...]:
    """k in cycles a pixel (K,), power ratio (C, K), coherence (C, K)."""
    found = [by_scale(band) for band in zip(*parts, strict=True)]
    ratio, coherence = (
        np.stack([of[0, 0].numpy() for of in column])
        for column in list(zip(*found, strict=True))[1:]
    )
    return found[0].k.numpy(), ratio, coherence


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
