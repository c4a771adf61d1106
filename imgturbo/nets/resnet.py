r"""The ResNet generator without seams: blocks at a coarse resolution between two samplers.

    stem     7×7 to `width` channels
    down     `downs` times: 2×2 at stride 2, channels doubled
    blocks   `blocks` residual blocks on the coarsest grid
    up       `downs` times: 1×1 and pixel shuffle, silu
    head     beside the input itself, 7×7 to C' channels

After Johnson et al. 2016 (arXiv:1603.08155) and CycleGAN (Zhu et al. 2017, arXiv:1703.10593), whose
instance norm, reflection padding and tanh give way to a per-pixel norm, zeros and a linear output,
so that windows of a mosaic agree. It has no skips: all detail goes through the coarse grid, save
what the input beside the head brings.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import ResNetConfig
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.layers import ResidualStage, ShuffleConv, make_norm, shrink
from imgturbo.nets.noise import Noise

__all__ = ["ResNet"]


class ResNet(ImageGenerator):
    """(B, C, H, W) → (B, C', H, W) for any H, W ≥ 1; its stride is ``2**downs``."""

    def __init__(self, config: ResNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels,
            out_channels,
            stride=2**config.downs,
            stochastic=config.noise_channels > 0,
        )
        self.residual = config.residual and in_channels == out_channels
        widths = [config.width * 2**level for level in range(config.downs + 1)]
        samplers = list(itertools.pairwise(widths))
        self.stem = nn.Conv2d(in_channels, config.width, 7, padding=3)
        self.downs = nn.ModuleList(
            nn.Sequential(
                make_norm(config.norm, fine), nn.SiLU(), nn.Conv2d(fine, coarse, 2, stride=2)
            )
            for fine, coarse in samplers
        )
        self.blocks = ResidualStage(widths[-1], config, layer=0, stride=self.stride)
        self.ups = nn.ModuleList(
            nn.Sequential(
                make_norm(config.norm, coarse), ShuffleConv(coarse, fine, factor=2, kernel=1)
            )
            for fine, coarse in reversed(samplers)
        )
        self.last = nn.Conv2d(config.width + in_channels, out_channels, 7, padding=3)
        if self.residual:
            shrink(self.last)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        # From here on every layer keeps channels-last order, whatever the caller's.
        h = self.stem(u.contiguous(memory_format=torch.channels_last))
        for down in self.downs:
            h = down(h)
        h = self.blocks(h, noise)
        for up in self.ups:
            h = F.silu(up(h))
        y = self.last(torch.cat([h, u], dim=1))
        return u + y if self.residual else y
