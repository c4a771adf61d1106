r"""PatchGAN: a critic that scores every overlapping patch, pix2pix's default being 70 pixels wide.

    4×4 stride 2 → w,  → 2w,  → 4w  (`layers` of them),  4×4 stride 1 → 8w,  4×4 stride 1 → 1

each but the last followed by a leaky ReLU of slope 0.2; channels stop at 8w (Isola et al. 2017,
arXiv:1611.07004, appendix 6.1.2). The patch of n such layers is f(n) = 2 f(n − 1) + 2 with
f(0) = 7: 7, 16, 34, 70, 142 pixels. With spectral norm or none a score depends on its patch alone.
With `scales` above one, critics of the same make judge the image at halved resolutions too (Wang
et al. 2018, arXiv:1711.11585).

Batch and instance norm are there to compare with what was published, and then the rest is as
published too: norms after all layers but the first and the last, weights from N(0, 0.02), images
seen on −1…1 instead of 0…1. A batch norm takes the statistics of each call and keeps none, as a
critic is never in evaluation; samples of one call then depend on one another (``mixes_samples``).
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CriticConfig
from imgturbo.nets.critic import join
from imgturbo.nets.published import image_norm, published_start
from imgturbo.nets.spectral import SpectralConv2d

__all__ = ["PatchGAN"]


class PatchGAN(nn.Module):
    """(B, C[+Cc], H, W) → list of ``scales`` score maps (B, 1, h, w), finest first.

    Attributes:
        mixes_samples: whether real and fake images must be judged in calls of their own.
    """

    def __init__(self, config: CriticConfig, channels: int, condition_channels: int = 0) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.condition_channels = condition_channels
        self.mixes_samples = config.norm == "batch"
        self.scales = nn.ModuleList(
            _PatchScale(config, channels + condition_channels) for _ in range(config.scales)
        )
        # The smallest side that every scale can score without zeros around it.
        self.smallest = 3 * 2 ** (config.layers + config.scales - 1)

    def forward(
        self, u: Tensor, condition: Tensor | None = None, features: bool = False
    ) -> list[Tensor]:
        """Score images of any size, beside their condition where the critic was built with one.

        With ``features`` what the last layer reads, (B, 8w, h, w), in the place of the scores.
        Images too small for a single score are set in zeros, the value of sky that was not
        measured.

        Raises:
            ImgturboError: ``u`` is no image or has another number of channels.
            ValueError: a condition that is missing, or was not built for.
        """
        h = join(u, condition, self.channels, self.condition_channels, ndim=4)
        scores = []
        for index, scale in enumerate(self.scales):
            if index:
                h = F.avg_pool2d(h, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(scale(h, features))
        return scores


class _PatchScale(nn.Module):
    """One critic at one resolution; (B, C, H, W) → (B, 1, h, w)."""

    def __init__(self, config: CriticConfig, channels: int) -> None:
        super().__init__()
        # Stride 2 halves (rounding down), stride 1 takes one pixel; the last must leave one.
        self.smallest = 3 * 2**config.layers
        widths = [config.width * min(2**level, 8) for level in range(config.layers + 1)]
        sizes = [channels, *widths, 1]
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.published = config.norm in ("batch", "instance")
        for level, (before, after) in enumerate(itertools.pairwise(sizes)):
            stride = 2 if level < config.layers else 1
            layer: nn.Conv2d
            inner = 0 < level <= config.layers
            if config.norm == "spectral":
                layer = SpectralConv2d(before, after, 4, stride, 1)
            else:
                # In front of a batch norm, which has a bias of its own, one would be idle.
                bias = not (inner and config.norm == "batch")
                layer = nn.Conv2d(before, after, 4, stride, 1, bias=bias)
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            self.layers.append(layer)
            normed = self.published and inner
            self.norms.append(image_norm(config.norm, after, False) if normed else nn.Identity())
        if self.published:
            published_start(self)

    def forward(self, h: Tensor, features: bool = False) -> Tensor:
        lacking = [max(self.smallest - side, 0) for side in h.shape[2:]]
        if any(lacking):
            top, left = (side // 2 for side in lacking)
            h = F.pad(h, (left, lacking[1] - left, top, lacking[0] - top))
        if self.published:
            h = 2 * h - 1
        for layer, norm in zip(self.layers[:-1], self.norms, strict=False):
            h = F.leaky_relu(norm(layer(h)), 0.2)
        return h if features else self.layers[-1](h)
