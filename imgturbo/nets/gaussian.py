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

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from imgturbo.nets.answer import Answer, Posterior
from imgturbo.nets.generator import Generator
from imgturbo.nets.layers import shrink
from imgturbo.nets.noise import Noise
from imgturbo.side import Side

__all__ = ["GaussianHead"]

BOUND = 6.0
"""The largest |log σ|."""


class GaussianHead(Generator):
    """q of the module's page, of rows (B, C) → (B, C') or images.

    Args:
        network: N, a generator with 2 C' outputs, the first half of which is μ.
        residual: add the input to μ; it has C' channels then.
    """

    tells: ClassVar[frozenset[str]] = frozenset({"posterior"})

    def __init__(self, network: Generator, residual: bool = False) -> None:
        super().__init__(
            network.in_channels, network.out_channels // 2, stride=network.stride, stochastic=True
        )
        self.network, self.residual = network, residual
        self.size, self.whole_image = network.size, network.whole_image
        self.zoom, self.on_the_sky = network.zoom, network.on_the_sky
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

    def answer(self, u: Tensor, noise: Noise | None = None) -> Answer:
        """A draw and the posterior that it is from, in one pass."""
        posterior = self.posterior(u, noise)
        return Answer(self.draw(posterior, u, noise), posterior)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """A draw μ + σ ε; with ``noise`` None it is μ.

        Raises:
            ImgturboError: what the network raises of an input that it does not read.
        """
        return self.answer(u, noise).output

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

    def check(self, given: int | None, wanted: int | None) -> None:
        """As the network does."""
        self.network.check(given, wanted)

    def know(self, given: Side, wanted: Side) -> None:
        """As the network does."""
        self.network.know(given, wanted)
