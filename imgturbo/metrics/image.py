"""Pixel metrics over valid pixels only: MSE, PSNR, SSIM, MS-SSIM.

All take images on a *stretched* scale whose data range is stated (1 by default: 0 is the sky, 1 the
stretch's bright end) and never guess it from the data, as ``data_range`` guessed from a float type
has inflated published SSIM values.

    MSE  = Σ m (p − t)² / Σ m
    PSNR = 10 log₁₀(R² / MSE)
    SSIM = (2 μ_p μ_t + c₁)(2 σ_pt + c₂) / ((μ_p² + μ_t² + c₁)(σ_p² + σ_t² + c₂)),
           c₁ = (0.01 R)², c₂ = (0.03 R)²

with local moments under an 11 × 11 Gaussian window of σ = 1.5 (Wang et al. 2004, IEEE TIP 13, 600);
a window counts only where all of its pixels are valid, so that neither masked pixels nor borders
enter. MS-SSIM is the five-scale product of Wang, Simoncelli & Bovik 2003.

Shapes: images (B, C, H, W), ``valid`` (B, 1, H, W) bool or None; every metric returns (B,), NaN
where nothing valid is left.
"""

from __future__ import annotations

import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["masked_mean", "ms_ssim", "mse", "psnr", "ssim"]

_WINDOW, _SIGMA = 11, 1.5
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def mse(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared error over valid pixels, (B,)."""
    return masked_mean((pred - target).square(), valid)


def psnr(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, data_range: float = 1.0
) -> Tensor:
    """Peak signal-to-noise ratio in dB over valid pixels, (B,); +inf for identical images."""
    return 10 * torch.log10(data_range**2 / mse(pred, target, valid))


def ssim(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, data_range: float = 1.0
) -> Tensor:
    """Structural similarity, mean over bands and over fully valid windows, (B,).

    NaN for images smaller than the 11-pixel window, or without one fully valid window.
    """
    similarity, _, whole = _ssim_maps(pred, target, valid, data_range)
    return masked_mean(similarity, whole)


def ms_ssim(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, data_range: float = 1.0
) -> Tensor:
    """Multi-scale SSIM over five scales, (B,); NaN where a side is below 176 pixels."""
    if min(pred.shape[-2:]) < _WINDOW * 2 ** (len(_MS_WEIGHTS) - 1):
        return pred.new_full((len(pred),), torch.nan)
    mask = _full_mask(pred, valid).to(pred.dtype)
    product = pred.new_ones(len(pred))
    for scale, weight in enumerate(_MS_WEIGHTS):
        last = scale == len(_MS_WEIGHTS) - 1
        similarity, contrast, whole = _ssim_maps(pred, target, mask > 0.5, data_range)
        mean = masked_mean(similarity if last else contrast, whole)
        product = product * mean.clamp(min=0) ** weight
        if not last:
            # A coarse pixel is valid where all four fine ones are.
            pred, target, mask = (
                avg_pool2d(pred * mask, 2),
                avg_pool2d(target * mask, 2),
                (avg_pool2d(mask, 2) > 0.999).to(pred.dtype),
            )
    return product


def _ssim_maps(
    pred: Tensor, target: Tensor, valid: Tensor | None, data_range: float
) -> tuple[Tensor, Tensor, Tensor]:
    """SSIM map, its contrast–structure factor, and where windows are whole; (B, C, H', W')."""
    mask = _full_mask(pred, valid)
    # Values under the mask may be NaN; the windows that touch them are discarded below.
    pred, target = pred.where(mask, 0), target.where(mask, 0)
    kernel = get_gaussian_kernel1d(_WINDOW, _SIGMA, dtype=pred.dtype, device=pred.device)

    def local_mean(u: Tensor) -> Tensor:
        return filter2d_separable(u, kernel, kernel, padding="valid")

    if min(pred.shape[-2:]) < _WINDOW:
        empty = pred[..., :0, :0]
        return empty, empty, mask[..., :0, :0]
    mu_p, mu_t = local_mean(pred), local_mean(target)
    var_p = local_mean(pred * pred) - mu_p * mu_p
    var_t = local_mean(target * target) - mu_t * mu_t
    cov = local_mean(pred * target) - mu_p * mu_t
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    contrast = (2 * cov + c2) / (var_p + var_t + c2)
    similarity = contrast * (2 * mu_p * mu_t + c1) / (mu_p * mu_p + mu_t * mu_t + c1)
    whole = local_mean(mask.to(pred.dtype)) > 1 - 1e-4
    return similarity, contrast, whole


def _full_mask(image: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return torch.ones_like(image[:, :1], dtype=torch.bool)
    return valid.bool()


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over channels and valid pixels, summed in float64; NaN where nothing is valid."""
    if valid is None:
        return values.double().mean((1, 2, 3)).to(values.dtype)
    valid = valid.bool()
    total = values.where(valid, 0).sum((1, 2, 3), dtype=torch.float64)
    count = valid.sum((1, 2, 3)) * values.shape[1]
    return (total / count).to(values.dtype)
