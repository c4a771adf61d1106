"""A shift from the images themselves, where they show too few sources to match.

The source image is brought onto the target's pixels by its coordinates. Both are filtered with a
difference of Gaussians, which takes out sky and haloes, and compressed, S = asinh(D/3σ), so that no
single core outweighs the rest. Over the pixels that both measured, the correlation at a shift u is

    ρ(u) = Σ (t(x) − t̄)(s(x − u) − s̄) / √(Σ (t − t̄)² Σ (s − s̄)²),

all sums and means over the overlap at u, by Fourier transforms (Padfield 2012, IEEE Trans. Image
Proc. 21, 2706; scikit-image's ``phase_cross_correlation`` with masks gives its maximum to a pixel).
Blobs correlate, whatever they are. So of what rises above the noise the maximum of ρ has to stand
out: from every other shift and from mirror images of the source, which hold the same objects
elsewhere. Or, where a lone object has nothing to stand out from, it must look the same, and lie so
close to where the coordinates say that accident would not put it there.

The maximum, of all of S then, is found to a fraction of a pixel by a parabola. Noise tilts ρ there
by as much as it does elsewhere, and a tilt g moves a maximum by g/|ρ''|; so along each axis

    s = σ(∂ρ/∂u far from the maximum) / |∂²ρ/∂u² at the maximum|,

with a robust σ, in which correlated noise counts as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates, prewitt

from data_prep.register.sources import WINDOW, bands_passed

__all__ = ["LARGEST", "Correlation", "correlate", "masked_correlation"]

Floats = NDArray[np.float64]
Plane = tuple[NDArray[Any], NDArray[np.bool_]]

LARGEST = 640  # pixels a side: what is larger has sources, or nothing

_SEEN = 2.0  # standard deviations above which there is something
_SOFT = 3.0  # standard deviations up to which compression is nearly linear
_OVERLAP = 0.4  # of the largest overlap: below it a correlation rests on too little
_ALIKE = 0.5  # correlation of two images of one sky, at least
_OUTSTANDING, _DIFFERENT = 1.5, 1.12  # times the next best: anywhere, and at its place
_UNLIKELY = 0.02  # chance of the nearest of two or three objects to lie that near
_VAGUE = 1.0  # pixels: a shift that is known no better is not known
_LUCKY = 1e-3  # chance of a lone object within that distance of its place
_SAME = 0.92  # correlation of a lone object with itself; two round galaxies have up to 0.91
_FEW = 64  # pixels, or shifts: less is nothing to judge by
_NEAR = 5  # pixels about the maximum that belong to it


@dataclass(frozen=True)
class Correlation:
    """What two images have in common.

    Attributes:
        shift: (2,) x, y in target pixels, to be added to where the coordinates put the source.
        error: (2,) its standard deviations.
        peak: the correlation there, at most 1.
        rival: the highest elsewhere or in a mirror image.
        luck: chance that a lone object lies that near to its place, by the area of the frame.
    """

    shift: Floats
    error: Floats
    peak: float
    rival: float
    luck: float

    @property
    def enough(self) -> bool:
        """Whether it is one sky that they show."""
        if not (self.peak > _ALIKE and np.hypot(*self.error) < _VAGUE):
            return False
        apart = self.peak / max(self.rival, 1e-6)
        if self.luck < _LUCKY:
            return apart > _DIFFERENT or self.peak > _SAME
        return apart > _OUTSTANDING and self.luck < _UNLIKELY

    def __str__(self) -> str:
        return (
            f"correlation {self.peak:.2f} at a shift of {np.hypot(*self.shift):.1f} pixels, "
            f"{self.rival:.2f} elsewhere or mirrored"
        )


def correlate(
    source: Plane, target: Plane, to_source: Callable[[Floats], Floats], search: float
) -> Correlation | None:
    """The shift between two images; None where too little of them overlaps.

    Args:
        source, target: images (H, W), zero where not measured, and where they were.
        to_source: target pixels (N, 2) → source pixels, by the coordinates.
        search: largest shift, target pixels.
    """
    theirs, seen = _significance(*target)
    ours, known = _significance(*_onto(*source, target[1].shape, to_source))
    if known.sum() < _FEW or seen.sum() < _FEW:
        return None
    clear = [np.arcsinh(np.maximum(plane - _SEEN, 0) / _SOFT) for plane in (theirs, ours)]
    rho, overlap = masked_correlation(clear[0], seen, clear[1], known)
    good = overlap >= _OVERLAP * overlap.max()
    middle = (rho.shape[0] // 2, rho.shape[1] // 2)
    y, x = np.mgrid[: rho.shape[0], : rho.shape[1]]
    inside = good & (np.hypot(y - middle[0], x - middle[1]) <= search)
    if not inside.any():
        return None
    top = _highest(rho, inside)
    far = good & (np.hypot(y - top[0], x - top[1]) > _NEAR)
    if far.sum() < _FEW:
        return None
    mirrored = (
        masked_correlation(clear[0], seen, clear[1][way], known[way])[0][inside].max()
        for way in (np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1])
    )
    rival = float(max(rho[far].max(), *mirrored))
    peak = float(rho[top])

    rho, _ = masked_correlation(np.arcsinh(theirs / _SOFT), seen, np.arcsinh(ours / _SOFT), known)
    top = _highest(rho, good & (np.hypot(y - top[0], x - top[1]) < 2.5))
    offset, curvature = _vertex(rho, top)
    # ρ scatters by the root of the overlap; the slopes are those of paraboloids over 3 × 3 shifts.
    root = np.sqrt(overlap[far] / overlap[top])
    tilts = [root * prewitt(rho, axis)[far] / 6 for axis in (1, 0)]
    error = np.array([1.4826 * np.median(np.abs(tilt)) for tilt in tilts])
    error = np.where(curvature < 0, error / np.maximum(-curvature, 1e-12), np.inf)
    shift = np.array([top[1] - middle[1], top[0] - middle[0]]) + offset
    luck = np.pi * max(float(np.hypot(*shift)), 1.0) ** 2 / float(seen.sum())
    return Correlation(shift, error, peak, rival, luck)


def _highest(rho: Floats, where: NDArray[np.bool_]) -> tuple[int, int]:
    row, column = np.unravel_index(np.where(where, rho, -np.inf).argmax(), rho.shape)
    return int(row), int(column)


def masked_correlation(
    fixed: Floats, fixed_mask: NDArray[np.bool_], moving: Floats, moving_mask: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """ρ (2H − 1, 2W − 1) of two images (H, W) at every shift, and the pixels of each overlap.

    Shift (y, x) of ``moving`` stands at [H − 1 + y, W − 1 + x]; 0 where there is no contrast.
    """
    height, width = fixed.shape
    full = (next_fast_len(2 * height - 1, True), next_fast_len(2 * width - 1, True))

    def transform(plane: Floats) -> NDArray[np.complex128]:
        return np.asarray(rfft2(plane, full))

    def together(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> Floats:
        wrapped = irfft2(a * b.conj(), full)
        return np.roll(wrapped, (height - 1, width - 1), (0, 1))[: 2 * height - 1, : 2 * width - 1]

    f, g = fixed * fixed_mask, moving * moving_mask
    mf, mg = transform(fixed_mask.astype(float)), transform(moving_mask.astype(float))
    tf, tg = transform(f), transform(g)
    count = np.maximum(np.rint(together(mf, mg)), 1)
    sum_f, sum_g = together(tf, mg), together(mf, tg)
    covariance = together(tf, tg) - sum_f * sum_g / count
    spread_f = _contrast(together(transform(f**2), mg) - sum_f**2 / count, f)
    spread_g = _contrast(together(mf, transform(g**2)) - sum_g**2 / count, g)
    product = spread_f * spread_g
    floor = 1e-9 * max(float(product.max()), 1e-300)
    rho = np.where(product > floor, covariance / np.sqrt(np.maximum(product, floor)), 0.0)
    return np.clip(rho, -1, 1), count


def _contrast(spread: Floats, plane: Floats) -> Floats:
    """The sums of squares about each overlap's mean; 0 where they are the rounding of the whole."""
    return np.where(spread > 1e-12 * float(np.sum(plane**2)), spread, 0.0)


def _significance(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> Plane:
    """D/σ, the difference of Gaussians over its noise, and where it feels no hole and no rim."""
    if not mask.any():
        return image, mask
    plane, inner = bands_passed(image, mask)
    inner = binary_erosion(inner, iterations=int(2 * WINDOW))
    noise = 1.4826 * float(np.median(np.abs(plane[inner]))) if inner.any() else 0.0
    if noise == 0:
        return np.zeros_like(plane), np.zeros_like(inner)
    return np.where(inner, plane / noise, 0.0), inner


def _onto(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    shape: tuple[int, ...],
    to_source: Callable[[Floats], Floats],
) -> Plane:
    """The source on the target's pixels, smoothed first where these are coarser."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    there = to_source(np.stack([x.ravel(), y.ravel()], axis=1)).T.reshape(2, *shape)
    rows, columns = there[1], there[0]
    pixel = np.hypot(np.gradient(columns, axis=1), np.gradient(rows, axis=1))
    scale = float(np.nanmedian(pixel))
    smooth = 0.3 * scale if np.isfinite(scale) and scale > 1.2 else 0.0
    known = np.isfinite(rows) & np.isfinite(columns)
    at = [np.where(known, rows, -1e3), np.where(known, columns, -1e3)]
    share = map_coordinates(mask.astype(float), at, order=1, mode="constant")
    plane = gaussian_filter(image.astype(float), smooth) if smooth else image.astype(float)
    moved = map_coordinates(plane, at, order=3, mode="constant")
    good = share > 0.999
    return np.where(good, moved, 0).astype(np.float32), good


def _vertex(rho: Floats, top: tuple[int, int]) -> tuple[Floats, Floats]:
    """Offset (2,) x, y of the maximum of a paraboloid through 3 × 3 values, and its curvatures."""
    row, column = top
    patch = rho[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    if patch.shape != (3, 3):
        return np.zeros(2), np.zeros(2)
    y, x = np.mgrid[-1:2, -1:2]
    terms = [np.ones(9), x.ravel(), y.ravel(), x.ravel() ** 2, y.ravel() ** 2, (x * y).ravel()]
    _, gx, gy, xx, yy, xy = np.linalg.lstsq(np.stack(terms, 1), patch.ravel(), rcond=None)[0]
    hessian = np.array([[2 * xx, xy], [xy, 2 * yy]])
    if np.linalg.det(hessian) <= 0 or xx >= 0:
        return np.zeros(2), np.zeros(2)
    return np.clip(-np.linalg.solve(hessian, [gx, gy]), -1, 1), np.array([2 * xx, 2 * yy])
