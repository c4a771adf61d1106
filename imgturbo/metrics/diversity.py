r"""How good the best of N samples is, and how much the samples differ.

For samples x̃₁ … x̃_N of one image x of d valid numbers, data range 1:

    best of N, pixelwise      √( 1/d Σ_i min_n (x̃_{n,i} − x_i)² )
    best of N, per image      min_n √( 1/d Σ_i (x̃_{n,i} − x_i)² )
    variance                  1/d Σ_i 1/N Σ_n (x̃_{n,i} − mean_i)²
    mean distance             mean over pairs n < m of √( 1/d Σ_i (x̃_{n,i} − x̃_{m,i})² )

The *pixelwise* minimum may take every pixel and channel from another sample: no single sample is
that good, and the number falls with N even for pure noise. It is what the script behind the table
of Ardizzone et al. 2019 (arXiv:1907.02392, section 4.2, "MSE best of 8") computes, then averaged
over images; the minimal example of the same authors takes the *per-image* minimum, then the root
of the mean over images of its square. Both are here under names that say which. The variance is
the script's too: divided by N, not N − 1.

Shapes: samples (B, N, C, H, W), target (B, C, H, W), ``valid`` (B, 1, H, W) bool or None; every
score is (B,), NaN where nothing valid is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.metrics.image import masked_mean

__all__ = [
    "best_of_n_per_image",
    "best_of_n_pixelwise",
    "bootstrap_error",
    "mean_distance",
    "pairwise_rms",
    "require_samples",
    "rms_errors",
    "variance",
]


def best_of_n_pixelwise(samples: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """RMS error of the best sample *of every pixel and channel*, (B,)."""
    require_samples(samples, target)
    best = (samples - target[:, None]).square().amin(1)
    return masked_mean(best, valid).sqrt()


def best_of_n_per_image(samples: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """RMS error of the best sample *of every image*, (B,)."""
    return rms_errors(samples, target, valid).amin(1)


def rms_errors(samples: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """RMS error of every sample, (B, N); the first column is "best of 1"."""
    require_samples(samples, target)
    squares = (samples - target[:, None]).square()
    return torch.stack([masked_mean(s, valid) for s in squares.unbind(1)], 1).sqrt()


def variance(samples: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean over pixels and channels of the variance over the samples (divided by N), (B,)."""
    return masked_mean(samples.var(1, correction=0), valid)


def mean_distance(samples: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean RMS distance between two samples, (B,); exactly zero where all are equal.

    Raises:
        ImgturboError: fewer than two samples.
    """
    count = samples.shape[1]
    require_samples(samples, at_least=2)
    return pairwise_rms(samples, valid).sum((1, 2)) / (count * (count - 1))


def pairwise_rms(samples: Tensor, valid: Tensor | None = None) -> Tensor:
    """RMS distances between all samples of an image, (B, N, N), float64.

    By |a − b|² = |a|² + |b|² − 2 a·b, counted from the first sample: relative to the spread of the
    samples it is then exact to 1e-8, and zero for equal ones.
    """
    from_first = samples - samples[:, :1]
    if valid is not None:
        from_first = from_first.where(valid.bool()[:, None], 0)
    vectors = from_first.flatten(2).double()
    gram = vectors @ vectors.mT
    squares = gram.diagonal(dim1=1, dim2=2)
    distances = (squares[:, :, None] + squares[:, None, :] - 2 * gram).clamp(min=0)
    numbers = vectors.shape[2] * torch.ones(len(samples), device=samples.device)
    if valid is not None:
        numbers = valid.bool().sum((1, 2, 3)) * samples.shape[2]
    distances = (distances / numbers.double().view(-1, 1, 1)).sqrt()
    return distances - torch.diag_embed(distances.diagonal(dim1=1, dim2=2))


def bootstrap_error(scores: Tensor, resamples: int = 256, seed: int = 0) -> float:
    """Standard error of the mean of per-image scores (B,), by resampling images.

    The standard deviation of the means of ``resamples`` draws of B images with replacement, as the
    script of arXiv:1907.02392 does (256). NaN scores are left out; NaN for fewer than two.
    """
    known = scores[~scores.isnan()].double().cpu()
    if len(known) < 2:
        return float("nan")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(known), (resamples, len(known)), generator=generator)
    return float(known[rows].mean(1).std(correction=0))


def require_samples(samples: Tensor, target: Tensor | None = None, at_least: int = 1) -> None:
    """Refuse samples that are not (B, N, C, H, W), too few, or of another shape than the target.

    Raises:
        ImgturboError: see above.
    """
    if samples.ndim != 5 or samples.shape[1] < at_least:
        raise ImgturboError(
            f"samples of shape {tuple(samples.shape)} where (images, samples, bands, height, "
            f"width) with {at_least} samples or more belong; draw more of them"
        )
    if target is not None and target.shape != samples[:, 0].shape:
        raise ImgturboError(
            f"samples of {tuple(samples.shape[2:])} for images of {tuple(target.shape[1:])}; "
            "compare like with like"
        )
