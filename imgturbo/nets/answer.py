r"""What a network says of an input: its output, and what it knows of how that is distributed.

A Gaussian posterior q(û | u) = N(μ, diag σ²) has closed forms (Kingma & Welling 2013,
arXiv:1312.6114, section 2.4 and appendix B), entry by entry and in nats:

    û = μ + σ ε,   ε ~ N(0, 1)
    KL(q ‖ N(0, 1)) = ½ (μ² + σ² − 1) − log σ
    −log q(û) = ½ ((û − μ)/σ)² + log σ + ½ log 2π
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from imgturbo.nets.noise import Noise

__all__ = ["Answer", "Posterior"]

_LAYER = -1
"""What the ε of a posterior is called among the noisy layers of a network, which count from 0."""


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
        epsilon = noise(_LAYER, self.mean.shape, stride, self.mean)
        return self.mean + self.log_sigma.exp() * epsilon

    def kl_to_normal(self) -> Tensor:
        """KL(N(μ, σ²) ‖ N(0, 1)) of each entry in nats, like μ.

        >>> Posterior(torch.zeros(1, 2), torch.zeros(1, 2)).kl_to_normal().tolist()
        [[0.0, 0.0]]
        """
        square = self.mean.square() + (2 * self.log_sigma).exp()
        return 0.5 * (square - 1) - self.log_sigma

    def nats(self, value: Tensor) -> Tensor:
        """−log N(value; μ, σ²) of each entry in nats, like μ."""
        error = (value - self.mean) * torch.exp(-self.log_sigma)
        return 0.5 * error.square() + self.log_sigma + 0.5 * math.log(2 * math.pi)


class Answer(NamedTuple):
    """An output, and what is known of it where the network tells.

    Attributes:
        output: û (B, C, …), one draw.
        posterior: of a Gaussian head, what û was drawn from.
        log_det: of an invertible network, log|det ∂û/∂u| (B,).
    """

    output: Tensor
    posterior: Posterior | None = None
    log_det: Tensor | None = None
