r"""Between codes and images: x̃ = p(z) of a vector z (B, n), z̃ = q(x) of an image x (B, C, S, S).

    code_to_image   W z → (B, w₀, s₀, s₀);   d times: blocks, up by pixel shuffle;   norm, silu, 3×3
    image_to_code   3×3;   d times: blocks, down by 2×2 at stride 2;   blocks, norm, silu;   W h + b

with s₀ = ⌈S/2^d⌉, as DCGAN (Radford, Metz & Chintala 2015, arXiv:1511.06434) with residual blocks
(He et al. 2015, arXiv:1512.03385) and, where that has batch norm, a norm over the channels of each
pixel: a sample's answer does not depend on what else is in its batch. S is any number: what the
grids have too much is cut off at the right and at the bottom, or repeated there.

A code has no place on the sky, so these two see and make images of one size, whole.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CodeToImageConfig, ImageToCodeConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.generator import GROWTH, Generator, pad_to_multiple
from imgturbo.nets.layers import ResidualStage, ShuffleConv, make_norm
from imgturbo.nets.noise import Noise

__all__ = ["CodeToImage", "ImageToCode"]

_WIDEST = 8  # times the width at full resolution, as DCGAN


def _widths(width: int, depth: int) -> list[int]:
    """Channels of every level, the finest first."""
    return [width * min(2**level, _WIDEST) for level in range(depth + 1)]


def _refuse_depth(name: str, depth: int, size: int) -> None:
    if 2**depth > GROWTH * size:
        raise ImgturboError(
            f"{name}: images of {size} pixels cannot be halved {depth} times; lower its depth"
        )


class CodeToImage(Generator):
    """(B, n) → (B, C', S, S); see the module's page.

    Attributes:
        side: S in pixels.
    """

    on_the_sky = False

    def __init__(self, config: CodeToImageConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, stochastic=config.noise_channels > 0)
        self.side = config.size
        _refuse_depth("code_to_image", config.depth, self.side)
        widths = _widths(config.width, config.depth)
        self.base = -(-self.side // 2**config.depth)
        self.first = nn.Linear(in_channels, widths[-1] * self.base**2)
        self.stages = nn.ModuleList(
            ResidualStage(
                channels, config, layer=index * config.blocks, stride=2 ** (config.depth - index)
            )
            for index, channels in enumerate(reversed(widths))
        )
        self.ups = nn.ModuleList(
            nn.Sequential(
                make_norm(config.norm, coarse), ShuffleConv(coarse, fine, factor=2, kernel=1)
            )
            for fine, coarse in reversed(list(itertools.pairwise(widths)))
        )
        self.norm = make_norm(config.norm, widths[0])
        self.last = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse images as codes, rows as images, and images of another size.

        Raises:
            ImgturboError: which of these, and what would fit.
        """
        if given is not None:
            raise ImgturboError(
                "code_to_image reads codes, but the side that it reads holds images; set the kind "
                "of this network (model.decoder or model.encoder) to image_to_code, unet or another"
            )
        if wanted is None:
            raise ImgturboError(
                "code_to_image writes images, but the other side holds rows of numbers; set the "
                "kind of this network (model.decoder or model.encoder) to mlp"
            )
        if wanted != self.side:
            raise ImgturboError(
                f"code_to_image makes images of {self.side} pixels, and data.crop or "
                f"prepare.tile.size is {wanted}; set its size (model.decoder.size) to {wanted}, "
                "or data.crop to the size of the tiles"
            )

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Images of codes; ``noise`` is that of its layers, if it has any.

        Raises:
            ImgturboError: ``u`` is no (B, n), or has another n.
        """
        if u.ndim != 2 or u.shape[1] != self.in_channels:
            raise ImgturboError(
                f"code_to_image reads codes (B, {self.in_channels}), not an array of shape "
                f"{tuple(u.shape)}; imgturbo sample draws such codes"
            )
        h = self.first(u).view(len(u), -1, self.base, self.base)
        h = h.contiguous(memory_format=torch.channels_last)
        for index, stage in enumerate(self.stages):
            if index:
                h = F.silu(self.ups[index - 1](h))
            h = stage(h, noise)
        return self.last(F.silu(self.norm(h)))[..., : self.side, : self.side]


class ImageToCode(Generator):
    """(B, C, S, S) → (B, n); see the module's page. Attribute ``size`` is S in pixels."""

    on_the_sky = False
    whole_image = True

    def __init__(self, config: ImageToCodeConfig, in_channels: int, out_channels: int) -> None:
        stride = 2**config.depth
        super().__init__(
            in_channels, out_channels, stride=stride, stochastic=config.noise_channels > 0
        )
        self.size: int = config.size
        _refuse_depth("image_to_code", config.depth, self.size)
        widths = _widths(config.width, config.depth)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            ResidualStage(channels, config, layer=level * config.blocks, stride=2**level)
            for level, channels in enumerate(widths)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in itertools.pairwise(widths)
        )
        self.norm = make_norm(config.norm, widths[-1])
        self.last = nn.Linear(widths[-1] * (-(-self.size // stride)) ** 2, out_channels)

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse rows as images, images as codes, and images of another size.

        Raises:
            ImgturboError: which of these, and what would fit.
        """
        if given is None:
            raise ImgturboError(
                "image_to_code reads images, but the side that it reads holds rows of numbers; set "
                "the kind of this network (model.decoder or model.encoder) to mlp or code_to_image"
            )
        if wanted is not None:
            raise ImgturboError(
                "image_to_code writes codes, but the other side holds images; set the kind of this "
                "network (model.decoder or model.encoder) to unet or another"
            )
        if given != self.size:
            raise ImgturboError(
                f"image_to_code reads images of {self.size} pixels, and data.crop or "
                f"prepare.tile.size is {given}; set its size (model.encoder.size) to {given}, or "
                "data.crop to the size of the tiles"
            )

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Codes of images; ``noise`` is that of its layers, if it has any.

        Raises:
            ImgturboError: ``u`` has another shape than (B, C, S, S).
        """
        wanted = (self.in_channels, self.size, self.size)
        if tuple(u.shape[1:]) != wanted:
            raise ImgturboError(
                f"image_to_code reads images (B, {', '.join(map(str, wanted))}), not an array of "
                f"shape {tuple(u.shape)}; cut images to that size"
            )
        h = pad_to_multiple(u, self.stride).contiguous(memory_format=torch.channels_last)
        h = self.stem(h)
        for level, stage in enumerate(self.stages):
            if level:
                h = self.downs[level - 1](h)
            h = stage(h, noise)
        return self.last(F.silu(self.norm(h)).flatten(1))
