r"""Dense networks for tables of numbers, (B, C): a generator and a critic.

    h₀ = z,   hᵢ₊₁ = silu(norm(Wᵢhᵢ + bᵢ + Aᵢεᵢ)),   x̃ = W h + b   (+ z where asked for)

The objective does not know whether a space holds images or numbers; with these it trains on
collision events as Turbo-Sim does (Quétant et al. 2021, arXiv:2112.10629). The norm is over a row's
own features (layer norm), so that a row's answer does not depend on the batch.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CriticConfig, MLPConfig
from imgturbo.nets.critic import join
from imgturbo.nets.generator import TableGenerator
from imgturbo.nets.layers import shrink
from imgturbo.nets.noise import Noise, NoiseLayer
from imgturbo.nets.spectral import SpectralLinear

__all__ = ["DenseCritic", "MLP"]


class MLP(TableGenerator):
    """(B, C) → (B, C'), a row at a time; see the module's page."""

    instead = "unet"

    def __init__(self, config: MLPConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, stochastic=config.noise_channels > 0)
        self.residual = config.residual and in_channels == out_channels
        sizes = [in_channels, *config.hidden]
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in itertools.pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in sizes[1:])
        self.noises = nn.ModuleList(
            NoiseLayer(size, config.noise_channels, layer, stride=1, basis=config.noise_basis)
            for layer, size in enumerate(sizes[1:])
            if self.stochastic
        )
        self.last = nn.Linear(sizes[-1], out_channels)
        if self.residual:
            shrink(self.last)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Translate rows; ``noise`` as for images.

        Raises:
            ImgturboError: ``u`` is no (B, C) table, or has another number of columns.
        """
        h = u = self.checked(u)
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            h = layer(h)
            if self.stochastic:
                h = self.noises[index](h, noise)
            h = F.silu(norm(h))
        y = self.last(h)
        return u + y if self.residual else y


class DenseCritic(nn.Module):
    """(B, C[+Cc]) → [(B, 1)], a list for the same reason as the patch critic's: one a scale."""

    def __init__(self, config: CriticConfig, channels: int, condition_channels: int = 0) -> None:
        super().__init__()
        self.channels = channels
        self.condition_channels = condition_channels
        linear = SpectralLinear if config.norm == "spectral" else nn.Linear
        sizes = [channels + condition_channels, *config.hidden, 1]
        self.layers = nn.ModuleList(
            linear(before, after) for before, after in itertools.pairwise(sizes)
        )

    def forward(
        self, u: Tensor, condition: Tensor | None = None, features: bool = False
    ) -> list[Tensor]:
        """Score rows, beside their condition where the critic was built with one.

        With ``features`` what the last layer reads, (B, hidden), in the place of the score.
        """
        h = join(u, condition, self.channels, self.condition_channels, ndim=2)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), 0.2)
        return [h if features else self.layers[-1](h)]
