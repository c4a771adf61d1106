"""Spectra: does the prediction hold the right structure at every scale, and no other?

P(k) is the azimuthal mean of |FFT|² of the image under a Hann taper, masked pixels set to zero in
both images alike; k in cycles per pixel, in bins of equal width up to the Nyquist frequency 0.5.
A telescope's image û is light and noise, and the noise's power N(k) is nothing that a prediction u
should have. It is taken from the darker half of the target (where k is small, at least as much as
at any larger k: noise that resampling has correlated falls with k), and only bins count in which
P_û stands out from N, by a factor of two and by more than chance gives (:func:`outstanding`):

    E = mean_k | log₁₀ P_u(k) − log₁₀ (P_û(k) − N(k)) |        (dex),
    γ = mean_k Re C(k) / √(P_u(k) (P_û(k) − N(k))),   C the mean of FFT(u) FFT(û)*,

0.3 dex being a factor of two in power at a typical scale. A blurred prediction fails E at high k
even where its PSNR is good. The coherence γ says whether it is *this* structure: it is 1 for the
noiseless truth and 0 for power that was made up, however right its amount (E cannot tell).
Pictures made for the eye have no noise of their own: N = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "ByScale",
    "Powers",
    "SpectrumScores",
    "by_scale",
    "darker_half",
    "falling",
    "outstanding",
    "power_spectrum",
    "powers",
    "spectrum_scores",
]

_SIGNIFICANCE = 4.0  # standard deviations of a normal distribution: 3 in 100,000 by chance
_FLOOR = 1e-12  # relative to the mean power: keeps log finite for empty bins of constant images
_BOX = 9  # pixels a side over which an image is averaged to tell dark from bright


class SpectrumScores(NamedTuple):
    """E in dex and γ, each (B,); NaN where no bin stands out from the noise."""

    error: Tensor
    coherence: Tensor


class ByScale(NamedTuple):
    """k (K,) in cycles per pixel, P_u / (P_û − N) and γ (B, C, K); NaN where nothing stands out."""

    k: Tensor
    ratio: Tensor
    coherence: Tensor


def power_spectrum(image: Tensor, valid: Tensor | None = None, bins: int = 32) -> Tensor:
    """Azimuthally averaged power, (B, C, bins); ``image`` (B, C, H, W), ``valid`` (B, 1, H, W)."""
    modes = _modes(image, valid)
    return _rings(modes.abs().square(), image, bins)


def spectrum_scores(
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    bins: int = 32,
    *,
    noisy: bool = False,
) -> SpectrumScores:
    """E and γ of the module's page, means over bins and bands.

    Args:
        pred: (B, C, H, W).
        target: (B, C, H, W).
        valid: (B, 1, H, W), or None.
        bins: of k; fewer for images so small that a bin would be empty.
        noisy: whether the target has noise of its own, as skies have; without, N = 0.
    """
    bins = max(2, min(bins, min(pred.shape[-2:]) // 4))  # every bin must hold some modes
    if noisy:
        found = powers(pred, target, valid, bins)
        power, common = found.made, found.common
        seen, counted = _less_noise(found.seen, found.noise, found.modes)
    else:
        u, t = _modes(pred, valid), _modes(target, valid)
        power, seen, common = _compared(u, t, target, bins)
        counted = torch.ones_like(seen, dtype=torch.bool)
    floor = _FLOOR * seen.mean(-1, keepdim=True) + torch.finfo(seen.dtype).tiny
    error = (torch.log10(power + floor) - torch.log10(seen + floor)).abs()
    coherence = common / ((power + floor) * (seen + floor)).sqrt()
    return SpectrumScores(*(_mean_of(score, counted) for score in (error, coherence)))


class Powers(NamedTuple):
    """By scale, (B, C, K) each: P_u, P_û, Re C and N, and how many modes they are means of."""

    made: Tensor
    seen: Tensor
    common: Tensor
    noise: Tensor
    modes: Tensor


def powers(pred: Tensor, target: Tensor, valid: Tensor | None = None, bins: int = 32) -> Powers:
    """The powers of a prediction and its target with noise; arguments as of the scores."""
    u, t = _modes(pred, valid), _modes(target, valid)
    made, seen, common = _compared(u, t, target, bins)
    known = torch.ones_like(target[:, :1]).bool() if valid is None else valid.bool()
    dark, share = darker_half(target.where(known, 0), known, _taper(target))
    noise = falling(_rings(_modes(dark, None).abs().square(), target, bins) / share[..., None])
    modes = 2 * _rings(torch.ones_like(u.abs()), target, bins, mean=False)  # half is stored
    return Powers(made, seen, common, noise, modes)


def by_scale(parts: Sequence[Powers]) -> ByScale:
    """Power ratio and coherence of a field that was measured in parts of one size."""
    made, seen, common, noise = (
        torch.stack(of).mean(0) for of in list(zip(*parts, strict=True))[:-1]
    )
    modes = torch.stack([part.modes for part in parts]).sum(0)
    light, counted = _less_noise(seen, noise, modes)
    counted = counted & (made > 0) & (light > 0)
    ratio = torch.where(counted, made / light, torch.nan)
    coherence = torch.where(counted, common / (made * light).sqrt(), torch.nan)
    bins = made.shape[-1]
    k = (torch.arange(bins, dtype=made.dtype) + 0.5) / bins * 0.5
    return ByScale(k, ratio, coherence)


def _compared(u: Tensor, t: Tensor, image: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """P_u, P_û and Re C of modes u and û of an image, each (B, C, bins)."""
    products = (u.abs().square(), t.abs().square(), (u * t.conj()).real)
    made, seen, common = (_rings(product, image, bins) for product in products)
    return made, seen, common


def _less_noise(seen: Tensor, noise: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    """P_û − N, and in which bins P_û stands out."""
    return (seen - noise).clamp(min=0), seen > outstanding(modes) * noise


def darker_half(image: Tensor, valid: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """What an image holds where it is dark, mostly noise, and 0 elsewhere.

    Dark is where the mean over 9 × 9 pixels lies below its own median over the image, a band at a
    time; the level of what is dark is subtracted.

    Args:
        image: (B, C, H, W), 0 where not ``valid`` (B, 1, H, W).
        taper: (H, W), by which images are multiplied before they are transformed.

    Returns:
        The darker half (B, C, H, W), and its share (B, C) of the power that noise over all valid
        pixels would have.
    """
    known = F.avg_pool2d(valid.to(image.dtype), _BOX, stride=1, padding=_BOX // 2)
    level = F.avg_pool2d(image, _BOX, stride=1, padding=_BOX // 2) / known.clamp(min=1e-6)
    inside = level.masked_fill(~valid, torch.nan).flatten(2)
    dark = valid & (level <= inside.nanmedian(-1).values[..., None, None])
    count = dark.flatten(2).sum(-1)
    mean = image.where(dark, 0).flatten(2).sum(-1) / count.clamp(min=1)
    weight = taper.square()
    share = (dark * weight).sum((-2, -1)) / (valid * weight).sum((-2, -1)).clamp(min=1e-12)
    return (image - mean[..., None, None]).where(dark, 0), share.clamp(min=1e-6)


def outstanding(modes: Tensor) -> Tensor:
    """How many times the noise's power a mean over ``modes`` must be to be no chance; at least 2.

    The power of noise in m modes of a real image is that of m normal numbers, m P/N ~ χ²_m; its
    quantile is that of Wilson & Hilferty (1931).
    """
    share = 2 / (9 * modes.clamp(min=1))
    return ((1 - share + _SIGNIFICANCE * share.sqrt()) ** 3).clamp(min=2)


def falling(power: Tensor) -> Tensor:
    """Powers (…, K), raised to the largest of those at larger k; k rises along the last axis.

    What is dark was chosen by its level, and so lacks the noise's own large scales.
    """
    return power.flip(-1).cummax(-1).values.flip(-1)


def _mean_of(score: Tensor, counted: Tensor) -> Tensor:
    """Mean over bins and bands of those that count, (B,); NaN without any."""
    return score.where(counted, 0).flatten(1).sum(1) / counted.flatten(1).sum(1)


def _taper(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return torch.outer(
        torch.hann_window(height, periodic=False, dtype=image.dtype, device=image.device),
        torch.hann_window(width, periodic=False, dtype=image.dtype, device=image.device),
    )


def _modes(image: Tensor, valid: Tensor | None) -> Tensor:
    if valid is not None:
        image = image.where(valid.bool(), 0)
    # The mean would leak through the taper's side lobes into every low bin.
    image = image - image.mean((-2, -1), keepdim=True)
    return torch.fft.rfft2(image * _taper(image), norm="ortho")


def _rings(values: Tensor, image: Tensor, bins: int, *, mean: bool = True) -> Tensor:
    """Means or sums of ``values``, a number a mode of ``image``, over rings of k: (B, C, bins)."""
    height, width = image.shape[-2:]
    ky = torch.fft.fftfreq(height, device=image.device).abs()
    kx = torch.fft.rfftfreq(width, device=image.device)
    k = torch.hypot(ky[:, None], kx[None, :])
    index = (k / 0.5 * bins).long()
    inside = ((index < bins) & (k > 0)).flatten()
    index = index.flatten()[inside]
    counts = torch.bincount(index, minlength=bins).clamp(min=1)
    sums = values.new_zeros(*image.shape[:2], bins)
    sums.index_add_(2, index, values.flatten(2)[..., inside])
    return sums / counts if mean else sums
