r"""A Gaussian head: a network that answers with a distribution, q(û | u) = N(μ(u), diag σ²(u)).

    (μ, s) = N(u),      log σ = b tanh(s / b),      û = μ + σ ⊙ ε,   ε ~ N(0, 1)

N is any plain generator with twice as many outputs. b = 6 bounds σ to e⁻⁶ … e⁶: a posterior that
wants to collapse onto a point, or to forget its input, saturates instead of overflowing. The draw
is reparametrised, so that gradients reach μ and σ through it (Kingma & Welling 2013,
arXiv:1312.6114, section 2.4). With ε = 0 the output is μ.

ε is white, one number an entry of the output, at the resolution of the output. Where N is residual
its input is added to μ alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from imgturbo.nets.generator import Generator
from imgturbo.nets.layers import shrink
from imgturbo.nets.noise import Noise

__all__ = ["GaussianHead", "Posterior"]

BOUND = 6.0
"""The largest |log σ|."""

_LAYER = -1
"""What the head's ε is called among the noisy layers of a network, which count from 0."""


class Posterior(NamedTuple):
    """What a network with a Gaussian head says of each of its outputs, N(μ, diag σ²).

    Attributes:
        mean: μ (B, C, …).
        log_sigma: log σ (B, C, …).
    """

    mean: Tensor
    log_sigma: Tensor

    def draw(self, noise: Noise | None, stride: int = 1) -> Tensor:
        """μ + σ ε, like μ; with ``noise`` None it is μ.

        Args:
            noise: the source of ε.
            stride: pixels of the network's input along one entry of the output.
        """
        if noise is None:
            return self.mean
        return self.mean + self.log_sigma.exp() * noise(_LAYER, self.mean.shape, stride, self.mean)

    def kl_to_normal(self) -> Tensor:
        """KL(N(μ, σ²) ‖ N(0, 1)) of each entry in nats, ½ (μ² + σ² − 1) − log σ, like μ.

        >>> Posterior(torch.zeros(1, 2), torch.zeros(1, 2)).kl_to_normal().tolist()
        [[0.0, 0.0]]
        """
        square = self.mean.square() + (2 * self.log_sigma).exp()
        return 0.5 * (square - 1) - self.log_sigma

    def nats(self, value: Tensor) -> Tensor:
        """−log N(value; μ, σ²) of each entry in nats, like μ."""
        error = (value - self.mean) * torch.exp(-self.log_sigma)
        return 0.5 * error.square() + self.log_sigma + 0.5 * math.log(2 * math.pi)


class GaussianHead(Generator):
    """q of the module's page, of rows (B, C) → (B, C') or images.

    Args:
        network: N, a generator with 2 C' outputs, the first half of which is μ.
        residual: add the input to μ; it has C' channels then.
    """

    def __init__(self, network: Generator, residual: bool = False) -> None:
        super().__init__(
            network.in_channels, network.out_channels // 2, stride=network.stride, stochastic=True
        )
        self.network, self.residual = network, residual
        self.size, self.whole_image = network.size, network.whole_image
        if residual:
            shrink(network.last)  # type: ignore[arg-type]

    def posterior(self, u: Tensor, noise: Noise | None = None) -> Posterior:
        """μ and log σ of the outputs (B, C', …) of ``u``; ``noise`` is that of inner layers."""
        mean, raw = self.network(u, noise).chunk(2, dim=1)
        log_sigma = BOUND * torch.tanh(raw / BOUND)
        return Posterior(u + mean if self.residual else mean, log_sigma)

    def draw(self, posterior: Posterior, u: Tensor, noise: Noise | None) -> Tensor:
        """One output of ``u`` with this posterior."""
        there = u.ndim == posterior.mean.ndim == 4
        return posterior.draw(noise, max(1, u.shape[2] // posterior.mean.shape[2]) if there else 1)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """A draw μ + σ ε; with ``noise`` None it is μ.

        Raises:
            ImgturboError: what the network raises of an input that it does not read.
        """
        return self.draw(self.posterior(u, noise), u, noise)

    def draws(self, u: Tensor, noises: Sequence[Noise | None]) -> Iterator[Tensor]:
        """Of a network without noise of its own the posterior is computed once."""
        if self.network.stochastic:
            yield from super().draws(u, noises)
            return
        posterior = self.posterior(u)
        for noise in noises:
            yield self.draw(posterior, u, noise)

    def carry(self, valid: Tensor, output: Tensor) -> Tensor:
        """As the network does."""
        return self.network.carry(valid, output)

    def check(self, extent: int | None) -> None:
        """As the network does."""
        self.network.check(extent)
