r"""From a coarse grid of pixels to one r times as fine, and back, without seams.

    srresnet   h₀ = prelu(9×9 ∗ u);   B times h ↦ h + W₂ ∗ silu(W₁ ∗ norm(h));   g = h₀ + 3×3 ∗ h_B;
               pixel shuffles to r times the grid;   x̃ = 9×9 ∗ prelu(g)  (+ bicubic_r(u))
    coarsen    pixels of r×r cells as channels, 3×3;   B blocks;   z̃ = 3×3 ∗ h  (+ mean of cells)

The first is SRResNet, the generator of SRGAN (Ledig et al. 2017, arXiv:1609.04802, sec. 3.1), whose
batch norm gives way to a norm over the channels of each pixel: that statistic would differ between
a window and the whole. The second is its way back, for cycles. Pixel k of the coarse grid covers
the pixels r·k … r·k + r − 1 of the fine one, as :func:`imgturbo.sky.grids.scaled_grid` lays them,
so that the sky stays where it was.

What is added in brackets starts the pair at the customary answers: cubic convolution (Keys 1981,
doi:10.1109/TASSP.1981.1163711, a = −1/2), and the mean over a cell, which keeps a surface
brightness. Of a phase p ∈ {0 … r − 1} of the fine grid, which lies t = (p + ½)/r − ½ from the
middle of its coarse pixel,

    bicubic(u)(r·k + p) = Σ_{m = −2}^{2} K(t − m) u(k + m),       Σ_m K(t − m) = 1,

the same weights in every cell, in one convolution: no coordinate is ever rounded.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CoarsenConfig, SRResNetConfig
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.layers import ResidualStage, ShuffleConv, shrink
from imgturbo.nets.noise import Noise

__all__ = ["Coarsen", "SRResNet", "bicubic", "bicubic_weights"]

_REACH = 2  # coarse pixels on either side that cubic convolution looks at


class SRResNet(ImageGenerator):
    """(B, C, H, W) → (B, C', rH, rW) for any H, W ≥ 1; its zoom is r."""

    def __init__(self, config: SRResNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, stochastic=config.noise_channels > 0)
        self.zoom = Fraction(config.factor)
        self.residual = config.residual and in_channels == out_channels
        width = config.width
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 9, padding=4), nn.PReLU(width))
        self.blocks = ResidualStage(width, config, layer=0, stride=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.ups = nn.Sequential(
            *(
                nn.Sequential(ShuffleConv(width, width, factor=step, kernel=3), nn.PReLU(width))
                for step in _steps(config.factor)
            )
        )
        self.last = nn.Conv2d(width, out_channels, 9, padding=4)
        if self.residual:
            shrink(self.last)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        first = self.stem(u.contiguous(memory_format=torch.channels_last))
        h = first + self.middle(self.blocks(first, noise))
        y = self.last(self.ups(h))
        return bicubic(u, int(self.zoom)) + y if self.residual else y


class Coarsen(ImageGenerator):
    """(B, C, H, W) → (B, C', ⌈H/r⌉, ⌈W/r⌉); its stride is r and its zoom 1/r."""

    def __init__(self, config: CoarsenConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels,
            out_channels,
            stride=config.factor,
            stochastic=config.noise_channels > 0,
        )
        self.zoom = Fraction(1, config.factor)
        self.residual = config.residual and in_channels == out_channels
        self.stem = nn.Conv2d(in_channels * config.factor**2, config.width, 3, padding=1)
        self.blocks = ResidualStage(config.width, config, layer=0, stride=config.factor)
        self.last = nn.Conv2d(config.width, out_channels, 3, padding=1)
        if self.residual:
            shrink(self.last)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        cells = F.pixel_unshuffle(u, self.stride).contiguous(memory_format=torch.channels_last)
        y = self.last(F.silu(self.blocks(self.stem(cells), noise)))
        return F.avg_pool2d(u, self.stride) + y if self.residual else y


def _steps(factor: int) -> list[int]:
    """The factor as a product of small ones: ×4 is ×2 twice, as published."""
    steps = []
    for prime in (2, 3, 5, 7):
        while factor % prime == 0:
            factor //= prime
            steps.append(prime)
    return steps + [factor] * (factor > 1)


def bicubic_weights(factor: int) -> Tensor:
    """Cubic convolution for each phase of a grid ``factor`` times as fine: (r, 5), float64."""
    phases = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
    t = (phases[:, None] - torch.arange(-_REACH, _REACH + 1)).abs()
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))


def bicubic(u: Tensor, factor: int) -> Tensor:
    """Images (B, C, H, W) on a grid ``factor`` times as fine: (B, C, rH, rW).

    Beyond the border the outermost pixels go on.
    """
    weights = bicubic_weights(factor).to(u)
    rows, cols = weights[:, None, :, None], weights[:, None, None, :]
    batch, channels, height, width = u.shape
    flat = _edged(u).reshape(batch * channels, 1, height + 2 * _REACH, width + 2 * _REACH)
    # A row of cells at a time and then a column: phases become channels, and channels pixels.
    tall = F.conv2d(flat, rows).transpose(1, 2).reshape(-1, 1, factor * height, flat.shape[3])
    wide = F.conv2d(tall, cols).permute(0, 2, 3, 1)
    return wide.reshape(batch, channels, factor * height, factor * width)


def _edged(u: Tensor) -> Tensor:
    """With the outermost rows and columns repeated outward.

    A concatenation: the gradient of torch's own padding is not deterministic on CUDA.
    """
    for axis in (2, 3):
        shape = list(u.shape)
        shape[axis] = _REACH
        first, last = u.narrow(axis, 0, 1), u.narrow(axis, u.shape[axis] - 1, 1)
        u = torch.cat([first.expand(shape), u, last.expand(shape)], axis)
    return u
