"""Smooth maps of the plane and their robust fit.

A map takes a predicted position p to the observed one,

    q = p + Σ_{i+j ≤ d} c_ij u^i v^j,    (u, v) = (p − centre)/scale,

with d = 0 a shift, d = 1 an affine map, d ≥ 2 a polynomial. Least squares, with pairs further off
than three standard deviations left out until nothing changes. For a Gaussian error of σ an axis,
the length of the residual is Rayleigh distributed with median σ√(2 ln 2) = 1.177 σ: σ is measured
by that median, which the outliers hardly move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

__all__ = [
    "Polynomial",
    "basis",
    "excess",
    "fit_polynomial",
    "fit_robust",
    "fit_weighted",
    "folds",
    "formal_error",
    "parameters",
    "rms",
]

Floats = NDArray[np.float64]

_LEAST = 1e-4  # pixels: noise of a position in a picture without noise


def parameters(degree: int) -> int:
    """Number of coefficients an axis, which is the least number of pairs."""
    return (degree + 1) * (degree + 2) // 2


def basis(points: Floats, degree: int) -> Floats:
    """Monomials u^i v^j, i + j ≤ degree, of points (N, 2): (N, P); the constant first."""
    u, v = points[:, 0], points[:, 1]
    return np.stack(
        [u ** (total - j) * v**j for total in range(degree + 1) for j in range(total + 1)], axis=1
    )


@dataclass(frozen=True)
class Polynomial:
    """The map p ↦ p + basis((p − centre)/scale) · coefficients, all in pixels."""

    degree: int
    coefficients: Floats  # (P, 2)
    centre: Floats  # (2,)
    scale: float

    def __call__(self, points: Floats) -> Floats:
        """Map points (N, 2)."""
        return points + basis((points - self.centre) / self.scale, self.degree) @ self.coefficients

    def to_dict(self) -> dict[str, object]:
        return {
            "degree": self.degree,
            "coefficients": self.coefficients.tolist(),
            "centre": self.centre.tolist(),
            "scale": self.scale,
        }


def fit_polynomial(
    predicted: Floats, observed: Floats, degree: int, noise: Floats | None = None
) -> Polynomial:
    """Least-squares map of ``predicted`` onto ``observed``, (N, 2), N ≥ parameters(degree).

    Args:
        noise: (N,) standard deviation of each pair; None: all alike.
    """
    centre = (predicted.min(axis=0) + predicted.max(axis=0)) / 2
    scale = float(np.abs(predicted - centre).max()) or 1.0
    design = basis((predicted - centre) / scale, degree)
    weight = np.ones((len(predicted), 1)) if noise is None else noise.min() / noise[:, None]
    solution = np.linalg.lstsq(weight * design, weight * (observed - predicted), rcond=None)[0]
    return Polynomial(degree, np.asarray(solution, float), centre, scale)


def fit_weighted(
    predicted: Floats, observed: Floats, degree: int, noise: Floats
) -> tuple[Polynomial, Floats]:
    """Fit that weighs each pair by its noise and by what the map cannot follow.

    Pairs differ from any map by more than the noise (N,) of their positions: by distortion, by
    the shapes of galaxies. That excess is found from the pairs together and added to each.

    Returns:
        the map, and the standard deviations (N,) that it was fitted with.
    """
    total = np.full(len(noise), 1.0)
    for _ in range(6):
        polynomial = fit_polynomial(predicted, observed, degree, total)
        residual = observed - polynomial(predicted)
        free = max(1 - parameters(degree) / len(noise), 0.1)
        total = np.hypot(np.maximum(noise, _LEAST), excess(residual / np.sqrt(free), noise))
    return polynomial, total


def formal_error(predicted: Floats, degree: int, noise: Floats, at: Floats) -> float:
    """Rms distance by which the pairs' noise (N,) misplaces their map at points (K, 2), pixels."""
    centre = (predicted.min(axis=0) + predicted.max(axis=0)) / 2
    scale = float(np.abs(predicted - centre).max()) or 1.0
    design, there = (basis((points - centre) / scale, degree) for points in (predicted, at))
    covariance = np.linalg.pinv((design / noise[:, None] ** 2).T @ design)
    return float(np.sqrt(2 * np.mean(np.einsum("kp,pq,kq->k", there, covariance, there))))


def excess(vectors: Floats, noise: Floats, share: Floats | None = None) -> float:
    """Standard deviation along an axis by which vectors (N, 2) are longer than their noise (N,).

    The root τ of Σ a |v|²/2/(s² + τ²) = Σ a (Mandel and Paule 1970, Anal. Chem. 42, 1194): what is
    well measured counts, what is not hardly disturbs. 0 where noise explains all.

    Args:
        share: a, (N,) what each vector stands for; None: all alike.
    """
    square = np.sum(np.square(vectors), axis=1) / 2
    if not len(square):
        return float("nan")
    floor = np.maximum(noise, _LEAST)

    def surplus(variance: float) -> float:
        return float(np.average(square / (floor**2 + variance), weights=share) - 1)

    high = float(square.max())
    if surplus(0.0) <= 0 or surplus(high) >= 0:
        return 0.0 if surplus(0.0) <= 0 else float(np.sqrt(high))
    return float(np.sqrt(brentq(surplus, 0.0, high, xtol=1e-9)))


def fit_robust(
    predicted: Floats, observed: Floats, degree: int, floor: float = 0.1
) -> tuple[Polynomial, NDArray[np.bool_]]:
    """Clipped fit: the map and which pairs it kept, never fewer than ``parameters(degree)``.

    Args:
        floor: pairs nearer than this (pixels) are never clipped; perfect data has σ = 0.
    """
    keep = np.ones(len(predicted), bool)
    polynomial = fit_polynomial(predicted, observed, degree)
    for _ in range(30):
        length = np.hypot(*(polynomial(predicted) - observed).T)
        limit = max(3 * float(np.median(length[keep])) / 1.177, floor)
        inside = length < limit
        if (inside == keep).all() or inside.sum() < parameters(degree):
            break
        keep = inside
        polynomial = fit_polynomial(predicted[keep], observed[keep], degree)
    return polynomial, keep


def folds(count: int, parts: int = 5) -> list[NDArray[np.int64]]:
    """Index sets of a cross-validation, the same at every call; leave-one-out for few pairs."""
    order = np.random.default_rng(0).permutation(count)
    return [np.sort(part) for part in np.array_split(order, min(parts, count))]


def rms(vectors: Floats) -> float:
    """Root mean square length of vectors (N, 2)."""
    return float(np.sqrt(np.mean(np.sum(np.square(vectors), axis=1)))) if len(vectors) else np.nan
