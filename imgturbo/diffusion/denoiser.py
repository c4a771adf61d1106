r"""The network of a diffusion model: a U-Net without seams that is told the time.

    (u, t) ↦ N(u, t),      u = (z, x_t)

    time     τ = W₂ silu(W₁ (sin ω_k t′, cos ω_k t′)_k),      t′ = 1000 t/T
    block    h + W₂ ∗ silu((1 + γ(τ)) ⊙ norm(W₁ ∗ norm(h)) + β(τ))
    levels   blocks, 2×2 convolution of stride 2, …; 1×1 and pixel shuffle, + skip, blocks
    last     3×3 of silu(norm(h)) beside u itself

The scale γ and the shift β of the time are those of Dhariwal & Nichol 2021 (arXiv:2105.05233), on
the layers of :mod:`imgturbo.nets.layers`: the norm is over the channels of one pixel, and there is
no attention, whose every output depends on all of the image. So one pass sees as far as its
convolutions do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import DiffusionConfig
from imgturbo.nets.layers import ChannelNorm
from imgturbo.nets.u_shaped import UShaped

__all__ = ["Denoiser"]

_FREQUENCIES = 32
_LONGEST = 10_000.0  # ratio of the fastest to the slowest of them


class Denoiser(UShaped):
    """(B, C + C', H, W) and t (B,) → (B, C', H, W); H and W multiples of ``stride``.

    The number of channels doubles at each of ``config.depth`` levels.
    """

    def __init__(self, config: DiffusionConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = 2**config.depth
        self.time = _Time(config.steps, 4 * config.width)

        def stage(level: int, channels: int) -> nn.Module:
            return _Stage(channels, config)

        self.make_levels(in_channels, config.width, config.depth, stage)
        self.make_end(ChannelNorm(config.width), config.width, in_channels, out_channels)

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        return self.end(self.through_levels(u, self.time(t)), u)


class _Time(nn.Module):
    """τ (B, n) of t (B,): sines and cosines of many frequencies through two dense layers."""

    def __init__(self, steps: int, features: int) -> None:
        super().__init__()
        self.steps = steps
        self.first = nn.Linear(2 * _FREQUENCIES, features)
        self.second = nn.Linear(features, features)

    def forward(self, t: Tensor) -> Tensor:
        k = torch.arange(_FREQUENCIES, device=t.device) / _FREQUENCIES
        omega = torch.exp(-math.log(_LONGEST) * k)
        angles = (1000 / self.steps) * t[:, None].float() * omega
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.first.weight.dtype)
        return F.silu(self.second(F.silu(self.first(waves))))


class _Stage(nn.Module):
    """``config.blocks`` residual blocks in a row, all told the time."""

    def __init__(self, channels: int, config: DiffusionConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, config) for _ in range(config.blocks))

    def forward(self, h: Tensor, tau: Tensor) -> Tensor:
        for block in self.blocks:
            h = block(h, tau)
        return h


class _Block(nn.Module):
    """h + W₂ ∗ silu((1 + γ(τ)) ⊙ norm(W₁ ∗ norm(h)) + β(τ)); (B, C, h, w) → (B, C, h, w)."""

    def __init__(self, channels: int, config: DiffusionConfig) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.inner = ChannelNorm(channels)
        self.modulation = nn.Linear(4 * config.width, 2 * channels)
        self.dropout = nn.Dropout(config.dropout)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # A fresh block is the identity, whatever the time.
        for layer in (self.modulation, self.second):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, tau: Tensor) -> Tensor:
        gamma, beta = self.modulation(tau)[:, :, None, None].chunk(2, dim=1)
        branch = (1 + gamma) * self.inner(self.first(self.norm(h))) + beta
        return h + self.second(self.dropout(F.silu(branch)))
