r"""Likelihoods in bits a number, and the plainest density that a model must beat.

    bits per dimension = − log p(x) / (d ln 2),        d numbers in x, log p in nats

x are *stretched* numbers y = stretch(f), as the networks see them, and so the bits are a stretched
number's. A density of fluxes differs by the change of variables log p_f(f) = log p_y(y) + Σ log
|dy/df|, the same for every model on one stretch: differences between models are the same in both,
their signs alone say nothing (a density may exceed 1, so bits may be negative).

The baseline takes every pixel for an independent draw from one normal distribution over bands,

    log p(x) = − ½ Σ_i [ (x_i − μ)ᵀ Σ⁻¹ (x_i − μ) + log det Σ + C log 2π ],     i over pixels

with μ (C,) and Σ (C, C) fitted to training pixels by maximum likelihood; *diagonal* keeps Σ's
diagonal alone. It knows nothing of the condition, of neighbours, or of tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ChannelGaussian", "PixelMoments", "bits_per_dimension"]

_FLOOR = 1e-12  # variance below which a band counts as constant: its density would be infinite


def bits_per_dimension(log_prob: Tensor, dimensions: int | Tensor) -> Tensor:
    """Nats log p(x), (B,), of so many numbers each, as bits a number, (B,)."""
    return -log_prob / (dimensions * math.log(2))


@dataclass(frozen=True)
class ChannelGaussian:
    """One normal distribution over bands for all pixels: mean (C,), covariance (C, C), float64."""

    mean: Tensor
    covariance: Tensor

    def diagonal(self) -> ChannelGaussian:
        """The same without correlations between bands."""
        return ChannelGaussian(self.mean, torch.diag(self.covariance.diagonal()))

    def log_prob(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """log p of the valid pixels of x (B, C, H, W), in nats, (B,) float64."""
        mean, covariance = self.mean.to(x.device), self.covariance.to(x.device)
        variances, axes = torch.linalg.eigh(covariance)
        variances = variances.clamp(min=_FLOOR)
        white = torch.einsum("bchw,cd->bdhw", x.double() - mean.view(-1, 1, 1), axes)
        cost = (white.square() / variances.view(-1, 1, 1)).sum(1, keepdim=True)
        cost = cost + variances.log().sum() + len(mean) * math.log(2 * math.pi)
        if valid is not None:
            cost = cost.where(valid.bool(), 0)
        return -0.5 * cost.sum((1, 2, 3))


class PixelMoments:
    """Mean and covariance over bands of all pixels seen, a batch at a time.

    Sums are about the first batch's mean, in float64, so that a large offset costs no digits.
    """

    def __init__(self) -> None:
        self.count = 0
        self._origin = self._sum = self._products = torch.zeros(0)

    def update(self, x: Tensor, valid: Tensor | None = None) -> None:
        """Take in the valid pixels of x (B, C, H, W)."""
        pixels = x.movedim(1, -1).double()
        pixels = pixels.flatten(0, 2) if valid is None else pixels[valid.bool()[:, 0]]
        if not len(pixels):
            return
        if not self.count:
            self._origin = pixels.mean(0)
            self._sum = torch.zeros_like(self._origin)
            self._products = self._sum.new_zeros(len(self._sum), len(self._sum))
        pixels = pixels - self._origin
        self.count += len(pixels)
        self._sum = self._sum + pixels.sum(0)
        self._products = self._products + pixels.mT @ pixels

    def gaussian(self) -> ChannelGaussian:
        """The normal distribution of greatest likelihood.

        Raises:
            ValueError: no pixel was seen.
        """
        if not self.count:
            raise ValueError("no valid pixel was seen")
        shift = self._sum / self.count
        covariance = self._products / self.count - torch.outer(shift, shift)
        return ChannelGaussian(self._origin + shift, covariance)
