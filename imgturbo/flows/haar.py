r"""Halve the resolution and lose nothing: Haar wavelets, and plain 2×2 blocks.

Of every 2×2 block of each channel the orthonormal Haar transform takes

    ⎡TL TR⎤      a = ½(TL + TR + BL + BR)   average       h = ½(TL − TR + BL − BR)   left − right
    ⎣BL BR⎦  ↦   v = ½(TL + TR − BL − BR)   top − bottom  d = ½(TL − TR − BL + BR)   diagonal

so (B, C, H, W) ↔ (B, 4C, H/2, W/2), and with the scale r ("rebalance") on all four

    log|det| = C·H·W · ln r.

``order="channel"`` groups the output by input channel (a₁ h₁ v₁ d₁ a₂ …), ``order="band"`` by
wavelet (a₁ a₂ … h₁ h₂ …), so that a split after it can keep the averages. ``PixelUnshuffle`` only
moves the four pixels to channels (the downsampling of i-RevNet, Jacobsen et al. 2018,
arXiv:1802.07088, which the published colorization network uses at three of its four scales).

Haar in flows: Ardizzone et al. 2019 (arXiv:1907.02392), section 3.3.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import Condition, Transform, full_precision

__all__ = ["HaarDownsampling", "HaarUpsampling", "PixelUnshuffle"]

Order = Literal["channel", "band"]


def analyse(x: Tensor, order: Order, scale: float) -> Tensor:
    """(B, C, H, W) → (B, 4C, H/2, W/2), each wavelet times ``scale``; orthonormal at 1."""
    if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
        raise ImgturboError(
            f"cannot halve an image of shape {tuple(x.shape)}: height and width must be even; "
            "crop or pad it"
        )
    top, bottom = x[:, :, 0::2], x[:, :, 1::2]
    both, difference = top + bottom, top - bottom
    bands = [
        both[..., 0::2] + both[..., 1::2],
        both[..., 0::2] - both[..., 1::2],
        difference[..., 0::2] + difference[..., 1::2],
        difference[..., 0::2] - difference[..., 1::2],
    ]
    return torch.stack(bands, dim=2 if order == "channel" else 1).flatten(1, 2) * (0.5 * scale)


def synthesise(y: Tensor, order: Order, scale: float) -> Tensor:
    """(B, 4C, H, W) → (B, C, 2H, 2W); undoes ``analyse`` at ``1/scale``."""
    if y.ndim != 4 or y.shape[1] % 4:
        raise ImgturboError(
            f"cannot double an image of shape {tuple(y.shape)}: its channels must come in fours, "
            "one for each wavelet"
        )
    batch, channels, height, width = y.shape
    y = y * (0.5 * scale)
    if order == "channel":
        a, h, v, d = y.unflatten(1, (channels // 4, 4)).unbind(2)
    else:
        a, h, v, d = y.chunk(4, dim=1)
    top = torch.stack([a + v + h + d, a + v - h - d], dim=-1)
    bottom = torch.stack([a - v + h - d, a - v - h + d], dim=-1)
    blocks = torch.stack([top, bottom], dim=3)  # (B, C, H, 2, W, 2)
    return blocks.reshape(batch, channels // 4, 2 * height, 2 * width)


def _log_det(x: Tensor, rebalance: float) -> Tensor:
    return x.new_full((len(x),), x[0].numel() * math.log(rebalance))


class _Haar(Transform):
    def __init__(self, order: Order = "channel", rebalance: float = 1.0) -> None:
        super().__init__()
        if rebalance <= 0:
            raise ImgturboError(f"rebalance must be above zero, not {rebalance}")
        self.order: Order = order
        self.rebalance = rebalance

    def extra_repr(self) -> str:
        return f"order={self.order!r}, rebalance={self.rebalance}"


class HaarDownsampling(_Haar):
    """(B, C, H, W) → (B, 4C, H/2, W/2) for even H and W.

    Args:
        order: of the output's channels, see the module's page.
        rebalance: r > 0, the scale of all wavelets; 1 is orthonormal.

    Raises:
        ImgturboError: height or width is odd (``forward``), or the channels do not come in fours
            (``inverse``).
    """

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        x = full_precision(x)
        return analyse(x, self.order, self.rebalance), _log_det(x, self.rebalance)

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        return synthesise(full_precision(z), self.order, 1 / self.rebalance)


class HaarUpsampling(_Haar):
    """(B, 4C, H, W) → (B, C, 2H, 2W); arguments and errors as for ``HaarDownsampling``."""

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        x = full_precision(x)
        return synthesise(x, self.order, self.rebalance), _log_det(x, self.rebalance)

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        return analyse(full_precision(z), self.order, 1 / self.rebalance)


class PixelUnshuffle(Transform):
    """(B, C, H, W) → (B, 4C, H/2, W/2) by moving pixels alone; log|det| = 0.

    Args:
        order: "channel" puts the block's pixels of one input channel together (pixel (y, x) goes to
            channel 4c + 2y + x), "band" those at one place of the block (channel (2y + x)·C + c).

    Raises:
        ImgturboError: height or width is odd, or (``inverse``) the channels do not come in fours.
    """

    def __init__(self, order: Order = "channel") -> None:
        super().__init__()
        self.order: Order = order

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ImgturboError(
                f"cannot halve an image of shape {tuple(x.shape)}: height and width must be even; "
                "crop or pad it"
            )
        z = F.pixel_unshuffle(full_precision(x), 2)
        if self.order == "band":
            z = z.unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)
        return z, z.new_zeros(len(z))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        if z.ndim != 4 or z.shape[1] % 4:
            raise ImgturboError(
                f"cannot double an image of shape {tuple(z.shape)}: its channels must come in fours"
            )
        x = full_precision(z)
        if self.order == "band":
            x = x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)
        return F.pixel_shuffle(x, 2)

    def extra_repr(self) -> str:
        return f"order={self.order!r}"
