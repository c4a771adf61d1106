r"""The generators of pix2pix and CycleGAN layer by layer as published, to compare with.

    Pix2PixUNet      d₁ … d_n: 4×4 stride 2, w · min(2ᵏ, 8) channels; leaky ReLU (0.2) between
                     u_n … u₁: ReLU, transposed 4×4 stride 2, norm; each beside its skip d_k
    CycleGANResNet   7×7; 3×3 stride 2, twice; blocks h + N(3×3 relu(N(3×3 h))); transposed 3×3
                     stride 2, twice; 7×7; reflection padding, norm and ReLU after all but the last

pix2pix: Isola et al. 2017, arXiv:1611.07004, section 6.1.1; CycleGAN: Zhu et al. 2017,
arXiv:1703.10593, section 7.2, after Johnson et al. 2016, arXiv:1603.08155. Where papers and the
authors' released networks differ (where dropout stands, no norm on the innermost features) these
follow the networks, which gave the published results. Weights start from N(0, 0.02). In front of
a batch norm, which has a bias of its own, convolutions have none.

Images were given to them on −1…1, and tanh kept their output there. Stretched values are 0…1 (in
pictures exactly, of FITS up to the percentile of the stretch), so v = 2u − 1 leads in and
(v + 1)/2 out. ``output: linear`` leaves the tanh away, which would clip bright sources.

Neither is offered for mosaics. Instance norm takes mean and variance over the whole image it is
given, so windows cannot agree (``whole_image``). Batch norm does so in training only and is frozen
afterwards; its windows agree, but the halo of the U-Net is as wide as its bottleneck sees.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CycleGANResNetConfig, Pix2PixUNetConfig
from imgturbo.nets.generator import ImageGenerator, pad_to_multiple
from imgturbo.nets.noise import Noise

__all__ = ["CycleGANResNet", "Pix2PixUNet", "image_norm", "published_start"]


def image_norm(kind: str, channels: int, running: bool = True) -> nn.Module:
    """A norm with statistics over the image, ``"batch"`` or ``"instance"``.

    Args:
        kind: batch norm learns a scale and a bias, instance norm has nothing to learn.
        channels: of its input.
        running: whether batch norm averages the statistics it meets, to use them in evaluation.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=running)
    return nn.InstanceNorm2d(channels)


@torch.no_grad()
def published_start(network: nn.Module) -> None:
    """Weights from N(0, 0.02), scales of norms from N(1, 0.02), no biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Pix2PixUNet(ImageGenerator):
    """(B, C, H, W) → (B, C', H, W) for any H, W ≥ 1; its stride is ``2**depth``.

    With the defaults this is ``unet_256``: 54.4 million parameters. Images grow to multiples of
    256 pixels, so for smaller crops choose a smaller ``depth`` (7 is ``unet_128``).
    """

    def __init__(self, config: Pix2PixUNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, stride=2**config.depth)
        self.whole_image = config.norm == "instance"
        self.bounded = config.output == "tanh"
        widths = [config.width * min(2**level, 8) for level in range(config.depth)]
        bias = config.norm == "instance"
        innermost = config.depth - 1

        self.downs = nn.ModuleList()
        for level, (before, after) in enumerate(itertools.pairwise([in_channels, *widths])):
            layers: list[nn.Module] = [nn.Conv2d(before, after, 4, 2, 1, bias=bias)]
            if 0 < level < innermost:
                layers.append(image_norm(config.norm, after))
            self.downs.append(nn.Sequential(*layers))

        self.ups = nn.ModuleList()
        for level, (after, before) in enumerate(itertools.pairwise([out_channels, *widths])):
            skip = before if level < innermost else 0
            layers = [nn.ConvTranspose2d(before + skip, after, 4, 2, 1, bias=bias or level == 0)]
            if level > 0:
                layers.append(image_norm(config.norm, after))
            if 4 <= level < innermost:
                layers.append(nn.Dropout(config.dropout))
            self.ups.append(nn.Sequential(*layers))
        published_start(self)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        h = 2 * u - 1  # in the layout that it comes in, see imgturbo.training.layout
        features = []
        for level, down in enumerate(self.downs):
            h = down(F.leaky_relu(h, 0.2) if level else h)
            features.append(h)
        h = self.ups[-1](F.relu(features[-1]))
        for level in reversed(range(len(self.ups) - 1)):
            h = self.ups[level](F.relu(torch.cat([features[level], h], dim=1)))
        return ((torch.tanh(h) if self.bounded else h) + 1) / 2


class CycleGANResNet(ImageGenerator):
    """(B, C, H, W) → (B, C', H, W) for any H, W ≥ 1; its stride is ``2**downs``.

    With the defaults this is ``resnet_9blocks``: 11.4 million parameters.
    """

    def __init__(self, config: CycleGANResNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, stride=2**config.downs)
        self.whole_image = config.norm == "instance"
        self.bounded = config.output == "tanh"
        widths = [config.width * 2**level for level in range(config.downs + 1)]
        samplers = list(itertools.pairwise(widths))
        bias = config.norm == "instance"

        def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
            return [convolution, image_norm(config.norm, channels), nn.ReLU()]

        layers: list[nn.Module] = [
            _Reflect(3),
            *normed(nn.Conv2d(in_channels, config.width, 7, bias=bias), config.width),
        ]
        for fine, coarse in samplers:
            layers += normed(nn.Conv2d(fine, coarse, 3, 2, 1, bias=bias), coarse)
        layers += [
            _Block(widths[-1], config.norm, config.dropout, bias) for _ in range(config.blocks)
        ]
        for fine, coarse in reversed(samplers):
            layers += normed(nn.ConvTranspose2d(coarse, fine, 3, 2, 1, 1, bias=bias), fine)
        layers += [_Reflect(3), nn.Conv2d(config.width, out_channels, 7)]
        self.layers = nn.Sequential(*layers)
        published_start(self)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        if min(u.shape[2:]) < 2 * self.stride:  # one pixel has no neighbour to be reflected
            u = pad_to_multiple(u, 2 * self.stride)
        h = self.layers(2 * u - 1)
        return ((torch.tanh(h) if self.bounded else h) + 1) / 2


class _Block(nn.Module):
    """h + N(3×3 drop(relu(N(3×3 h)))); (B, C, h, w) → (B, C, h, w)."""

    def __init__(self, channels: int, norm: str, dropout: float, bias: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _Reflect(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            image_norm(norm, channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            _Reflect(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            image_norm(norm, channels),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class _Reflect(nn.Module):
    """Mirror ``pad`` pixels at each border, the border itself not repeated.

    Written as concatenations: the gradient of torch's own is not deterministic on CUDA.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, h: Tensor) -> Tensor:
        for axis in (2, 3):
            size = h.shape[axis]
            before = h.narrow(axis, 1, self.pad).flip(axis)
            after = h.narrow(axis, size - 1 - self.pad, self.pad).flip(axis)
            h = torch.cat([before, h, after], dim=axis)
        return h
