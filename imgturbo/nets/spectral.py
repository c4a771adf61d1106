r"""Spectral normalisation without a state: W ↦ W/σ(W), a pure function of the weights.

σ(W) is the largest singular value of W as a matrix (outputs × inputs), so that W/σ(W) stretches no
vector and a critic made of such layers is Lipschitz (Miyato et al. 2018, arXiv:1802.05957). As
there, σ = uᵀWv with u, v from power iteration,

    v ← Wᵀu/‖Wᵀu‖,   u ← Wv/‖Wv‖,

taken as constants in the gradient, as they do. Unlike there, u and v are no buffers that each
call moves on: every call iterates `ITERATIONS` times from the same starts. That costs a few
matrix-vector products and buys what training here rests on: the frozen critic of the generator's
loss *is* the live one of its own loss, train and eval agree, ranks cannot drift apart when one
calls its critic more often, and there is nothing to save for an exact resume.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ITERATIONS", "SpectralConv2d", "SpectralLinear", "spectral_norm"]

ITERATIONS = 8
_STARTS = 4


def spectral_norm(weight: Tensor, start: Tensor) -> Tensor:
    """σ(W) of ``weight`` (outputs, …), from starts u of shape (k, outputs); differentiable in W.

    Power iteration approaches σ from below: to some 5 % for random weights, whose singular values
    crowd, and closer where training has made a few stand out. The best of the k starts counts.
    """
    # Half precision would make σ wrong by per cents, and the scores jump with it.
    with torch.autocast(weight.device.type, enabled=False):
        matrix = weight.flatten(1)
        with torch.no_grad():
            # A direction a row: with directions in columns these products are ten times slower.
            u = start.to(matrix.dtype)
            for _ in range(ITERATIONS):
                v = F.normalize(u @ matrix, dim=1, eps=1e-12)
                image = v @ matrix.t()
                u = F.normalize(image, dim=1, eps=1e-12)
            best = (u * image).sum(1).argmax().view(1)
            u, v = u.index_select(0, best)[0], v.index_select(0, best)[0]
        # A layer whose weights are all zero stays zero instead of becoming NaN.
        return torch.dot(u, torch.mv(matrix, v)).clamp_min(1e-12)


def _starts(outputs: int) -> Tensor:
    """Fixed directions, the same everywhere; several, as one may miss the singular vector."""
    return torch.randn(_STARTS, outputs, generator=torch.Generator().manual_seed(0))


class SpectralConv2d(nn.Conv2d):
    """A convolution with W/σ(W) for its kernel."""

    start: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)
        self.register_buffer("start", _starts(out_channels), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight / spectral_norm(self.weight, self.start)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class SpectralLinear(nn.Linear):
    """A dense layer with W/σ(W) for its matrix."""

    start: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("start", _starts(out_features), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight / spectral_norm(self.weight, self.start), self.bias)
