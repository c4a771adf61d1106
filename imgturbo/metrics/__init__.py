"""Scores of images and of samples: pure functions of tensors and arrays."""

from __future__ import annotations

from imgturbo.metrics.image import ms_ssim, mse, psnr, ssim
from imgturbo.metrics.spectrum import power_spectrum, spectrum_scores

__all__ = ["ms_ssim", "mse", "power_spectrum", "psnr", "spectrum_scores", "ssim"]
