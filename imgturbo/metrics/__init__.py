"""Scores of images and of samples: pure functions of tensors and arrays."""

from __future__ import annotations

from imgturbo.metrics.image import ms_ssim, mse, psnr, ssim
from imgturbo.metrics.spectrum import log_spectrum_error, power_spectrum

__all__ = ["log_spectrum_error", "ms_ssim", "mse", "power_spectrum", "psnr", "ssim"]
