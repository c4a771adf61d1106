r"""What a telescope makes of a point: convolutions with kernels as wide as diffraction spikes.

    h ← h + W₂ (K ∗ gate(W₁ h)),        K: n × n on each of `maps` maps

The spikes of a star reach hundreds of pixels, and everywhere in the picture they are the same. A
network of small kernels must learn to draw them anew at every place; here the features say how
much light is spread, and K, learnt from all stars together, how. K ∗ is done by Fourier transforms
(zeros outside, as any other convolution), at a cost that hardly grows with n.

K = k / n: a step of Adam, which moves all n² numbers of k equally far, moves the sum along a spike
by no more than a small kernel's. k starts as a faint round halo, 0.1 / (1 + r)².
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.nets.layers import gate

__all__ = ["Spread"]

START = 0.1  # the middle of k


class Spread(nn.Module):
    """(B, C, h, w) → (B, C, h, w), see the module's page.

    Args:
        channels: C.
        maps: of light that is spread, each by a kernel of its own.
        side: n, odd; an output depends on the inputs (n − 1)/2 rows and columns around it.
        direct: convolve without transforms: the same numbers, far slower for a large n. A transform
            carries a NaN everywhere, so a probe of how far a network sees needs this form.

    Raises:
        ValueError: an even ``side``.
    """

    def __init__(self, channels: int, maps: int, side: int, *, direct: bool = False) -> None:
        super().__init__()
        if side % 2 == 0:
            raise ValueError(f"a kernel needs a middle: side {side} is even")
        self.side = side
        self.direct = direct
        self.light = nn.Conv2d(channels, 2 * maps, 1)
        self.kernels = nn.Parameter(torch.empty(maps, side, side))
        if not self.kernels.is_meta:  # there nothing is filled, and arange takes torch seconds
            away = torch.arange(side) - side // 2
            halo = START / (1 + torch.hypot(away[:, None].float(), away.float())).square()
            self.kernels.data.copy_(halo)
        self.out = nn.Conv2d(maps, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        light = gate(self.light(h))
        # Transforms know no half precision.
        with torch.autocast(h.device.type, enabled=False):
            spread = self.convolved(light.float() if light.dtype.itemsize < 4 else light)
        spread = spread.to(light.dtype).contiguous(memory_format=torch.channels_last)
        return h + self.out(spread)

    def convolved(self, light: Tensor) -> Tensor:
        """K ∗ light, (B, maps, h, w) → (B, maps, h, w)."""
        kernels, middle = (self.kernels / self.side).to(light.dtype), self.side // 2
        height, width = light.shape[-2:]
        if self.direct:
            # What is farther from a kernel's middle than the image is long meets zeros alone.
            down, along = min(middle, height - 1), min(middle, width - 1)
            kernels = kernels[:, middle - down : middle + down + 1]
            kernels = kernels[:, None, :, middle - along : middle + along + 1]
            return F.conv2d(light, kernels, padding=(down, along), groups=len(kernels))
        size = [fast_size(height + self.side - 1), fast_size(width + self.side - 1)]
        # torch's convolutions are correlations: the kernel is turned by 180° to do the same.
        product = torch.fft.rfft2(light.contiguous(), s=size) * torch.fft.rfft2(
            kernels.flip(1, 2), s=size
        )
        whole = torch.fft.irfft2(product, s=size)
        return whole[..., middle : middle + height, middle : middle + width]


def fast_size(size: int) -> int:
    """The smallest number ≥ ``size`` without a prime factor over 5."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
