r"""Whether error bars are honest: coverage, ranks, CRPS and energy score of samples.

Of N samples x̃_n and the truth x, a number at a time, the rank r = #{n : x̃_n < x} ∈ {0 … N} is
uniform where the samples come from the distribution that x came from (ties are broken at random).
With v ~ U(0, 1), u = (r + v)/(N + 1) is uniform on [0, 1] exactly, whatever N, so the central
interval of level α covers x where |2u − 1| ≤ α. Averaged over v,

    coverage(α) = Σ_r h_r (N + 1) · |[r/(N+1), (r+1)/(N+1)] ∩ [(1 − α)/2, (1 + α)/2]|

with h the normalised rank histogram. So one histogram holds the coverage at *every* level without
the bias of empirical quantiles (of 64 samples the usual 2.5 % and 97.5 % quantiles enclose 92 % of
a perfect model's truths, not 95 %).

    calibration error   median over 20 levels α ∈ [0.005, 0.995] of |coverage(α) − α|
                        (Radev et al. 2020, arXiv:2003.06281)
    CRPS                E|x̃ − x| − ½ E|x̃ − x̃'|, fair (unbiased for any N):
                        1/N Σ_n |x̃_n − x| − 1/(N(N−1)) Σ_n (2n − N − 1) x̃_(n),  x̃_(n) sorted
    energy score        the same with the RMS distance ‖·‖/√d of whole images of d valid numbers
                        (Gneiting & Raftery 2007, doi:10.1198/016214506000001437); with d = 1 it
                        is the CRPS

Both scores are 0 for a perfect, certain prediction, lower is better, in the units of x; of a single
certain value the CRPS is the absolute error. Ranks of neighbouring pixels are correlated, so the
χ² of the histogram is far larger than its degrees of freedom before the shape is off: the share of
pixels in the wrong place, ½ Σ_r |h_r − 1/(N+1)|, says how much it matters.

Which pixels enter must not depend on the truth: where x happens to be bright, a perfect model's
samples lie below it more often than not. Choose them by the condition.

Shapes: samples (B, N, C, H, W), target (B, C, H, W), ``valid`` (B, 1, H, W) bool or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.stats import chi2
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.metrics.diversity import pairwise_rms, require_samples, rms_errors
from imgturbo.metrics.image import masked_mean

__all__ = [
    "Uniformity",
    "calibration_error",
    "coverage_of_ranks",
    "crps",
    "energy_score",
    "interval_coverage",
    "rank_histogram",
    "uniformity",
]

_LEVELS = 20


def rank_histogram(
    samples: Tensor, target: Tensor, valid: Tensor | None = None, seed: int = 0
) -> Tensor:
    """How often the truth has each rank among the samples, (C, N + 1) int64 on the CPU.

    Histograms of several batches add up. ``seed`` is of the breaking of ties; the caller's random
    state is not touched.

    Raises:
        ImgturboError: shapes that do not fit.
    """
    require_samples(samples, target)
    truth = target[:, None]
    rank = (samples < truth).sum(1)
    ties = (samples == truth).sum(1)
    generator = torch.Generator(samples.device).manual_seed(seed)
    chance = torch.rand(rank.shape, generator=generator, device=rank.device, dtype=torch.float64)
    rank = rank + (chance * (ties + 1)).long()
    count, channels = samples.shape[1:3]
    slot = rank + (count + 1) * torch.arange(channels, device=rank.device).view(1, -1, 1, 1)
    if valid is not None:
        slot = slot[valid.bool().expand_as(slot)]
    flat = torch.bincount(slot.flatten(), minlength=channels * (count + 1))
    return flat.view(channels, count + 1).cpu()


def coverage_of_ranks(counts: Tensor, levels: Sequence[float]) -> Tensor:
    """Coverage of the central intervals of these levels, (…, L) float64, of counts (…, N + 1).

    NaN where nothing was counted.

    Raises:
        ImgturboError: a level outside 0 … 1.
    """
    wanted = _checked(levels)
    bins = counts.shape[-1]
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    low, high = (1 - wanted[:, None]) / 2, (1 + wanted[:, None]) / 2
    inside = (torch.minimum(edges[1:], high) - torch.maximum(edges[:-1], low)).clamp(min=0)
    counts = counts.double().cpu()
    return (counts @ (inside * bins).mT) / counts.sum(-1, keepdim=True)


def interval_coverage(
    lower: Tensor, upper: Tensor, target: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Share of valid numbers with lower ≤ x ≤ upper, (B,), of given planes (B, C, H, W)."""
    inside = (lower <= target) & (target <= upper)
    return masked_mean(inside.to(torch.float64), valid)


def calibration_error(counts: Tensor) -> float:
    """Median over 20 levels of |coverage − level|, of the ranks counted (N + 1,)."""
    levels = torch.linspace(0.005, 0.995, _LEVELS, dtype=torch.float64)
    # NumPy's median of an even number is the mean of the middle two; torch.median's is not.
    return float((coverage_of_ranks(counts, levels.tolist()) - levels).abs().quantile(0.5))


class Uniformity(NamedTuple):
    """How far a rank histogram is from a flat one.

    Attributes:
        chi_square: Σ (count − expected)² / expected.
        degrees: of freedom, N.
        p_value: of a χ² as large, were all the ranks *independent*; those of pixels are not.
        misplaced: share of the counts that would have to move to make it flat, 0 to 1.
    """

    chi_square: float
    degrees: int
    p_value: float
    misplaced: float


def uniformity(counts: Tensor) -> Uniformity:
    """Compare the ranks counted, (N + 1,), with a uniform distribution."""
    counts = counts.double()
    expected = counts.sum() / len(counts)
    statistic = float((counts - expected).square().sum() / expected)
    misplaced = float((counts - expected).abs().sum() / (2 * counts.sum()))
    degrees = len(counts) - 1
    return Uniformity(statistic, degrees, float(chi2.sf(statistic, degrees)), misplaced)


def crps(samples: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Fair continuous ranked probability score, mean over valid numbers, (B,).

    Raises:
        ImgturboError: fewer than two samples, or shapes that do not fit.
    """
    require_samples(samples, target, at_least=2)
    count = samples.shape[1]
    ordered = (samples - target[:, None]).sort(1).values  # small numbers: less is lost below
    weights = 2 * torch.arange(1, count + 1, dtype=samples.dtype, device=samples.device) - count - 1
    spread = (ordered * weights.view(1, -1, 1, 1, 1)).sum(1) / (count * (count - 1))
    return masked_mean(ordered.abs().mean(1) - spread, valid)


def energy_score(samples: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Fair energy score under the RMS distance of whole images, (B,).

    Raises:
        ImgturboError: fewer than two samples, or shapes that do not fit.
    """
    require_samples(samples, target, at_least=2)
    count = samples.shape[1]
    spread = pairwise_rms(samples, valid).sum((1, 2)) / (2 * count * (count - 1))
    return (rms_errors(samples, target, valid).mean(1) - spread).to(samples.dtype)


def _checked(levels: Sequence[float]) -> Tensor:
    wanted = torch.as_tensor(levels, dtype=torch.float64)
    if not bool(((wanted >= 0) & (wanted <= 1)).all()):
        raise ImgturboError(f"levels {list(levels)}: an interval's level lies between 0 and 1")
    return wanted
