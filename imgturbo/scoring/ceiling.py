"""What the truth itself would score.

A target is light and noise. No prediction can know the noise, so that even the noiseless truth is
far from a perfect score. Where the truth is not known, the target with fresh noise stands for it:
the one lacks the target's noise, the other has as much too much. What a prediction can still gain
is its distance to these rows, not to an infinite PSNR.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.detection import sky_noise
from imgturbo.metrics.spectrum import darker_half, power_spectrum

__all__ = ["noise_like", "seen_again"]

_BINS = 32


def seen_again(
    target: NDArray[np.float32], valid: NDArray[np.bool_], seed: int = 0
) -> NDArray[np.float32]:
    """The target with fresh noise on top of its own.

    Shot noise of sources is not in it, so that this is a little too good near them.

    Args:
        target: (C, H, W), in flux.
        valid: (H, W).
        seed: of the noise.

    Returns:
        (C, H, W); what is not valid is left as it is.
    """
    return np.where(valid, target + noise_like(target, valid, seed), target)


def noise_like(
    target: NDArray[np.float32], valid: NDArray[np.bool_], seed: int = 0
) -> NDArray[np.float32]:
    """Gaussian noise with the rms and the power spectrum of the sky: the darker half of each band.

    Args:
        target: (C, H, W), in flux.
        valid: (H, W).
        seed: of the noise.

    Returns:
        (C, H, W), about zero.
    """
    image = torch.from_numpy(np.where(valid, target, 0).astype(np.float64))[None]
    known = torch.from_numpy(valid)[None, None]
    dark, _ = darker_half(image, known, torch.ones(image.shape[-2:]))
    white = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).double()
    # Of each ring as much as the sky has; rings are wide, and between their middles it is linear.
    height, width = image.shape[-2:]
    bins = max(1, min(_BINS, min(height, width) // 4))  # every ring must hold some modes
    rings = (power_spectrum(dark, bins=bins) / power_spectrum(white, bins=bins)).sqrt()[0]
    k = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    middles = (np.arange(bins) + 0.5) / (2 * bins)
    made = np.zeros_like(target)
    for band, gain in enumerate(np.nan_to_num(rings.numpy(), posinf=0.0)):
        shaped = np.fft.rfft2(white[0, band].numpy()) * np.interp(k, middles, gain)
        noise = np.fft.irfft2(shaped, s=(height, width))
        own = dark[0, band].numpy()
        sigma = sky_noise(own[own != 0])
        noise *= sigma / (float(noise.std()) or 1.0)
        made[band] = noise
    return made
