"""Which pairs are true: those that agree with their neighbours.

A map of few parameters does not follow a distorted image, and a pair that lies off it may be right
all the same. To judge pairs by their distance from the map would leave out the very sky that the
map serves badly, and call the rest good. But distortion is smooth, and mistakes are not. So each
offset is compared with the plane that its own neighbours' offsets lie in,

    d_k = o_k − plane_k(p_k),    plane_k fitted to the M nearest others,

by weights 1/(1 + (distance from the plane/c)²) (Cauchy's), which single mistakes do not turn.
Their scale is that of *all* of them, by the median, and what the noise of a pair's positions
explains is no disagreement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["agreeing", "believable", "nearby_offset", "tempered"]

Floats = NDArray[np.float64]

_NEIGHBOURS = 12
_PLANE = 8  # fewer neighbours say where the offset is, not how it changes
_ROUNDS = 5
_LIMIT = 4.0  # standard deviations
_MEDIAN = 2 * np.log(2)  # of the squared length of a vector of unit variance along each axis
_WIDE = 1.0  # pixels
_KEPT = np.sqrt(1 - np.exp(-2))  # of a Gaussian's rms, of vectors cut to two standard deviations
_NEGLIGIBLE = 0.1  # pixels: a disagreement below it is none


def nearby_offset(
    at: Floats, points: Floats, offsets: Floats, noise: Floats, width: float, others: bool = False
) -> Floats:
    """Offsets (K, 2) that the pairs nearest to ``at`` (K, 2) suggest there.

    Args:
        points, offsets, noise: (N, 2), (N, 2) and (N,) of the pairs, N ≥ 2.
        width: c of the weights, pixels.
        others: ``at`` are the points themselves, and each is told by the others only.
    """
    count = min(_NEIGHBOURS, len(points) - others, max(4, len(points) // 4))
    distance, near = cKDTree(points).query(at, k=list(range(1, count + others + 1)))
    if others:
        distance, near = distance[:, 1:], near[:, 1:]
    offset = offsets[near]  # (K, M, 2)
    guess = np.median(offset, axis=1)
    if near.shape[1] < 4:
        return guess
    reach = distance[:, -1:, None].clip(1e-9)
    step = (points[near] - at[:, None]) / reach
    design = np.concatenate([np.ones((*near.shape, 1)), step], axis=2)  # (K, M, 3)
    # Few neighbours say where the offset is, not how it changes.
    ridge = np.diag([1e-9, *([0.01 if near.shape[1] >= _PLANE else 1e3] * 2)])
    sure = 1 / (1 + (noise[near][..., None] / width) ** 2)
    fitted = np.repeat(guess[:, None], near.shape[1], axis=1)
    for _ in range(_ROUNDS):
        far = np.sum((offset - fitted) ** 2, axis=2, keepdims=True) / width**2
        weighted = (design * (sure / (1 + far))).transpose(0, 2, 1)
        solution = np.linalg.solve(weighted @ design + ridge, weighted @ offset)
        fitted = design @ solution
    return np.asarray(solution[:, 0])


def agreeing(points: Floats, offsets: Floats, noise: Floats, width: float) -> NDArray[np.bool_]:
    """Which pairs (N,) have an offset that their neighbours confirm, to four standard deviations.

    Args:
        points: (N, 2).
        offsets: (N, 2) from any smooth map.
        noise: (N,) of the offsets along an axis.
        width: pixels; a disagreement beyond it may be a mistake, and does not turn the neighbours.
    """
    if len(points) < 4:
        return np.ones(len(points), bool)
    square = np.sum((offsets - nearby_offset(points, points, offsets, noise, width, True)) ** 2, 1)
    limit = _LIMIT**2 * (noise**2 + typical_excess(square, noise) ** 2)
    return square <= np.maximum(limit, _NEGLIGIBLE**2)


def tempered(points: Floats, offsets: Floats, noise: Floats) -> Floats:
    """Offsets (N, 2) whose disagreement with their neighbours is cut to two standard deviations.

    What is left speaks of the images: blends and ragged galaxies displace a source by more than its
    noise, but not the sky around it. Distortion, which neighbours share, is not cut.
    """
    if len(points) < _PLANE:
        return offsets
    expected = nearby_offset(points, points, offsets, noise, _WIDE, True)
    apart = offsets - expected
    square = np.sum(apart**2, axis=1)
    most = 2 * np.hypot(noise, typical_excess(square, noise))
    cut = apart * np.minimum(1, most / np.sqrt(np.maximum(square, 1e-18)))[:, None]
    return expected + cut / _KEPT


def believable(points: Floats, offsets: Floats, noise: Floats) -> Floats:
    """The noise (N,), scaled down where neighbours agree better than it lets them.

    Nebulae and the blocks of a JPEG look like noise of the sky and are in both images. Noise that
    is taken for too large would hide a misalignment.
    """
    if len(points) < _PLANE:
        return noise
    apart = offsets - nearby_offset(points, points, offsets, noise, _WIDE, True)
    ratio = np.median(np.sum(apart**2, axis=1) / (_MEDIAN * np.maximum(noise, 1e-6) ** 2))
    return noise * min(1.0, float(np.sqrt(ratio)))


def typical_excess(square: Floats, noise: Floats) -> float:
    """Standard deviation τ along an axis beyond the noise (N,) of vectors of these squared lengths.

    Half of all vectors are longer, and half shorter, than the median of a Gaussian of variance
    s² + τ²; a minority of mistakes, however large, hardly moves it.
    """
    ratio = np.sort(square / _MEDIAN - noise**2)
    return float(np.sqrt(max(ratio[len(ratio) // 2], 0.0)))
