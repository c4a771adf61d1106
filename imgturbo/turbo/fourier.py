"""Distances in Fourier space: of the modes of u − û, and of the powers of u and of û."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from imgturbo.metrics.spectrum import darker_half, falling, outstanding
from imgturbo.turbo.entries import Total, count, difference, require_images

__all__ = ["fourier", "spectrum"]

_DIRECTIONS = 4  # that a ring of the spectrum is cut into
POWER_FLOOR = 1e-6  # added to powers before the logarithm: a flat image has a finite gradient


@lru_cache(maxsize=16)
def _hann(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Hann window (H, W), positive at the border and of root mean square 1.

    It keeps the jump between opposite borders, which the transform takes for structure, out of
    the spectrum; the unit mean square leaves the power of white noise as it is.
    """
    rows, cols = (
        torch.hann_window(size + 2, periodic=False, dtype=dtype, device=device)[1:-1]
        for size in (height, width)
    )
    window = rows[:, None] * cols[None, :]
    return window / window.square().mean().sqrt()


@lru_cache(maxsize=16)
def _cells(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cell of each mode (H·W,) in the Fourier plane, and the number of modes in each cell (K,).

    Cell 0 is the mean level (and what a long side has within half a ring of it); the others are
    rings one frequency wide, a frequency being one wave along the short side, cut into four
    directions (opposite ones are one, as they are in a real image), the first of them about the
    x axis. The corners beyond the Nyquist frequency of either axis have rings of their own: there a
    telescope shows little, and a network that makes a grid of pixels, much.
    """
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    fx = torch.fft.fftfreq(width, dtype=torch.float64)[None, :]
    ring = ((fy.square() + fx.square()).sqrt() * min(height, width)).round().long()
    # Rounded, so that a mode and its opposite, half a turn away, cannot fall to two sides.
    turn = (torch.atan2(fy, fx) / torch.pi * _DIRECTIONS).round(decimals=6)
    direction = (turn + 0.5).floor().long() % _DIRECTIONS
    cell = torch.where(ring == 0, 0, 1 + ring * _DIRECTIONS + direction)
    _, index, modes = torch.unique(cell, return_inverse=True, return_counts=True)
    return index.flatten().to(device), modes.to(device)


def _spectrum_of(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    window = _hann(height, width, image.dtype, image.device)
    return torch.fft.fft2(image * window, norm="ortho")


def fourier(prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
    """Σ_k |F[w·(u − û)](k)|, w a Hann window, F orthonormal. Images (B, C, H, W).

    Raises:
        ImgturboError: not images.
    """
    require_images("fourier", prediction, 1)
    modes = _spectrum_of(difference(prediction, target, valid))
    return Total(modes.abs().flatten(1).sum(1), count(target, valid))


def spectrum(
    prediction: Tensor, target: Tensor, valid: Tensor, noisy: Sequence[bool] | None = None
) -> Total:
    """Mean over cells of |log P_u(k) − log P_û(k)|, times the count. Images (B, C, H, W).

    P is the power of the Hann-windowed, masked image, averaged over cells of the Fourier plane:
    rings one frequency wide, in four directions. The mean level (k = 0) is left out: after sky
    subtraction its logarithm is noise.

    What a telescope saw is light and noise, and the power of both is no power that a prediction
    should have. So on a ``noisy`` channel P_û is less by N(k), the power of the darker half of the
    target, and cells in which it does not stand out from N, by a factor of two and by more than
    chance gives, do not count: on empty sky nothing does.

    Args:
        noisy: for every channel whether it has noise of its own, as skies have and pictures that
            were made for the eye have not; None: none has.

    Raises:
        ImgturboError: not images, or a side of one pixel.
    """
    require_images("spectrum", prediction, 2)
    index, modes = _cells(*prediction.shape[-2:], prediction.device)

    def power(image: Tensor) -> Tensor:
        found = _spectrum_of(torch.where(valid, image, 0.0)).abs().square().flatten(2)
        cells = found.new_zeros((*found.shape[:2], len(modes))).index_add(2, index, found)
        return cells[..., 1:] / modes[1:]

    # A half-precision prediction is transformed in the target's precision.
    wanted, counted = power(target), target.new_ones(())
    if noisy is not None and any(noisy):
        window = _hann(*target.shape[-2:], target.dtype, target.device)
        dark, share = darker_half(torch.where(valid, target, 0.0), valid, window)
        noise = falling(power(dark) / share[..., None])  # cells are in the order of their rings
        noise = noise * torch.tensor(noisy, device=target.device)[:, None]
        counted = (wanted > noise * outstanding(modes[1:])).to(target.dtype)
        wanted = (wanted - noise).clamp(min=0)
    ratio = (power(prediction.to(target.dtype)) + POWER_FLOOR).log() - (wanted + POWER_FLOOR).log()
    distance = (ratio.abs() * counted).flatten(1).mean(1)
    entries = count(target, valid)
    return Total(distance * entries, entries)
