"""Which source of one image is which source of the other.

*Without coordinates.* A similarity of the plane is one complex equation, w = m z + t with
m = s e^{iθ}. Three sources and three sources that look alike (equal ratios of sides, equal
handedness) give m and t by least squares; wrong triangles scatter over the four numbers, right
ones agree. The densest places are tried in turn, each is refined by nearest neighbours, and the
one with the most sources beyond chance wins. (The idea: Groth 1986, AJ 91, 1244; Valdes et al.
1995, PASP 107, 1119.) "Same frame, nearly" is tried as well.

*With coordinates.* The predicted positions are wrong by a shift of a few pixels at most: every pair
within reach votes for its offset, and the densest offset wins.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_prep.register.polynomial import fit_robust, parameters

__all__ = ["coarse_map", "mutual_nearest", "refine", "vote_shift"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

_BRIGHT = (60, 150, 300, 1000)  # sources that make triangles, tried in turn
_NEIGHBOURS = 7  # of each bright source, among the bright ones
_ALIKE = 0.012  # difference of two ratios of sides
_TRIED = 12  # hypotheses refined at each number of bright sources
_CREDIBLE, _CERTAIN = 6.0, 15.0  # matches beyond chance, in standard deviations


def mutual_nearest(
    first: Floats, second: Floats, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of pairs that are each other's nearest and closer than ``radius``."""
    if len(first) == 0 or len(second) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance, there = cKDTree(second).query(first)
    _, back = cKDTree(first).query(second)
    here = np.flatnonzero((distance < radius) & (back[there] == np.arange(len(first))))
    return here, there[here]


def vote_shift(predicted: Floats, observed: Floats, reach: float, tolerance: float) -> Floats:
    """The offset (2,), no longer than ``reach``, that carries most predicted sources onto observed.

    Of equally good offsets the shortest is taken: the coordinates are trusted as far as they go.
    """
    offsets = _offsets(predicted, observed, reach)
    if len(offsets) == 0:
        return np.zeros(2)
    tree = cKDTree(offsets)
    votes = tree.query_ball_point(offsets, tolerance, return_length=True)
    length = np.hypot(*offsets.T)
    best = offsets[np.lexsort((length, -votes))[0]]
    return offsets[tree.query_ball_point(best, tolerance)].mean(axis=0)


def refine(
    predicted: Floats, observed: Floats, start: Map, radii: list[float], degree: int
) -> tuple[Map, NDArray[np.int64], NDArray[np.int64]]:
    """Match within shrinking radii, refitting in between; the map and the last radius's pairs.

    A step that finds too few pairs for the degree falls back to a lower one, and to ``start`` when
    even a shift cannot be had.
    """
    current = start
    for radius in radii:
        here, there = mutual_nearest(current(predicted), observed, radius)
        usable = [d for d in range(degree, -1, -1) if len(here) >= max(2 * parameters(d), 3)]
        if not usable:
            break
        current, _ = fit_robust(predicted[here], observed[there], usable[0])
    here, there = mutual_nearest(current(predicted), observed, radii[-1])
    return current, here, there


def coarse_map(
    source: Floats,
    target: Floats,
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
) -> Map | None:
    """A map (N, 2) → (N, 2) good to a few pixels, or None when nothing beats chance.

    Args:
        source, target: positions, most significant first.
        source_shape, target_shape: (H, W) of the two images.
    """
    if min(len(source), len(target)) < 4:
        return None
    size = float(np.hypot(*target_shape))
    middle = complex(source_shape[1] - 1, source_shape[0] - 1) / 2
    radii = [r for r in (0.012 * size, 0.006 * size, 0.003 * size) if r > 4] + [4.0, 4.0]
    best: tuple[float, Map] | None = None
    hypotheses = _same_frame(source, target, source_shape, target_shape)
    for bright in (0, *_BRIGHT):
        if bright:
            hypotheses = _by_triangles(source[:bright], target[:bright], middle, size)
        for m, t in hypotheses:
            found, here, _ = refine(source, target, _similarity(m, t), radii, 1)
            if not _plausible(found, source):
                continue
            score = _beyond_chance(found(source), target, len(here), radii[-1])
            if best is None or score > best[0]:
                best = (score, found)
        if best is not None and best[0] > _CERTAIN:
            break
    return best[1] if best is not None and best[0] > _CREDIBLE else None


def _offsets(predicted: Floats, observed: Floats, reach: float, limit: int = 200_000) -> Floats:
    """Offsets of all pairs within reach; of the brightest sources only where there are too many."""
    count = max(len(predicted), len(observed))
    while True:
        first, second = predicted[:count], observed[:count]
        near = cKDTree(second).query_ball_point(first, reach) if len(second) else []
        total = sum(len(n) for n in near)
        if total <= limit or count < 50:
            break
        count = count * 2 // 3
    if total == 0:
        return np.zeros((0, 2))
    here = np.repeat(np.arange(len(first)), [len(n) for n in near])
    there = np.concatenate([np.asarray(n, int) for n in near if n])
    return second[there] - first[here]


def _similarity(m: complex, t: complex) -> Map:
    def apply(points: Floats) -> Floats:
        w = m * (points[:, 0] + 1j * points[:, 1]) + t
        return np.stack([w.real, w.imag], axis=1)

    return apply


def _same_frame(
    source: Floats,
    target: Floats,
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
    bright: int = 400,
) -> list[tuple[complex, complex]]:
    """Hypotheses of no rotation, at equal pixels and at equal frames, with the shift voted for."""
    found = []
    size = float(np.hypot(*target_shape))
    for scale in dict.fromkeys((1.0, target_shape[1] / source_shape[1])):
        points = scale * source[:bright]
        shift = vote_shift(points, target[:bright], 0.05 * size, 0.006 * size)
        found.append((complex(scale), complex(*shift)))
    return found


def _by_triangles(
    source: Floats, target: Floats, middle: complex, size: float
) -> list[tuple[complex, complex]]:
    """The likeliest (m, t) by agreement among triangles that look alike, likeliest first."""
    z_corners, z_shape = _triangles(source)
    w_corners, w_shape = _triangles(target)
    if len(z_shape) == 0 or len(w_shape) == 0:
        return []
    pairs = cKDTree(z_shape).query_ball_point(w_shape, _ALIKE)
    w_index = np.repeat(np.arange(len(w_shape)), [len(p) for p in pairs])
    if len(w_index) == 0:
        return []
    z_index = np.concatenate([np.asarray(p, int) for p in pairs if p])
    z, w = z_corners[z_index], w_corners[w_index]
    dz, dw = z - z.mean(1, keepdims=True), w - w.mean(1, keepdims=True)
    m = (dz.conj() * dw).sum(1) / (np.abs(dz) ** 2).sum(1)
    t = w.mean(1) - m * z.mean(1)
    misfit = np.abs(m[:, None] * dz - dw).max(1)
    good = (np.abs(m) > 1 / 8) & (np.abs(m) < 8) & (misfit < 0.01 * size)
    m, t = m[good], t[good]
    if len(m) == 0:
        return []
    # Two similarities agree when they take the middle and the corners to nearby places.
    at_middle = m * middle + t
    corner = m * abs(middle)
    features = np.stack([corner.real, corner.imag, at_middle.real, at_middle.imag], axis=1)
    tree = cKDTree(features)
    votes = tree.query_ball_point(features, 0.012 * size, return_length=True)
    chosen: list[tuple[complex, complex]] = []
    taken = np.zeros(len(m), bool)
    for index in np.argsort(-votes, kind="stable"):
        if taken[index]:
            continue
        group = tree.query_ball_point(features[index], 0.012 * size)
        taken[group] = True
        chosen.append((_median(m[group]), _median(t[group])))
        if len(chosen) == _TRIED:
            break
    return chosen


def _median(z: NDArray[np.complex128]) -> complex:
    return complex(np.median(z.real), np.median(z.imag))


def _triangles(points: Floats) -> tuple[NDArray[np.complex128], Floats]:
    """Corners (T, 3), each opposite to a longer side than the next, and shapes (T, 3).

    A shape is the two ratios of sides and ±1 for the handedness: mirrored ones never match.
    Nearly isosceles triangles are left out, their corners cannot be told apart.
    """
    if len(points) < 4:
        return np.zeros((0, 3), complex), np.zeros((0, 3))
    _, near = cKDTree(points).query(points, min(_NEIGHBOURS + 1, len(points)))
    index = np.concatenate(
        [near[:, [0, i, j]] for i, j in combinations(range(1, near.shape[1]), 2)]
    )
    index = np.unique(np.sort(index, axis=1), axis=0)
    z = (points[:, 0] + 1j * points[:, 1])[index]
    opposite = np.abs(np.roll(z, -1, axis=1) - np.roll(z, -2, axis=1))
    order = np.argsort(-opposite, axis=1)
    z = np.take_along_axis(z, order, axis=1)
    side = np.take_along_axis(opposite, order, axis=1)
    ratios = side[:, 1:] / side[:, :1]
    area = ((z[:, 1] - z[:, 0]).conj() * (z[:, 2] - z[:, 0])).imag / side[:, 0] ** 2
    distinct = (
        (ratios[:, 0] < 0.97)
        & (ratios[:, 1] < 0.97 * ratios[:, 0])
        & (ratios[:, 1] > 0.1)
        & (np.abs(area) > 0.05)
    )
    shape = np.column_stack([ratios, np.sign(area)])
    return z[distinct], shape[distinct]


def _beyond_chance(mapped: Floats, target: Floats, matched: int, radius: float) -> float:
    """How many standard deviations the matches exceed what scattered sources would give."""
    low, high = target.min(axis=0), target.max(axis=0)
    inside = int(((mapped > low) & (mapped < high)).all(axis=1).sum())
    if matched < max(6, 0.05 * inside):
        return 0.0
    area = max(float(np.prod(high - low)), 1.0)
    chance = min(len(target) * np.pi * radius**2 / area, 1.0) * inside
    return (matched - chance) / np.sqrt(chance + 1)


def _plausible(found: Map, points: Floats) -> bool:
    """Telescopes do not mirror, shear or squeeze: a map that does was fitted to chance pairs."""
    middle = points.mean(axis=0)
    corners = found(middle + np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]))
    matrix = (corners[1:] - corners[0]) / 100
    large, small = np.linalg.svd(matrix, compute_uv=False)
    return bool(np.linalg.det(matrix) > 0 and large < 1.15 * small and 1 / 8 < small < 8)
