r"""The latent-mixture network: x ↔ w, where w is normal around a centre that z decides.

    w = f(x),      p(x|z) = N(w; μ(z), 1) · |det ∂f/∂x|,      x̃ = f⁻¹(μ(z) + ε)

f has no condition. Where z says to which class a row belongs, μ is a learnt centre for each class;
else a small network makes it. Ardizzone et al. 2020, *IB-INN* (arXiv:2001.06448), equation 7;
what else may train it: :mod:`imgturbo.posteriors.bottleneck`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imgturbo.config.posteriors import MixtureINNConfig
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.posteriors.couplings import dense_chain
from imgturbo.posteriors.dense_flow import log_normal
from imgturbo.posteriors.rows import Conditions, RowGenerator
from imgturbo.posteriors.summaries import build_summary

__all__ = ["MixtureINN"]


class _Centres(nn.Module):
    """A learnt centre for each class; the class is the largest of a row's numbers."""

    def __init__(self, classes: int, numbers: int, spread: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(spread * torch.randn(classes, numbers))

    def forward(self, u: Tensor) -> Tensor:
        """(B, classes) → (B, numbers)."""
        return self.centres[u.argmax(1)]


class MixtureINN(RowGenerator):
    """Draws and densities of p(x|z), (B, C) → (B, C').

    Args:
        config: see ``MixtureINNConfig``.
        in_channels: columns of z: numbers, or one a class.
        out_channels: columns of x, two or more.

    Raises:
        ImgturboError: a single column of x, which no coupling can split.
    """

    has_density = True

    def __init__(self, config: MixtureINNConfig, in_channels: int, out_channels: int) -> None:
        if config.labels:
            summary: nn.Module = _Centres(in_channels, out_channels, config.spread)
        else:
            features = build_summary(config.condition, in_channels)
            summary = nn.Sequential(features, nn.Linear(config.condition.features, out_channels))
        super().__init__(in_channels, out_channels, summary)
        self.flow = dense_chain(config, out_channels)

    @property
    def centres(self) -> Tensor | None:
        """μ of each class (classes, C'); None where there are no classes."""
        return self.summary.centres if isinstance(self.summary, _Centres) else None

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """Noise (n·B, C') → x, n rows for each centre."""
        (centre,) = conditions
        centre = centre.repeat_interleave(len(epsilon) // len(centre), dim=0)
        return self.flow.inverse(centre + epsilon)

    def latents(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f: x (B, C') → w (B, C') and log|det ∂w/∂x| (B,)."""
        require_channels(x, self.out_channels, "this network")
        return self.flow(full_precision(x))  # type: ignore[no-any-return]

    def log_density(self, y: Tensor, z: Tensor | Conditions) -> Tensor:
        """log p(y|z) (B,) in nats.

        Raises:
            ImgturboError: other numbers of columns than the network's.
        """
        (centre,) = self.known(z)
        w, log_det = self.latents(y)
        return log_normal(w - centre) + log_det
