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

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import UNetConfig
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.layers import ResidualStage, make_norm, shrink
from imgturbo.nets.noise import Noise
from imgturbo.nets.u_shaped import UShaped

__all__ = ["UNet"]


class UNet(UShaped, ImageGenerator):
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
        order = itertools.count()  # of the stages, in which their layers of noise are numbered

        def stage(level: int, channels: int) -> nn.Module:
            layer, grid = next(order) * config.blocks, config.stem * 2**level
            return ResidualStage(channels, config, layer=layer, stride=grid)

        self.make_levels(in_channels * config.stem**2, config.width, config.depth, stage)
        features = max(8, 2 * out_channels, config.width // config.stem**2)
        self.make_end(
            make_norm(config.norm, config.width),
            config.width,
            in_channels,
            out_channels,
            shuffled=(config.stem, features) if config.stem > 1 else None,
        )
        if self.residual:
            shrink(self.last)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        y = self.end(self.through_levels(F.pixel_unshuffle(u, self.stem_factor), noise), u)
        return u + y if self.residual else y
