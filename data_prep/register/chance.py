"""Could the match be an accident? The number of false alarms.

Two unrelated skies always show *some* sources that fall together, and a search for the map that
makes most of them do finds more. With n sources on the common frame, d sources of the target a
square pixel, and a map of p points' freedom that was chosen among H, the number of maps expected to
bring k sources within r pixels of another by accident is at most

    NFA(k, r) = n H P(Binomial(n − p, 1 − exp(−d π r²)) ≥ k − p)

(a contrario matching; Moisan & Stival 2004, IJCV 57, 201; Desolneux, Moisan & Morel 2008). A map is
held by p of the pairs, so H is the number of ways to choose p sources and, for each, a partner
among those that the search admits. r is each pair's *held-out* distance in turn, k how many pairs
are as near, and the least NFA counts. Of sources that crowd (the knots and spikes of one bright
star) one a cell counts, for they are not independent; d is taken near the sources, where clusters
are as dense as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10, pi

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import binom

from data_prep.register.pairs import Pairs, held_out
from data_prep.register.polynomial import fit_weighted, parameters
from data_prep.register.sources import Sources

__all__ = ["Evidence", "evidence", "independent", "local_density", "log_false_alarms"]

Floats = NDArray[np.float64]

_NEGLIGIBLE = -5.0  # log10 of the false alarms that a registration may rest on
_CELLS = 24  # along the longer side of the common frame
_SHARPEST = 0.05  # pixels: agreement closer than this is no further evidence


@dataclass(frozen=True)
class Evidence:
    """How sure it is that two images show one sky.

    Attributes:
        log_alarms: log10 of how many such matches a search finds between unrelated skies.
        agreeing, count: independent sources that agree, of how many on the common frame.
        radius: within how many pixels half of them do, each by a map made without it.
        expected: of ``count``, how many would by accident under one given map.
    """

    log_alarms: float
    agreeing: int
    count: int
    radius: float
    expected: float

    @property
    def enough(self) -> bool:
        """Whether accident is out of the question."""
        return self.log_alarms < _NEGLIGIBLE

    def __str__(self) -> str:
        alarms = f"{10**self.log_alarms:.2g}" if self.log_alarms < 4 else "thousands of"
        return (
            f"{self.agreeing} of {self.count} sources agree to {self.radius:.1f} pixels, where one "
            f"map gives {self.expected:.1f} by accident and the search {alarms} such maps"
        )


def evidence(
    pairs: Pairs,
    predicted: Floats,
    target: Sources,
    measured: NDArray[np.bool_],
    degree: int,
    reach: float,
    search: float | None,
) -> Evidence:
    """Weigh a match.

    Args:
        pairs: what was matched.
        predicted: (n, 2) all sources of the source image, by its coordinates.
        target: sources of the target.
        measured: (H, W) True where the target was.
        degree: of the map that the search is free to bend.
        reach: matching radius, pixels.
        search: largest shift that was searched, pixels; None: any map at all.
    """
    polynomial, noise = fit_weighted(pairs.given, pairs.observed, degree, pairs.noise)
    mapped = polynomial(predicted)
    column, row = np.rint(mapped).astype(int).T
    height, width = measured.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside[inside] = measured[row[inside], column[inside]]
    common = np.flatnonzero(inside)
    chosen = common[independent(mapped[common])]
    residual = held_out(pairs.given, pairs.observed, noise, degree, None)
    lengths = np.hypot(*residual.T)[np.isin(pairs.indices, chosen)]
    lengths = lengths[np.isfinite(lengths)]
    density = local_density(mapped[chosen], target.positions, float(measured.sum()), reach)
    if search is None:
        partners = [float(len(target))] * parameters(degree)
    else:
        bend = max(4 * reach, search / 5)
        radii = [search, *[bend] * (parameters(degree) - 1)]
        partners = [density * pi * radius**2 for radius in radii]
    radius = float(np.median(lengths)) if len(lengths) else 0.0
    return Evidence(
        log_false_alarms(lengths, len(chosen), density, partners),
        len(lengths),
        len(chosen),
        radius,
        -len(chosen) * float(np.expm1(-density * pi * radius**2)),
    )


def independent(positions: Floats) -> NDArray[np.int64]:
    """Indices of the first source in each cell of a coarse grid; first is most significant."""
    if not len(positions):
        return np.zeros(0, np.int64)
    low, high = positions.min(axis=0), positions.max(axis=0)
    cell = np.floor((positions - low) / max(float((high - low).max()), 1.0) * _CELLS)
    _, first = np.unique(cell, axis=0, return_index=True)
    return np.sort(first)


def local_density(mapped: Floats, target: Floats, area: float, inner: float) -> float:
    """Sources of the target a square pixel, around the mapped sources (N, 2) or in all.

    Counted between ``inner`` and 5 ``inner`` pixels, beyond the partner that each may have.
    """
    overall = len(target) / max(area, 1.0)
    if not len(mapped) or not len(target):
        return overall
    tree = cKDTree(target)
    counts = [
        np.mean(tree.query_ball_point(mapped, r, return_length=True)) for r in (inner, 5 * inner)
    ]
    return max(overall, float(counts[1] - counts[0]) / (24 * pi * inner**2))


def log_false_alarms(lengths: Floats, count: int, density: float, partners: list[float]) -> float:
    """log10 of the least NFA.

    Args:
        lengths: held-out distances in pixels of the independent pairs.
        count: n, independent sources on the common frame.
        density: d.
        partners: for each of the p points that hold a map, how many partners it may have had.
    """
    lengths = np.sort(np.maximum(lengths, _SHARPEST))
    held = len(partners)
    k = np.arange(1, len(lengths) + 1)
    free = k > held
    count = max(count, len(lengths))
    if not free.any():
        return float("inf")
    near = -np.expm1(-density * pi * lengths[free] ** 2)
    tail = binom.logsf(k[free] - held - 1, count - held, near) / np.log(10)
    maps = sum(log10(count * max(choice, 1.0)) for choice in partners)
    return float(np.min(tail) + maps + log10(count))
