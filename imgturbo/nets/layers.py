r"""The pieces the convolutional generators are made of, none of which looks at image statistics.

    ChannelNorm   y = γ ⊙ (x − mean_c x)/√(var_c x + ε) + β           per pixel, over channels c
    ResidualBlock x + W₂ ∗ silu(W₁ ∗ norm(x) + Aε)                    3×3 kernels
    ShuffleConv   convolution to r²C channels, then pixel shuffle: r times the resolution

Plain 3×3 convolutions in channels-last order are the fastest way to spend time on a CPU (oneDNN);
depthwise ones have few operations but a slow gradient. The norm is layer normalisation (Ba, Kiros &
Hinton 2016, arXiv:1607.06450) of one pixel's channels, for which channels-last is contiguous. The
pixel shuffle (Shi et al. 2016, arXiv:1609.05158) starts from equal sub-pixel filters (ICNR, Aitken
et al. 2017, arXiv:1707.02937): without that its output starts as a checkerboard.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.nets.noise import Noise, NoiseLayer

__all__ = [
    "ChannelNorm",
    "ResidualBlock",
    "ResidualStage",
    "ShuffleConv",
    "gate",
    "make_norm",
    "shrink",
]


class ChannelNorm(nn.Module):
    """Normalise each pixel over its channels; (B, C, H, W) → the same, in channels-last order."""

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, h: Tensor) -> Tensor:
        pixels = h.permute(0, 2, 3, 1)
        y = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, self.epsilon)
        return y.permute(0, 3, 1, 2)


def make_norm(kind: str, channels: int) -> nn.Module:
    """``"channel"`` or ``"none"``."""
    return ChannelNorm(channels) if kind == "channel" else nn.Identity()


class ResidualBlock(nn.Module):
    """x + W₂ ∗ silu(W₁ ∗ norm(x) + Aε); (B, C, h, w) → (B, C, h, w).

    The input is added as it is: how bright a pixel is, which the norm removes, survives there.
    """

    def __init__(
        self,
        channels: int,
        norm: str,
        dropout: float,
        noise_channels: int,
        layer: int,
        stride: int,
        noise_basis: str = "free",
    ) -> None:
        super().__init__()
        self.norm = make_norm(norm, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.noise: NoiseLayer | None = None
        if noise_channels:
            self.noise = NoiseLayer(channels, noise_channels, layer, stride, noise_basis)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor, noise: Noise | None) -> Tensor:
        branch = self.first(self.norm(h))
        if self.noise is not None:
            branch = self.noise(branch, noise)
        # Nobody else holds a convolution's output, nor does its gradient need it.
        branch = self.second(self.dropout(F.silu(branch, inplace=not torch.is_grad_enabled())))
        return branch.add_(h)


class BlocksConfig(Protocol):
    """What a section of a config says of its residual blocks."""

    @property
    def blocks(self) -> int: ...
    @property
    def norm(self) -> str: ...
    @property
    def dropout(self) -> float: ...
    @property
    def noise_channels(self) -> int: ...
    @property
    def noise_basis(self) -> str: ...


class ResidualStage(nn.Module):
    """``blocks`` residual blocks in a row, whose noise layers count on from ``layer``."""

    def __init__(
        self,
        channels: int,
        config: BlocksConfig,
        layer: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(
                channels,
                config.norm,
                config.dropout,
                config.noise_channels,
                layer=layer + index,
                stride=stride,
                noise_basis=config.noise_basis,
            )
            for index in range(config.blocks)
        )

    def forward(self, h: Tensor, noise: Noise | None) -> Tensor:
        for block in self.blocks:
            h = block(h, noise)
        return h


class ShuffleConv(nn.Module):
    """Convolve to r²C' channels and shuffle them to r times the resolution.

    (B, C, h, w) → (B, C', rh, rw). At the start the r² sub-pixels of a cell are equal.
    """

    def __init__(self, channels: int, out_channels: int, factor: int, kernel: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels, out_channels * factor**2, kernel, padding=kernel // 2)
        with torch.no_grad():
            for parameter in (self.conv.weight, self.conv.bias):
                assert parameter is not None
                one_each = parameter[:: factor**2]
                parameter.copy_(one_each.repeat_interleave(factor**2, dim=0))

    def forward(self, h: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(h), self.factor)


def gate(h: Tensor) -> Tensor:
    """SimpleGate: the product of the first half of the channels with the second."""
    first, second = h.chunk(2, dim=1)
    return first * second


def shrink(last: nn.Conv2d | nn.Linear) -> None:
    """Start a residual network near the identity, with gradients for all that comes before."""
    with torch.no_grad():
        last.weight.mul_(0.01)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
