r"""Fréchet distance between two sets of images, on features that need no download.

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½

between normal distributions fitted to the features of both sets (Dowson & Landau 1982; for images
Heusel et al. 2017, arXiv:1706.08500). The last trace is the sum of the singular values of L₁ᵀ L₂
for any L Lᵀ = Σ, which is never complex and holds for singular covariances too.

The features are those of EfficientNet-Lite0 (:mod:`imgturbo.nets.efficientnet_lite`), not of the
Inception network of the published FID: the number is *not* comparable with any FID, and is called
what it is, :data:`NAME`. It falls as both sets grow (a covariance of 1280 features needs thousands
of images; of equal distributions, n images a side still differ by about tr Σ · 2/n), so n always
stands beside it and only distances at the same n may be compared.

The network sees three channels in [0, 1] at 224 × 224 pixels: three-band images as they are
(clipped as pictures are), any other number of bands one by one as grey images.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from imgturbo.errors import ImgturboError
from imgturbo.metrics.perceptual import Unavailable
from imgturbo.nets.efficientnet_lite import load_efficientnet_lite0
from imgturbo.nets.weights import MissingWeights

__all__ = [
    "NAME",
    "FeatureMoments",
    "frechet_distance",
    "frechet_features",
    "frechet_report",
    "image_frechet_distance",
]

NAME = "Fréchet distance (EfficientNet-Lite0)"
"""What the number is called wherever it is reported."""

_SIDE = 224  # pixels, of the network's training


def frechet_distance(mu1: Tensor, cov1: Tensor, mu2: Tensor, cov2: Tensor) -> float:
    """d² between N(μ₁, Σ₁) and N(μ₂, Σ₂); means (D,), covariances (D, D), symmetric.

    Zero for equal arguments, to rounding; never negative. Computed in float64.
    """
    cov1, cov2 = cov1.double(), cov2.double()
    overlap = torch.linalg.svdvals(_root(cov1).mT @ _root(cov2)).sum()
    apart = (mu1.double() - mu2.double()).square().sum()
    return max(0.0, float(apart + cov1.trace() + cov2.trace() - 2 * overlap))


def _root(covariance: Tensor) -> Tensor:
    """L (D, rank) with L Lᵀ = Σ; what rounding leaves of a singular matrix's zeros is dropped."""
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values.max()
    return vectors[:, kept] * values[kept].sqrt()


class FeatureMoments:
    """Mean and covariance of feature vectors, a batch at a time, in float64.

    Attributes:
        count: n, vectors seen.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._scatter = torch.zeros(0, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Take in features (B, D); batches are merged as by Chan, Golub & LeVeque 1979."""
        features = features.double().cpu()
        if not len(features):
            return
        mean = features.mean(0)
        centred = features - mean
        scatter = centred.mT @ centred
        if not self.count:
            self.count, self._mean, self._scatter = len(features), mean, scatter
            return
        total = self.count + len(features)
        step = mean - self._mean
        weight = self.count * len(features) / total
        self._scatter = self._scatter + scatter + weight * torch.outer(step, step)
        self._mean = self._mean + step * len(features) / total
        self.count = total

    @property
    def mean(self) -> Tensor:
        """μ (D,)."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Σ (D, D), unbiased.

        Raises:
            ImgturboError: fewer than two images were seen.
        """
        if self.count < 2:
            raise ImgturboError(
                f"{NAME}: {self.count} images have no covariance; give 2 or more, better thousands"
            )
        return self._scatter / (self.count - 1)


@torch.inference_mode()
def frechet_features(images: Tensor) -> Tensor:
    """Features (n, 1280) of images (B, C, H, W) in [0, 1]; n = B for C = 3, else B · C.

    Raises:
        Unavailable: the extra is not installed.
    """
    try:
        network = load_efficientnet_lite0()
    except MissingWeights as reason:
        raise Unavailable(f"{NAME} skipped: {reason}") from None
    images = images.float().clamp(0, 1)
    if images.shape[1] != 3:
        images = images.reshape(-1, 1, *images.shape[2:]).expand(-1, 3, -1, -1)
    if images.shape[2:] != (_SIDE, _SIDE):
        images = interpolate(images, (_SIDE, _SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    return network.to(images.device).features(images)


def frechet_report(one: FeatureMoments, other: FeatureMoments) -> dict[str, Any]:
    """``{"name": NAME, "value": d², "n": [n₁, n₂]}``: never the value without n."""
    value = frechet_distance(one.mean, one.covariance, other.mean, other.covariance)
    return {"name": NAME, "value": value, "n": [one.count, other.count]}


def image_frechet_distance(one: Iterable[Tensor], other: Iterable[Tensor]) -> dict[str, Any]:
    """:func:`frechet_report` of two sets of images, each batches (B, C, H, W) in [0, 1].

    Raises:
        Unavailable: the extra is not installed.
        ImgturboError: fewer than two images on a side.
    """
    sides = FeatureMoments(), FeatureMoments()
    for moments, batches in zip(sides, (one, other), strict=True):
        for images in batches:
            moments.update(frechet_features(images))
    return frechet_report(*sides)
