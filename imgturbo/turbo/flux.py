"""The distance of what telescopes count."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from imgturbo.turbo.entries import Total, count

__all__ = ["Flux"]

_LARGEST = 40.0  # of c |u|: a flux of 10¹⁷ softenings, whose square is finite in float32
_POWER = 0.75  # of 1 + f²: 0.5 are counts, 1 is a fixed relative error


class Flux:
    r"""Σ ½ (f − f̂)²/V(f), f = sinh(c u) the flux above the sky in units of the stretch's softening.

    Here u is the prediction, û the truth, and V(f) = (1 + f²)^¾ is held fixed: no gradient passes
    through it. That is a quasi-likelihood (Wedderburn 1974, Biometrika 61, 439): the variance is
    the sky's where it is dark and grows with the flux where it is bright, half-way between that of
    counts, |f|, and that of a fixed relative error, f². Its gradient is zero where f is the mean
    of f̂ given what the network sees, *whatever* V is; V only says which error weighs how much (by
    counts alone, the brightest stars rule; by relative errors, nobody cares for their cores).
    Distances of stretched values have another minimum: that of ℓ2 is the flux of the mean asinh
    magnitude, that of ℓ1 the median, and both lose light.

    Args:
        scale: c of every channel; 0 where the stretch is linear: there f = u and V = 1.
    """

    def __init__(self, scale: Sequence[float]) -> None:
        self._scale = tuple(map(float, scale))

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
        c = torch.tensor(self._scale, device=target.device).view(-1, *[1] * (target.ndim - 2))
        precise = torch.promote_types(target.dtype, torch.float32)
        kept = (torch.where(valid, u.to(precise), 0.0) for u in (prediction, target))
        flux, truth = (
            torch.where(c > 0, (c * u).clamp(-_LARGEST, _LARGEST).sinh(), u) for u in kept
        )
        seen = flux.detach()
        variance = torch.where(c > 0, (1 + seen.square()) ** _POWER, 1.0)
        cells = torch.where(valid, 0.5 * (flux - truth).square() / variance, 0.0)
        return Total(cells.flatten(1).sum(1), count(target, valid))
