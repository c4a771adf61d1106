"""Smooth local shifts: what a global map leaves, as a penalised spline of the residuals.

JWST mosaics misalign locally. The residual r at position q is modelled by cubic B-splines,
L(q) = Σ_kl c_kl B_k(x) B_l(y), under the penalty λ (‖D²_x c‖² + ‖D²_y c‖²) on second differences
(P-splines; Eilers & Marx 1996, Stat. Sci. 11, 89). λ is chosen by cross-validation, and where no λ
predicts held-out sources better than no local shift at all, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from data_prep.register.polynomial import folds

__all__ = ["LocalShift", "choose_local", "fit_local"]

Floats = NDArray[np.float64]

_SMOOTHING = tuple(10.0**power for power in (-2, -1, 0, 1, 2, 3))
_GAIN = 0.97  # a local shift must lower the held-out error by 3 %, or it is noise


@dataclass(frozen=True)
class LocalShift:
    """The displacement L, in target pixels; constant beyond the box of the sources."""

    coefficients: Floats  # (Kx, Ky, 2)
    low: Floats  # (2,) corner of the box of the sources
    high: Floats
    smoothing: float

    def __call__(self, points: Floats) -> Floats:
        """Displacement (N, 2) at points (N, 2)."""
        bx, by = self._bases(points)
        return np.stack([((bx @ self.coefficients[..., i]) * by).sum(1) for i in (0, 1)], axis=1)

    def _bases(self, points: Floats) -> tuple[Floats, Floats]:
        unit = np.clip((points - self.low) / (self.high - self.low), 0, 1)
        kx, ky = self.coefficients.shape[:2]
        return _splines(unit[:, 0], kx), _splines(unit[:, 1], ky)

    def to_dict(self) -> dict[str, object]:
        return {
            "coefficients": self.coefficients.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "smoothing": self.smoothing,
        }


def fit_local(points: Floats, residuals: Floats, smoothing: float, noise: Floats) -> LocalShift:
    """Penalised spline of ``residuals`` (N, 2) at ``points`` (N, 2), whose noise is (N,)."""
    low, high = points.min(axis=0), points.max(axis=0)
    high = np.maximum(high, low + 1)
    # About four sources a cell, up to sixteen cells along the longer side.
    cells = float(np.clip(np.sqrt(len(points) / 4), 1, 16))
    kx, ky = (int(np.ceil(cells * s)) + 3 for s in (high - low) / (high - low).max())
    spline = LocalShift(np.zeros((kx, ky, 2)), low, high, smoothing)
    bx, by = spline._bases(points)
    design = (bx[:, :, None] * by[:, None, :]).reshape(len(points), -1)
    rough_x = np.diff(np.eye(kx), 2, axis=0)
    rough_y = np.diff(np.eye(ky), 2, axis=0)
    penalty = np.kron(rough_x.T @ rough_x, np.eye(ky)) + np.kron(np.eye(kx), rough_y.T @ rough_y)
    # A little ridge draws coefficients without any source towards zero.
    weighted = (design * _weights(noise)[:, None]).T
    normal = weighted @ design + smoothing * penalty + 1e-6 * np.eye(kx * ky)
    solution = np.asarray(np.linalg.solve(normal, weighted @ residuals), float)
    return LocalShift(solution.reshape(kx, ky, 2), low, high, smoothing)


def choose_local(points: Floats, residuals: Floats, noise: Floats) -> LocalShift | None:
    """The local shift whose smoothing predicts held-out residuals best; None if none helps.

    Args:
        points, residuals: (N, 2) in pixels.
        noise: (N,) standard deviation of each residual; only its course matters.
    """
    if len(points) < 20:
        return None
    parts = folds(len(points))
    weight = _weights(noise)
    errors = []
    for smoothing in _SMOOTHING:
        total = 0.0
        for held in parts:
            kept = np.setdiff1d(np.arange(len(points)), held)
            shift = fit_local(points[kept], residuals[kept], smoothing, noise[kept])
            square = np.sum((residuals[held] - shift(points[held])) ** 2, axis=1)
            total += float(weight[held] @ square)
        errors.append(total)
    best = int(np.argmin(errors))
    if errors[best] > _GAIN**2 * float(weight @ np.sum(residuals**2, axis=1)):
        return None
    return fit_local(points, residuals, _SMOOTHING[best], noise)


def _weights(noise: Floats) -> Floats:
    """Inverse variances (N,), their mean 1."""
    weight = (noise.min() / noise) ** 2
    return np.asarray(weight / weight.mean())


def _splines(unit: Floats, count: int) -> Floats:
    """Cubic B-splines on [0, 1], (N, count), uniform knots."""
    step = 1 / (count - 3)
    knots = np.arange(-3, count + 1) * step
    inside = np.clip(unit, 0, 1 - 1e-12)  # the last interval is half open
    return BSpline.design_matrix(inside, knots, 3).toarray()
