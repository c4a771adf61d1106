r"""φ(y): the features of the condition at every resolution of the invertible network.

    stem     y (B, C, sH, sW) → (B, F₀, H, W), s pixels of y along one of x
    level i  blocks on (B, Fᵢ, H/2ⁱ, W/2ⁱ), Fᵢ = min(2ⁱ·F₀, F_max), then half the resolution
    head i   3×3 to the channels that stage i's couplings read
    head n   for a dense backend: the mean over the pixels of one level more, then a dense layer

Unlike the flow it need not be invertible; it is trained with the flow by the same likelihood. There
are no image statistics in it (the norm is over the channels of one pixel), so that without a dense
backend windows agree with the whole image.

Ardizzone et al. 2019 (arXiv:1907.02392), sections 3.2–3.4; blocks after VGG (Simonyan & Zisserman
2015, arXiv:1409.1556) or ConvNeXt (Liu et al. 2022, arXiv:2201.03545).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import ConditionConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.layers import ChannelNorm

__all__ = ["ConditionNet"]


class _VGGBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = ChannelNorm(width)

    def forward(self, h: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(h)))


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.project = nn.Conv2d(4 * width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.project(F.gelu(self.expand(self.norm(self.spatial(h)))))


class ConditionNet(nn.Module):
    """A feature pyramid: y (B, C, sH, sW) → one tensor a stage, and a vector for the dense part.

    Args:
        config: kind and sizes.
        channels: C.
        heads: channels that each stage reads, finest first.
        dense: numbers that the dense backend reads; None: there is none.
    """

    def __init__(
        self, config: ConditionConfig, channels: int, heads: Sequence[int], dense: int | None = None
    ) -> None:
        super().__init__()
        self.channels = channels
        self.scale = config.scale
        self.frozen = config.frozen
        block = _VGGBlock if config.kind == "vgg" else _ConvNeXtBlock
        count = len(heads) + (dense is not None)
        widths = [min(config.width * 2**level, config.max_width) for level in range(count)]
        # Patches where the condition is finer; at equal resolution neighbours matter.
        kernel, padding = (config.scale, 0) if config.scale > 1 else (3, 1)
        self.stem = nn.Conv2d(channels, widths[0], kernel, stride=config.scale, padding=padding)
        self.levels = nn.ModuleList(
            nn.Sequential(*[block(width) for _ in range(config.blocks)]) for width in widths
        )
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, stride=2))
            for before, after in itertools.pairwise(widths)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(width, head, 3, padding=1) for width, head in zip(widths, heads, strict=False)
        )
        self.vector = None if dense is None else nn.Linear(widths[-1], dense)
        if config.frozen:
            for trunk in (self.stem, self.levels, self.downs):
                trunk.requires_grad_(False)

    def forward(self, y: Tensor) -> list[Tensor]:
        """Conditions, finest first, the dense backend's (B, dense) last.

        Raises:
            ImgturboError: ``y`` is no image, has another number of bands, or sides that cannot be
                halved as often as the flow does.
        """
        if y.ndim != 4 or y.shape[1] != self.channels:
            raise ImgturboError(
                f"this flow was trained on conditions of {self.channels} band(s), (B, "
                f"{self.channels}, H, W), not on an array of shape {tuple(y.shape)}; give it "
                "those bands (a grey image where one band is expected)"
            )
        multiple = self.scale * 2 ** (len(self.levels) - 1)
        if y.shape[2] % multiple or y.shape[3] % multiple:
            raise ImgturboError(
                f"the sides of the condition must be multiples of {multiple}, not "
                f"{y.shape[2]} × {y.shape[3]}; crop or pad it"
            )
        conditions = []
        h = self.stem(y)
        levels = cast("list[nn.Module]", list(self.levels))
        for index, level in enumerate(levels):
            h = level(h if index == 0 else self.downs[index - 1](h))
            if index < len(self.heads):
                # NCHW, the order in which the flow's channels are cut and joined.
                conditions.append(self.heads[index](h).contiguous())
        if self.vector is not None:
            conditions.append(self.vector(h.mean(dim=(2, 3))))
        return conditions
