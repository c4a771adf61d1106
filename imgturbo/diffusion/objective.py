r"""Denoising: what trains a diffusion model, in the place of the eight-term objective.

    L = E_{(z, x), t, ε} ‖N(z, x_t, t) − y‖²/d,      x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε,
    y = ε,   or   v = √ᾱ_t ε − √(1 − ᾱ_t) x₀,   or   x₀          (``prediction``)

with t uniform on 0 … T − 1 and ε ~ N(0, 1), both from torch's generator, and d numbers in x. The
mean is over the pixels that both sides measured, of the pairs of all processes; nothing under a
mask reaches the network either: z is 0 there, as in translation, and x_t pure noise.

Saharia et al. 2022 (arXiv:2111.05826), equation 1 with p = 2, for y = ε; Salimans & Ho 2022
(arXiv:2202.00512) for v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imgturbo.diffusion.decoder import DiffusionDecoder
from imgturbo.diffusion.schedule import build_scheduler
from imgturbo.losses import Ledger, Losses, Trainable

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["Denoising"]


class Denoising(Trainable):
    """A diffusion model and its loss.

    Args:
        decoder: the model.
    """

    decoder: DiffusionDecoder

    def __init__(self, decoder: DiffusionDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        self._scheduler = build_scheduler(decoder.config)

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step. With several processes a collective call."""
        valid = batch.z_valid & batch.x_valid & batch.paired.view(-1, *[1] * (batch.x.ndim - 1))
        z = torch.where(batch.z_valid, batch.z, 0.0)
        x_0 = torch.where(valid, self.decoder.normalised(batch.x), 0.0)
        t = torch.randint(self.decoder.config.steps, (len(z),), device=z.device)
        epsilon = torch.randn_like(x_0)
        # Its annotations ask for int32, which no index is by default.
        x_t = self._scheduler.add_noise(x_0, epsilon, t)  # type: ignore[arg-type]
        error = self.decoder.predict(z, x_t, t) - self._wanted(x_0, epsilon, t)
        ledger = Ledger()
        squares = torch.where(valid, error.square(), 0.0)
        ledger.add("denoising", "generator", 1.0, squares, valid.sum() * x_0.shape[1])
        return ledger.settle()

    def terms_by_pairs(self) -> dict[str, bool]:
        """Its one term compares with a truth."""
        return {"denoising": True}

    def _wanted(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """y, of the shape of ``x_0``."""
        prediction = self.decoder.config.prediction
        if prediction == "v_prediction":
            return self._scheduler.get_velocity(x_0, epsilon, t)  # type: ignore[arg-type]
        return epsilon if prediction == "epsilon" else x_0
