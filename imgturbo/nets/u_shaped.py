r"""What every U-shaped network has in common: down to a coarse grid, and up again beside skips.

    h₀ = stem ∗ u                                    3×3, to `width` channels
    sᵢ = encoderᵢ(hᵢ),       hᵢ₊₁ = downᵢ ∗ sᵢ       2×2 of stride 2, channels doubled;  i = 0 … n−1
    g_n = bottom(h_n)
    gᵢ = decoderᵢ(finest(upᵢ gᵢ₊₁ + sᵢ))             1×1 and pixel shuffle; finest at i = 0 alone
    y = last ∗ (head(silu(norm(g₀))), u)             3×3 beside the input itself, at full size

What a stage is, and whether it is told more than h (noise, the time), a network says itself. Skips
are added: Ronneberger et al. 2015 (arXiv:1505.04597), where they are set side by side, has twice
the channels on the way up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.nets.layers import ShuffleConv

__all__ = ["UShaped"]


class UShaped(nn.Module):
    """The layers of the module's page and the way through them, for a network to inherit.

    Its ``__init__`` calls ``make_levels`` and then ``make_end``. The names of the attributes are
    those of saved weights, and their order is that in which a seed draws them.
    """

    stem: nn.Conv2d
    encoder: nn.ModuleList
    downs: nn.ModuleList
    bottom: nn.Module
    ups: nn.ModuleList
    decoder: nn.ModuleList
    norm: nn.Module
    head: nn.Module
    last: nn.Conv2d

    def make_levels(
        self, in_channels: int, width: int, depth: int, stage: Callable[[int, int], nn.Module]
    ) -> None:
        """The stem, the stages and what lies between them.

        Args:
            in_channels: of what the stem reads.
            width: channels at the finest level; they double at each level below.
            depth: n, how often the grid is halved.
            stage: (level, channels) → the layers of one stage; level n is the bottom. Called for
                the levels on the way down, the bottom, and the levels from the finest once more.
        """
        widths = [width * 2**level for level in range(depth + 1)]
        pairs = list(itertools.pairwise(widths))
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoder = nn.ModuleList(stage(level, widths[level]) for level in range(depth))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.bottom = stage(depth, widths[-1])
        self.ups = nn.ModuleList(
            ShuffleConv(coarse, fine, factor=2, kernel=1) for fine, coarse in pairs
        )
        self.make_finest()
        self.decoder = nn.ModuleList(stage(level, widths[level]) for level in range(depth))

    def make_finest(self) -> None:
        """Layers of ``finest``, for a network that has any."""

    def finest(self, h: Tensor) -> Tensor:
        """What is done to the finest level before its last stage; nothing unless a network does."""
        return h

    def make_end(
        self,
        norm: nn.Module,
        width: int,
        in_channels: int,
        out_channels: int,
        *,
        shuffled: tuple[int, int] | None = None,
    ) -> None:
        """The norm and the layers after it.

        Args:
            norm: of the finest level. The sum of all stages grows in training; without a norm the
                activation after it dies.
            width: channels of that level.
            in_channels: of the input, which stands beside the features.
            out_channels: of the output.
            shuffled: (s, features) to bring the level to s times its resolution with so many
                channels; None: it has the resolution of the input.
        """
        self.norm = norm
        self.head = nn.Identity()
        features = width
        if shuffled is not None:
            factor, features = shuffled
            self.head = ShuffleConv(width, features, factor=factor, kernel=3)
        self.last = nn.Conv2d(features + in_channels, out_channels, 3, padding=1)

    def through_levels(self, u: Tensor, *told: object) -> Tensor:
        """g₀ (B, width, h, w) of what the stem reads (B, C, h, w); ``told`` goes to every stage."""
        # From here on every layer keeps channels-last order, whatever the caller's.
        h = self.stem(u.contiguous(memory_format=torch.channels_last))
        skips = []
        for stage, down in zip(self.encoder, self.downs, strict=True):
            h = stage(h, *told)
            skips.append(h)
            h = down(h)
        h = self.bottom(h, *told)
        for level in reversed(range(len(self.ups))):
            h = self.ups[level](h).add_(skips.pop())
            h = self.decoder[level](self.finest(h) if level == 0 else h, *told)
        return h

    def end(self, g: Tensor, u: Tensor) -> Tensor:
        """y (B, C', H, W) of g₀ (B, width, h, w), beside the input u (B, C, H, W)."""
        # The norm's gradient needs its input alone.
        normed = F.silu(self.norm(g), inplace=not torch.is_grad_enabled())
        return self.beside(self.head(normed), u)

    def beside(self, features: Tensor, u: Tensor) -> Tensor:
        """The last kernel over the features and the input itself."""
        return self.last(torch.cat([features, u], dim=1))
