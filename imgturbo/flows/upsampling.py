r"""Edge-aware upsampling: a coarse x̃ brought to the pixels of a fine guide g.

    x̂_p = Σ_q w_pq x_q / Σ_q w_pq,    w_pq = exp(−|p − q|²/2σ_s² − |g_p − g_q|₁²/2σ_g²)

the joint bilateral filter, q over a small square around p, applied after every doubling of the
resolution, with the guide averaged down to that resolution. Colours thus spread as far as the
guide is smooth and stop at its edges. Doubling repeats each pixel rather than interpolating it:
what is interpolated has already mixed the two sides of an edge. A ratio that is no power of two
ends with a bilinear step of less than two, filtered likewise.

Each output is a convex combination of inputs from a finite distance, so values stay in their
range and windows agree with the whole image away from their borders; and with a small square at
each resolution time and memory do not grow with the square of the ratio.

Kopf et al. 2007, *Joint Bilateral Upsampling*, doi:10.1145/1276377.1276497; the published
colorization (arXiv:1907.02392) filters once, with σ_s of 1.5 coarse pixels and σ_g = 0.1 of the
stretched luminance.
"""

from __future__ import annotations

import math

import torch
from kornia.filters import joint_bilateral_blur
from torch import Tensor
from torch.nn.functional import interpolate

from imgturbo.errors import ImgturboError

__all__ = ["joint_bilateral_upsample"]

_STRIP = 256  # rows


def joint_bilateral_upsample(
    x: Tensor, guide: Tensor, sigma_space: float = 1.5, sigma_guide: float = 0.1
) -> Tensor:
    """Bring x to the resolution of the guide, its edges to those of the guide.

    Args:
        x: (B, C, h, w).
        guide: (B, G, H, W), H ≥ h and W ≥ w; any ratio, usually an integer.
        sigma_space: in pixels of each resolution on the way; the filter reaches 1.5 of it.
        sigma_guide: in the guide's own units, summed over its bands.

    Returns:
        (B, C, H, W), in the dtype of x. NaN of either reaches a finite distance.

    Raises:
        ImgturboError: x is larger than the guide, or of another batch.
    """
    (batch, _, h, w), (height, width) = x.shape, guide.shape[2:]
    if len(guide) != batch or height < h or width < w:
        raise ImgturboError(
            f"cannot upsample {tuple(x.shape)} by a guide {tuple(guide.shape)}; "
            "the guide must have as many images, and no fewer pixels"
        )
    guide = guide.to(x.dtype)
    while (h, w) != (height, width):
        if 2 * h <= height and 2 * w <= width:
            h, w = 2 * h, 2 * w
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        else:
            h, w = height, width
            x = interpolate(x, (h, w), mode="bilinear", align_corners=False)
        here = guide if (h, w) == (height, width) else interpolate(guide, (h, w), mode="area")
        x = _filter(x, here, sigma_space, sigma_guide)
    return x


def _filter(x: Tensor, guide: Tensor, sigma_space: float, sigma_guide: float) -> Tensor:
    """The filter at one resolution, some rows at a time: it takes ten planes beside its input."""
    reach = math.ceil(1.5 * sigma_space)
    height = x.shape[2]
    strips = []
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        above, below = min(reach, top), min(reach, height - bottom)
        rows = slice(top - above, bottom + below)
        strip = joint_bilateral_blur(
            x[:, :, rows],
            guide[:, :, rows],
            kernel_size=2 * reach + 1,
            sigma_color=sigma_guide,
            sigma_space=(sigma_space, sigma_space),
            border_type="replicate",
        )
        strips.append(strip[:, :, above : above + bottom - top])
    return torch.cat(strips, dim=2)
