r"""A U-Net without seams: u ↦ u + N(u) where the channel counts agree, u ↦ N(u) elsewhere.

    stem     pixel-unshuffle by s, then 3×3 to `width` channels          grid s
    down     at each of `depth` levels: blocks, keep a skip, 2×2 stride 2  grid 2s, 4s, …
    bottom   blocks
    up       at each level: 1×1 and pixel shuffle, + skip, blocks
    head     norm, silu, 3×3 and pixel shuffle by s, beside the input itself, 3×3 to C' at full size

After Ronneberger et al. 2015 (arXiv:1505.04597), with residual blocks, skips that are added, and
per-pixel norms. The input beside the last features lets the network copy or mix bands at full
resolution whatever the stem; its unbounded linear output fits fluxes, which tanh would clip.
The last kernel starts small, so a fresh residual network is nearly the identity.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import UNetConfig
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.layers import ResidualStage, ShuffleConv, make_norm, shrink
from imgturbo.nets.noise import Noise

__all__ = ["UNet"]


class UNet(ImageGenerator):
    """(B, C, H, W) → (B, C', H, W) for any H, W ≥ 1; see the module's page for the layers.

    Its stride is ``stem · 2**depth``. The number of channels doubles at each level.
    """

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels,
            out_channels,
            stride=config.stem * 2**config.depth,
            stochastic=config.noise_channels > 0,
        )
        self.stem_factor = config.stem
        self.residual = config.residual and in_channels == out_channels
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        grids = [config.stem * 2**level for level in range(config.depth + 1)]
        stages = (
            ResidualStage(widths[level], config, layer=order * config.blocks, stride=grids[level])
            for order, level in enumerate([*range(config.depth + 1), *range(config.depth)])
        )

        self.stem = nn.Conv2d(in_channels * config.stem**2, config.width, 3, padding=1)
        self.encoder = nn.ModuleList(itertools.islice(stages, config.depth))
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in itertools.pairwise(widths)
        )
        self.bottom = next(stages)
        self.ups = nn.ModuleList(
            ShuffleConv(coarse, fine, factor=2, kernel=1)
            for fine, coarse in itertools.pairwise(widths)
        )
        self.decoder = nn.ModuleList(stages)

        features = config.width
        # The sum of all stages grows in training; without this norm the activation after it dies.
        self.norm = make_norm(config.norm, config.width)
        self.head: nn.Module = nn.Identity()
        if config.stem > 1:
            features = max(8, 2 * out_channels, config.width // config.stem**2)
            self.head = ShuffleConv(config.width, features, factor=config.stem, kernel=3)
        self.last = nn.Conv2d(features + in_channels, out_channels, 3, padding=1)
        if self.residual:
            shrink(self.last)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        h = F.pixel_unshuffle(u, self.stem_factor)
        # From here on every layer keeps channels-last order, whatever the caller's.
        h = self.stem(h.contiguous(memory_format=torch.channels_last))
        skips = []
        for stage, down in zip(self.encoder, self.downs, strict=True):
            h = stage(h, noise)
            skips.append(h)
            h = down(h)
        h = self.bottom(h, noise)
        for level in reversed(range(len(self.ups))):
            h = self.decoder[level](self.ups[level](h) + skips[level], noise)
        h = self.head(F.silu(self.norm(h)))
        y = self.last(torch.cat([h, u], dim=1))
        return u + y if self.residual else y
