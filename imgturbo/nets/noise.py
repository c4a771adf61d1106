r"""Gaussian noise for stochastic networks: fresh while training, positional while translating.

A stochastic generator draws x ~ p(x|z) by adding ε ~ N(0, 1) to its features. Drawn from a random
stream, ε depends on the order of the draws, so two overlapping windows of a mosaic would disagree
on the pixels they share. ``PositionalNoise`` instead *computes* ε from where the feature is,

    k = h(h(h(h(seed ⊕ π) + layer·γ) + channel·γ) + Y·γ) + X·γ,      b = h(k) ∈ {0 … 2⁶⁴ − 1},
    ε = √(−2 ln u₁) cos 2πu₂,   u₁ = (⌊b/2³²⌋ + ½)/2³²,   u₂ = (b mod 2³²)/2³²,

with (Y, X) the feature's absolute position on its own grid, h the 64-bit finaliser of SplitMix
(Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195), γ and π the first 64 bits of the fractions
of the golden ratio and of π (h(0) = 0, which seed 0 must not start from), and the last line the
transform of Box & Muller (1958). There is no state: the same seed gives the same sky for
any windowing, batch, order, process or machine. Draw n of a seed has for its seed

    σ₀ = seed,   σₙ = the first 64 bits that numpy's SeedSequence makes of (seed, n),   n > 0,

so that draws of neighbouring seeds share nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError

__all__ = ["FreshNoise", "Noise", "NoiseLayer", "PositionalNoise", "Tempered"]


def _signed(bits: int) -> int:
    """The int64 that holds the lowest 64 bits: torch has no unsigned arithmetic."""
    bits %= 1 << 64
    return bits - (1 << 64) if bits >= 1 << 63 else bits


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_PI = _signed(0x243F6A8885A308D3)
_SECOND = _signed(0x94D049BB133111EB)


class Noise(Protocol):
    """Where a generator's layers get their noise from."""

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        """ε of ``shape``, (B, n, h, w) or (B, n), on the device and in the dtype of ``like``.

        ``layer`` counts the noisy layers of a network; ``stride`` is how many image pixels one
        step of that layer's grid spans.
        """
        ...


def _seed_of(seed: int, draw: int) -> int:
    """σₙ, n = ``draw``."""
    if draw == 0:
        return seed
    return int(np.random.SeedSequence([seed % (1 << 64), draw]).generate_state(1, np.uint64)[0])


class FreshNoise:
    """Independent noise from torch's own generator, so that ``torch.manual_seed`` governs it."""

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        return torch.randn(tuple(shape), device=like.device, dtype=like.dtype)


class PositionalNoise:
    """Noise that is a pure function of the seed, the layer and the absolute position.

    Args:
        seed: any integer; seeds give independent skies.
        origins: (B, 2) integers, y and x in image pixels of the first pixel of each window. They
            must be multiples of the generator's stride, so that windows share their grids. For
            tables of numbers they are any two integers that tell the rows apart.
        draw: which of the seed's draws, from 0; these are independent too.
    """

    def __init__(self, seed: int, origins: Tensor | Sequence[Sequence[int]], draw: int = 0) -> None:
        self.seed = _seed_of(int(seed), draw)
        self.origins = torch.as_tensor(origins, dtype=torch.int64, device="cpu")
        if self.origins.ndim != 2 or self.origins.shape[1] != 2:
            raise ValueError(f"origins must be (B, 2), not {tuple(self.origins.shape)}")

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        """ε of ``shape``, (B, n, h, w) or (B, n).

        Raises:
            ValueError: the batch is not that of ``origins``, or a window starts off the grid.
        """
        batch, channels, height, width = (*shape, 1, 1)[:4]
        if batch != len(self.origins):
            raise ValueError(f"{len(self.origins)} window origins for a batch of {batch}")
        if bool((self.origins % stride).any()):
            raise ValueError(f"window origins must be multiples of {stride} pixels")
        first = (self.origins // stride).to(like.device)
        steps = torch.arange(max(height, width), device=like.device)
        rows = (first[:, :1] + steps[:height]).view(batch, 1, height, 1)
        columns = (first[:, 1:] + steps[:width]).view(batch, 1, 1, width)
        channel = torch.arange(channels, device=like.device).view(1, channels, 1, 1)

        # Seed, layer, channel and row are hashed on small tensors; only the last step is per pixel.
        key = _mix(torch.tensor(_signed(self.seed) ^ _PI, device=like.device))
        key = _mix(key + _signed(layer * _GAMMA))
        key = _mix(key + channel * _GAMMA)
        key = _mix(key + rows * _GAMMA)
        bits = _mix(key + columns * _GAMMA)

        # Double precision hides the last-bit differences of log and cos between devices.
        real = torch.float32 if like.device.type == "mps" else torch.float64
        uniform = (_shift(bits, 32).to(real) + 0.5) / 2**32
        angle = (bits & 0xFFFFFFFF).to(real) * (2 * math.pi / 2**32)
        return (torch.sqrt(-2 * torch.log(uniform)) * torch.cos(angle)).to(like.dtype).view(*shape)


class Tempered:
    """Noise of standard deviation T instead of 1: T = 0 is the mean, T > 1 overstates the spread.

    Raises:
        ImgturboError: T is below zero or not a number.
    """

    def __init__(self, noise: Noise, temperature: float) -> None:
        if not temperature >= 0:
            raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
        self.noise = noise
        self.temperature = temperature

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        return self.temperature * self.noise(layer, shape, stride, like)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Logical right shift; torch's own carries the sign along."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit matters."""
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


class NoiseLayer(nn.Module):
    """Adds noise in learnt directions to features: h ↦ h + Aε + μ with ε (B, n, …) and A (C, n).

    With the basis ``free`` A is any matrix and μ = 0. With ``orthogonal`` it is U diag(L), U (C, n)
    with orthonormal columns, so that each of the n numbers moves the features its own way, by L of
    its own (EigenGAN, He, Kan & Shan 2021, arXiv:2104.12476, eq. 2; proposed for Turbo-Sim in
    arXiv:2112.10629). U is the first factor of W = UR, R with a positive diagonal: for any W that
    is a point among such matrices, and nothing has to hold it there.

    With ``noise`` None ε = 0, its mean.

    Raises:
        ImgturboError: more directions than features, which cannot be orthogonal.
    """

    def __init__(
        self, channels: int, noise_channels: int, layer: int, stride: int, basis: str = "free"
    ) -> None:
        super().__init__()
        self.noise_channels = noise_channels
        self.layer = layer
        self.stride = stride
        self.orthogonal = basis == "orthogonal"
        if not self.orthogonal:
            # Small enough that training starts near the deterministic network.
            self.weight = nn.Parameter(torch.randn(channels, noise_channels).mul_(0.1))
            return
        if noise_channels > channels:
            raise ImgturboError(
                f"noise_channels is {noise_channels}, but directions of noise in {channels} "
                "features cannot be so many and orthogonal; lower it, or set noise_basis: free"
            )
        self.weight = nn.Parameter(torch.randn(channels, noise_channels))
        self.lengths = nn.Parameter(torch.full((noise_channels,), 0.1))
        self.mean = nn.Parameter(torch.zeros(channels))

    def directions(self) -> Tensor:
        """A (C, n)."""
        if not self.orthogonal:
            return self.weight
        wide = self.weight.float() if self.weight.dtype.itemsize < 4 else self.weight
        with torch.autocast(wide.device.type, enabled=False):
            u, r = torch.linalg.qr(wide)
            signs = torch.where(r.diagonal() < 0, -1.0, 1.0).to(u)
        return (u * signs).to(self.weight.dtype) * self.lengths

    def forward(self, h: Tensor, noise: Noise | None) -> Tensor:
        moved = h
        if self.orthogonal:
            moved = h + self.mean.view(-1, *[1] * (h.ndim - 2))
        if noise is None:
            return moved
        shape = (h.shape[0], self.noise_channels, *h.shape[2:])
        epsilon = noise(self.layer, shape, self.stride, h)
        if h.ndim == 2:
            return moved + nn.functional.linear(epsilon, self.directions())
        epsilon = epsilon.contiguous(memory_format=torch.channels_last)
        return moved + nn.functional.conv2d(epsilon, self.directions()[:, :, None, None])
