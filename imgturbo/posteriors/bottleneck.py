r"""The information bottleneck's loss of a latent-mixture network with classes.

With w = f(x + ση), centres μ_y, class weights v_y = log softmax φ, D numbers in x:

    L_x = [ −logsumexp_y( −½‖w − μ_y‖² + v_y ) − log|det ∂f/∂x| ] / D
    L_y = Σ_y s_y [ logsoftmax_y( −½‖w − μ_y‖² + sg v ) − sg v_y ]
    L   = 2/(1 + β) L_x − 2β/(1 + β) L_y

s is the label, smoothed: 1 − a + a/K on the row's class and a/K on others. β → 0 learns the
targets alone, β → ∞ a classifier. The noise σ (``objective.noise``) is part of the bottleneck: the
information about x that w keeps is infinite without it.

Ardizzone et al. 2020, *Training Normalizing Flows with the Information Bottleneck for Competitive
Generative Classification* (arXiv:2001.06448), equations 12–14, as the authors' code has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config.posteriors import BottleneckTermsConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.objective import Likelihood
from imgturbo.losses import Ledger, Losses
from imgturbo.posteriors.mixture_inn import MixtureINN

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["Bottleneck"]


class Bottleneck(Likelihood):
    """A latent-mixture network with classes and its loss; validation is that of a likelihood.

    Args:
        decoder: the network.
        noise: σ, in stretched units.
        settings: β and the smoothing.

    Raises:
        ImgturboError: a network without classes.
    """

    decoder: MixtureINN

    def __init__(self, decoder: MixtureINN, noise: float, settings: BottleneckTermsConfig) -> None:
        super().__init__(decoder, noise)
        if decoder.centres is None:
            raise ImgturboError(
                "objective.preset bottleneck tells classes apart; set model.decoder.labels: true "
                "(the source's columns then being one a class), or leave the preset out"
            )
        self.settings = settings
        self.logits = nn.Parameter(torch.zeros(decoder.in_channels))

    def generator_parameters(self) -> list[nn.Parameter]:
        """The network's, and the weights of the classes."""
        return [*super().generator_parameters(), self.logits]

    def terms_by_pairs(self) -> dict[str, bool]:
        """Both are of pairs."""
        return {"nll": True, "classes": True}

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step. With several processes a collective call."""
        counts = (batch.z_valid & batch.x_valid)[:, 0] & batch.paired
        z, x = (torch.where(counts[:, None], u, 0.0) for u in (batch.z, batch.x))
        x = x + self.noise * torch.randn_like(x)
        w, log_det = self.decoder.latents(x)
        near = self.nearness(w)
        weights = torch.log_softmax(self.logits, dim=0)
        fixed = weights.detach()
        l_x = (-torch.logsumexp(near + weights, dim=1) - log_det) / x.shape[1]
        told = torch.log_softmax(near + fixed, dim=1) - fixed
        l_y = (self._labels(z) * told).sum(1)
        beta = self.settings.beta
        ledger, share = Ledger(), counts.to(w.dtype)
        ledger.add("nll", "generator", 2 / (1 + beta), l_x * share, share)
        ledger.add("classes", "generator", 2 * beta / (1 + beta), -l_y * share, share)
        return ledger.settle()

    def nearness(self, w: Tensor) -> Tensor:
        """−½‖w − μ_y‖² for every class, (B, D) → (B, K)."""
        assert self.decoder.centres is not None
        return -0.5 * (w[:, None] - self.decoder.centres).square().sum(2)

    def _labels(self, z: Tensor) -> Tensor:
        """s, (B, K)."""
        smoothing, classes = self.settings.smoothing, z.shape[1]
        return (1 - smoothing) * F.one_hot(z.argmax(1), classes) + smoothing / classes
