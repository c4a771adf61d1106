"""HaarPSI: are edges of every orientation where they should be, as strong as they should be?

Reisenhofer, Bosse, Kutyniok & Wiegand 2018 (Signal Processing: Image Communication 61, 33;
arXiv 1607.06140). On images f of the range 0…255, averaged over 2 × 2 pixels, with the Haar
wavelets g_j^(k) of scale j = 1, 2, 3 and orientation k = horizontal, vertical (eqs. 5–11):

    HS^(k)(x) = l_α( ½ Σ_{j=1,2} S(|g_j^(k) ∗ f₁|(x), |g_j^(k) ∗ f₂|(x), C) )
    S(a, b, C) = (2ab + C) / (a² + b² + C),      l_α(x) = 1 / (1 + e^{−αx})
    W^(k)(x) = max_i |g_3^(k) ∗ f_i|(x)
    HaarPSI = ( l_α⁻¹( Σ_k Σ_x HS^(k) W^(k) / Σ_k Σ_x W^(k) ) )²,  l_α⁻¹(y) = ln(y/(1−y)) / α

with C = 30 and α = 4.2. 1 for equal images, near 0 for unrelated ones. What lies beyond the border
counts as zero, as in the authors' own program.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

__all__ = ["haarpsi"]

_C = 30.0
_ALPHA = 4.2
_SCALES = (1, 2, 3)


def haarpsi(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, data_range: float = 1.0
) -> Tensor:
    """Haar wavelet-based perceptual similarity, (B,), in 0…1, 1 for equal images.

    Args:
        pred, target: (B, C, H, W), range [0, data_range]; several channels are taken one by one and
            their weighted similarities pooled. The published index is that of a luminance, C = 1.
        valid: (B, 1, H, W) bool; wavelets that touch an invalid pixel do not count.
        data_range: what the paper's 255 stands for.

    Returns:
        (B,); NaN where nothing counts: no valid pixel, or two images without any structure.
    """
    if valid is not None:
        pred, target = pred.where(valid, 0), target.where(valid, 0)
    to_bytes = 255.0 / data_range
    both = [_halved(u.double() * to_bytes) for u in (pred, target)]
    coefficients = [[_haar(u, scale).abs() for scale in _SCALES] for u in both]
    similarity = torch.stack(
        [
            (2 * a * b + _C) / (a.square() + b.square() + _C)
            for a, b in zip(coefficients[0][:2], coefficients[1][:2], strict=True)
        ]
    ).mean(0)
    weight = torch.maximum(coefficients[0][2], coefficients[1][2])
    if valid is not None:
        weight = weight * _whole(valid)
    # A mean, so that the sums over channels, orientations and pixels are one.
    mean = (torch.sigmoid(_ALPHA * similarity) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    return (torch.logit(mean) / _ALPHA).square().to(pred.dtype)


def _halved(u: Tensor) -> Tensor:
    """Means over 2 × 2 pixels; an odd last row or column is filled up with zeros."""
    return avg_pool2d(pad(u, (0, u.shape[-1] % 2, 0, u.shape[-2] % 2)), 2)


def _haar(u: Tensor, scale: int) -> Tensor:
    """Horizontal and vertical Haar coefficients at every pixel, (B, 2C, H, W)."""
    side = 2**scale
    step = u.new_full((side, side), 1 / side)
    step[: side // 2] *= -1
    kernel = torch.stack([step, step.T])[:, None].repeat(u.shape[1], 1, 1, 1)
    return conv2d(_framed(u, side), kernel, groups=u.shape[1])


def _framed(u: Tensor, side: int) -> Tensor:
    """Zeros around, so that a window of an even side has an output for every pixel."""
    before, after = side // 2 - 1, side // 2
    return pad(u, (before, after, before, after))


def _whole(valid: Tensor) -> Tensor:
    """1 where the widest wavelet touches no invalid pixel; those beyond the border do no harm."""
    side = 2 ** _SCALES[-1]
    holes = _halved((~valid).double())
    return (avg_pool2d(_framed(holes, side), side, stride=1) == 0).double()
