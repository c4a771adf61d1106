r"""A mixture of normal distributions with full covariances, whose parameters a network predicts.

    p(x|z) = Σ_k π_k N(x; μ_k, (U_kᵀ U_k)⁻¹),      U_k upper triangular, diag U_k = e^{d_k}
    log N  = Σ d_k − ½‖U_k (x − μ_k)‖² − (D/2) log 2π
    x̃      = μ_k + U_k⁻¹ ε,    k by the share Φ(ε₀) of the cumulated π

π, μ, d and what is above the diagonals are functions of s(z); d is softly clamped. The precision's
root U needs no inverse in training. Bishop 1994 (Mixture Density Networks, NCRG/94/004); full
covariances as in the comparison of Kruse et al. 2021 (arXiv:2101.10763).
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from imgturbo.config.posteriors import MixtureDensityConfig
from imgturbo.flows.coupling import Clamp
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.posteriors.rows import Conditions, RowGenerator
from imgturbo.posteriors.summaries import build_summary, dense_layers

__all__ = ["MixtureDensity"]


class MixtureDensity(RowGenerator):
    """Draws and densities of p(x|z), (B, C) → (B, C'), by K normal distributions.

    Args:
        config: see ``MixtureDensityConfig``.
        in_channels: columns of z.
        out_channels: columns of x, D.
    """

    has_density = True

    def __init__(self, config: MixtureDensityConfig, in_channels: int, out_channels: int) -> None:
        summary = build_summary(config.condition, in_channels)
        super().__init__(in_channels, out_channels, summary, numbers=out_channels + 1)
        self.components, d = config.components, out_channels
        self.clamp = Clamp(config.clamp, "tanh")
        self.sizes = (1, d, d, d * (d - 1) // 2)
        sizes = [config.condition.features, *config.hidden, config.components * sum(self.sizes)]
        self.layers = dense_layers(sizes)
        self.places = [list(axis) for axis in zip(*combinations(range(d), 2), strict=True)]
        with torch.no_grad():  # means that differ, or the components would stay alike
            bias = self.layers[-1].bias
            assert isinstance(bias, Tensor)
            bias.view(config.components, -1)[:, 1 : d + 1].normal_()

    def conditions(self, u: Tensor) -> Conditions:
        """log π (B, K), μ (B, K, D), U (B, K, D, D) of z (B, C)."""
        numbers = full_precision(self.layers(nn.functional.silu(self.summary(self.checked(u)))))
        logits, means, logs, above = numbers.unflatten(1, (self.components, -1)).split(
            self.sizes, dim=2
        )
        roots = torch.diag_embed(self.clamp(logs).exp())
        if self.places:
            rows, columns = self.places
            roots[..., rows, columns] = above
        return [torch.log_softmax(logits[..., 0], dim=1), means, roots]

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """Noise (n·B, D + 1) → x (n·B, D): its last number chooses the component."""
        log_shares, means, roots = conditions
        batch, components, d = means.shape
        identity = torch.eye(d, dtype=roots.dtype, device=roots.device).expand_as(roots)
        spreads = torch.linalg.solve_triangular(roots, identity, upper=True)
        share = 0.5 * (1 + torch.erf(epsilon[:, -1] / math.sqrt(2)))
        ends = log_shares.exp().cumsum(1)[:, :-1].contiguous()
        chosen = torch.searchsorted(ends, share.view(batch, -1)) if components > 1 else None
        first = components * torch.arange(batch, device=means.device)[:, None]
        number = len(epsilon) // batch
        index = (first.expand(-1, number) if chosen is None else first + chosen).flatten()
        moved = (spreads.flatten(0, 1)[index] @ epsilon[:, :-1, None])[..., 0]
        return means.flatten(0, 1)[index] + moved

    def centre(self, conditions: Conditions) -> Tensor:
        """The mixture's mean (B, D)."""
        log_shares, means, _ = conditions
        return (log_shares.exp()[..., None] * means).sum(1)

    def log_density(self, y: Tensor, z: Tensor | Conditions) -> Tensor:
        """log p(y|z) (B,) in nats.

        Raises:
            ImgturboError: other numbers of columns than the network's.
        """
        require_channels(y, self.out_channels, "this mixture")
        log_shares, means, roots = self.known(z)
        away = full_precision(y)[:, None] - means
        w = (roots @ away[..., None])[..., 0]
        logs = roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * self.out_channels * math.log(2 * math.pi)
        each = log_shares + logs - 0.5 * w.square().sum(-1) - constant
        return torch.logsumexp(each, dim=1)
