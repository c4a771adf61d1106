"""Pairs of sources, and the map that they support.

Matching and fitting help each other: a better map finds more of the true pairs. Where an image is
distorted beyond what the map can follow, partners lie further from it than the matching radius,
and pairs would be found only where the map happens to be good. So between rounds the search goes
along the offsets of the pairs found already (``neighbours``); only the last fit is the map's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_prep.register.local import LocalShift, fit_local
from data_prep.register.matching import mutual_nearest
from data_prep.register.neighbours import agreeing, believable, nearby_offset
from data_prep.register.polynomial import (
    Polynomial,
    fit_polynomial,
    fit_robust,
    fit_weighted,
    folds,
    parameters,
)
from data_prep.register.sources import Sources

__all__ = ["Pairs", "best_degree", "compose", "find_pairs", "held_out", "shares"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

_ROUNDS = 4
_MISTAKE = 0.25  # of the matching radius: offsets that differ by less are never called wrong
_ENOUGH = 200  # pairs that are all kept
_EVEN = 25  # points a side of the frame on which a polynomial is looked at


@dataclass(frozen=True)
class Pairs:
    """N true pairs, in target pixels.

    Attributes:
        given, observed: (N, 2) where the coordinates put a source, and where it is.
        noise: (N,) of the offset along an axis.
        rejected: pairs besides that their neighbours contradict.
        indices: (N,) of the source's sources.
    """

    given: Floats
    observed: Floats
    noise: Floats
    rejected: int
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.given)

    def believed(self, degree: int) -> Pairs:
        """The same with noise that is no larger than neighbours show (``neighbours``)."""
        polynomial, _ = fit_weighted(self.given, self.observed, degree, self.noise)
        offsets = self.observed - polynomial(self.given)
        return replace(self, noise=believable(self.given, offsets, self.noise))

    def surest(self) -> Pairs:
        """The better half where there are plenty: chosen by noise, never by agreement."""
        rows = np.argsort(self.noise, kind="stable")[: max(_ENOUGH, len(self) // 2)]
        return Pairs(
            self.given[rows],
            self.observed[rows],
            self.noise[rows],
            self.rejected,
            self.indices[rows],
        )


def find_pairs(
    predicted: Floats, noise: Floats, target: Sources, start: Map, degree: int, reach: float
) -> Pairs:
    """The pairs of predicted sources (N, 2) with the target's, from a map good to ``reach``.

    Args:
        noise: (N,) of the predicted positions, target pixels.
        degree: of the map; fewer pairs than its parameters end the search.
    """
    current = start
    pairs = Pairs(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), 0, np.zeros(0, np.int64))
    for _ in range(_ROUNDS):
        here, there = mutual_nearest(current(predicted), target.positions, reach)
        if len(here) < max(parameters(degree), 2):
            break
        given, observed = predicted[here], target.positions[there]
        robust, _ = fit_robust(given, observed, degree)
        both = np.hypot(noise[here], target.noise[there])
        keep = agreeing(given, observed - robust(given), both, _MISTAKE * reach)
        found = Pairs(given[keep], observed[keep], both[keep], int((~keep).sum()), here[keep])
        if len(found) <= len(pairs):
            break
        pairs = found
        if len(pairs) < max(parameters(degree), 4):
            break
        current = _along(pairs, degree, reach)
    return pairs


def _along(pairs: Pairs, degree: int, reach: float) -> Map:
    polynomial, _ = fit_weighted(pairs.given, pairs.observed, degree, pairs.noise)
    offsets = pairs.observed - polynomial(pairs.given)

    def bent(points: Floats) -> Floats:
        nearby = nearby_offset(points, pairs.given, offsets, pairs.noise, _MISTAKE * reach)
        return polynomial(points) + nearby

    return bent


def compose(polynomial: Polynomial, local: LocalShift | None) -> Map:
    """The polynomial, then the local shift."""

    def complete(points: Floats) -> Floats:
        mapped = polynomial(points)
        return mapped if local is None else mapped + local(mapped)

    return complete


def best_degree(pairs: Pairs, degree: int, frame: Floats) -> int:
    """The degree, of 1 to ``degree``, that predicts held-out pairs best and stays tame.

    A polynomial is free where there is no source: one that folds or blows up anywhere on the
    source's ``frame`` (25 x 25 points) has no inverse there, and a WCS needs one.
    """
    errors = []
    for trial in range(1, degree + 1):
        if len(pairs) < 2 * parameters(trial) and trial > 1:
            break
        polynomial, total = fit_weighted(pairs.given, pairs.observed, trial, pairs.noise)
        residual = held_out(pairs.given, pairs.observed, total, trial, None)
        mapped = polynomial(frame).reshape(_EVEN, _EVEN, 2)
        along, across = np.diff(mapped, axis=0)[:, :-1], np.diff(mapped, axis=1)[:-1]
        area = along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0]
        relative = area / np.median(area)
        tame = bool((relative > 0.8).all() and (relative < 1.25).all())
        errors.append(_loss(residual, pairs.noise) if tame or trial == 1 else np.inf)
    return 1 + int(np.argmin(errors))


def _loss(residual: Floats, noise: Floats) -> float:
    """Weighted mean square of held-out residuals; weights are the same for every map."""
    weight = 1 / (noise**2 + np.median(noise) ** 2 + 1e-6)
    return float(weight @ np.sum(residual**2, axis=1) / weight.sum())


def held_out(
    given: Floats, observed: Floats, noise: Floats, degree: int, local: LocalShift | None
) -> Floats:
    """Residuals (N, 2) of every pair under a map fitted without it; NaN where too few are left."""
    residual = np.full(given.shape, np.nan)
    for held in folds(len(given)):
        kept = np.setdiff1d(np.arange(len(given)), held)
        if len(kept) < parameters(degree):
            return residual
        polynomial = fit_polynomial(given[kept], observed[kept], degree, noise[kept])
        again = None
        if local is not None:
            mapped = polynomial(given[kept])
            again = fit_local(mapped, observed[kept] - mapped, local.smoothing, noise[kept])
        residual[held] = observed[held] - compose(polynomial, again)(given[held])
    return residual


def shares(points: Floats, frame: Floats) -> Floats:
    """How many points of a lattice (K, 2) lie nearest to each of ``points`` (N, 2): (N,).

    A lone source stands for much sky, but one number must not speak for a field: the most that it
    counts is five times the mean.
    """
    _, nearest = cKDTree(points).query(frame)
    count = np.bincount(nearest, minlength=len(points)).astype(float)
    return np.clip(count, 0.0, 5 * count.mean())
