r"""A U-Net of gated blocks on top of a colour map: u ↦ A u + b + N(u).

    stem     pixel-unshuffle by s, then 3×3 to `width` channels            grid s
    down     at each of `depth` levels: blocks, keep a skip, 2×2 stride 2  grid 2s, 4s, …
    bottom   `middle` blocks
    up       at each level: 1×1 and pixel shuffle, + skip, [spread, at the finest,] blocks
    head     norm, 3×3 and pixel shuffle by s, beside the input itself, 3×3 to C' at full size

and each block is, with ⊙ the product of the two halves of the channels (SimpleGate),

    h ← h + β ⊙ W₂ gate(D ∗ W₁ norm(h))        D: 3×3 on each channel alone, or on all of them
    h ← h + γ ⊙ W₄ gate(W₃ norm(h))            W: 1×1

After NAFNet (Chen et al. 2022, arXiv:2204.04676, figure 3): products take the place of activations.
Its channel attention is left out, because a mean over the image breaks law 1. The paper starts with
β = γ = 0; here they start at 0.1, so that every weight has a gradient at once.

A (C' × C) and b are what two telescopes of the same sky differ by at first sight. They start at the
identity where the bands agree, else at the mean of the bands; training fits them to its tiles by
least squares before the first step (``fit_colours``), so that it starts at the best affine map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import NAFNetConfig
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.layers import ChannelNorm, gate, shrink
from imgturbo.nets.noise import Noise
from imgturbo.nets.spread import Spread
from imgturbo.nets.u_shaped import UShaped

__all__ = ["GatedBlock", "NAFNet"]

START = 0.1  # of β and γ


class GatedBlock(nn.Module):
    """The two residual steps of the module's page; (B, C, h, w) → (B, C, h, w).

    Args:
        channels: C.
        mixing: ``"depthwise"``, as published, or ``"dense"``, W₁ and D merged into one 3×3
            convolution over all channels: more operations, but faster ones.
    """

    def __init__(self, channels: int, mixing: str) -> None:
        super().__init__()
        self.near_norm = ChannelNorm(channels)
        if mixing == "dense":
            self.near: nn.Module = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        else:
            self.near = nn.Sequential(
                nn.Conv2d(channels, 2 * channels, 1),
                nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            )
        self.near_out = nn.Conv2d(channels, channels, 1)
        self.here_norm = ChannelNorm(channels)
        self.here = nn.Conv2d(channels, 2 * channels, 1)
        self.here_out = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.full((channels, 1, 1), START))
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), START))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.beta * self.near_out(gate(self.near(self.near_norm(h))))
        return h + self.gamma * self.here_out(gate(self.here(self.here_norm(h))))


class NAFNet(UShaped, ImageGenerator):
    """(B, C, H, W) → (B, C', H, W) for any H, W ≥ 1; see the module's page for the layers.

    Its stride is ``stem · 2**depth``. The number of channels doubles at each level.
    """

    def __init__(
        self, config: NAFNetConfig, in_channels: int, out_channels: int, *, direct: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, stride=config.stem * 2**config.depth)
        self.config = config
        self.stem_factor = config.stem
        self.direct = direct

        def stage(level: int, channels: int) -> nn.Module:
            blocks = config.middle if level == config.depth else config.blocks
            return nn.Sequential(*(GatedBlock(channels, config.mixing) for _ in range(blocks)))

        self.make_levels(in_channels * config.stem**2, config.width, config.depth, stage)
        features = max(8, 2 * out_channels, config.width // config.stem**2)
        norm = ChannelNorm(config.width)
        shuffled = (config.stem, features)
        self.make_end(norm, config.width, in_channels, out_channels, shuffled=shuffled)
        shrink(self.last)
        self.colours = nn.Conv2d(in_channels, out_channels, 1)
        matrix = torch.full((out_channels, in_channels), 1 / in_channels)
        if in_channels == out_channels:
            # Not by torch.eye, which on the meta device (shapes alone) takes torch seconds.
            matrix = torch.zeros(out_channels, out_channels).fill_diagonal_(1)
        self._set_colours(matrix, torch.zeros(out_channels))

    def make_finest(self) -> None:
        config = self.config
        self.spread: nn.Module = nn.Identity()
        if config.spread:
            self.spread = Spread(
                config.width, config.spread_maps, config.spread, direct=self.direct
            )

    def finest(self, h: Tensor) -> Tensor:
        return self.spread(h)

    def end(self, g: Tensor, u: Tensor) -> Tensor:
        return self.beside(F.silu(self.head(self.norm(g))), u)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        g = self.through_levels(F.pixel_unshuffle(u, self.stem_factor))
        return self.colours(u) + self.end(g, u)

    def narrow(self) -> NAFNet:
        if not self.config.spread:
            return self
        config = self.config.model_copy(update={"width": 1, "spread_maps": 1})
        return NAFNet(config, self.in_channels, self.out_channels, direct=True)

    @torch.no_grad()
    def fit_colours(self, u: Tensor, target: Tensor, valid: Tensor) -> None:
        """Set A, b to the least-squares affine map of pixels; the rest stays as it is.

        Args:
            u: (N, C) pixels of the input.
            target: (N, C') the same pixels of what it is to become.
            valid: (N,) bool, which of them count; without any, nothing changes.
        """
        if not valid.any():
            return
        u, target = u[valid].double().cpu(), target[valid].double().cpu()
        design = torch.cat([u, u.new_ones(len(u), 1)], dim=1)
        # By the pseudo-inverse: bands that are copies of one another leave A undetermined.
        solution = torch.linalg.pinv(design.T @ design, hermitian=True) @ (design.T @ target)
        self._set_colours(solution[:-1].T, solution[-1])

    @torch.no_grad()
    def _set_colours(self, matrix: Tensor, offset: Tensor) -> None:
        self.colours.weight.copy_(matrix[..., None, None])
        assert self.colours.bias is not None
        self.colours.bias.copy_(offset)
