r"""Posteriors of any simulator by brute force: propose from the prior, keep what looks like y*.

Approximate Bayesian computation (ABC) with two rules for what is kept of proposals (z, y), both
published for the problems here:

*Nearest neighbours* (the script beside Kruse et al. 2021, arXiv:2101.10763): of a pool of 10⁸, the
4000 whose y is nearest to y*, in Euclidean distance, the very nearest one left out. How far the
last one is, the *reach*, is the error: draws are of p(z | ‖y − y*‖ < reach).

*Gaussian tolerance*: z is kept with probability exp(−‖y − y*‖²/2τ²), until 1000 are. These are
exact draws of the posterior of another simulator, which adds N(0, τ²) to y; so if the noise of a
linear one is σ, what is found is its closed form with σ² + τ². Each proposal has one uniform number
u for all targets, which is to say a radius τ √(−2 ln u) within which it is kept.

Proposals come in blocks, each a function of the seed and its number alone. A block is sorted into
a k-d tree, asked for what lies within the largest distance that can matter still, and forgotten:
memory is that of a block and of what is kept, however large the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imgturbo.errors import ImgturboError
from imgturbo.simulators.simulator import Simulator

__all__ = ["BLOCK", "Kept", "keep_nearest", "keep_tolerated"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

BLOCK = 1 << 17
"""Proposals that are drawn together; another number is another stream."""


@dataclass(frozen=True)
class Kept:
    """What is left of the proposals.

    Attributes:
        draws: (M, K, P) float32, in the parameters' units; NaN where fewer than K were found.
        reach: (M,), the distance of the farthest that was kept, in the observations' units.
        count: (M,), how many were kept.
        proposals: how many were made.
    """

    draws: NDArray[np.float32]
    reach: Floats
    count: NDArray[np.int64]
    proposals: int


def keep_nearest(
    simulator: Simulator,
    observed: Floats,
    *,
    pool: int,
    keep: int = 4000,
    skip: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Kept:
    """The parameters of a pool whose observations are nearest to each target.

    Args:
        simulator: of the problem.
        observed: y*, (M, O).
        pool: how many proposals; those of which nothing is observed are among them.
        keep: K, how many are wanted of each target.
        skip: how many of the nearest are left out.
        seed: of the pool.
        progress: called with what is being done and the fraction done.

    Raises:
        ImgturboError: the pool is smaller than what is to be kept of it.
    """
    if pool < keep + skip:
        raise ImgturboError(
            f"a pool of {pool} holds no {keep} neighbours beside the {skip} left out; "
            "make it larger, or keep fewer"
        )
    wanted, targets = keep + skip, len(observed)
    distance = np.full((targets, wanted), np.inf)
    draws = np.full((targets, wanted, len(simulator.parameters)), np.nan, np.float32)
    for first, parameters, seen, _ in _blocks(simulator, pool, seed):
        tree = cKDTree(seen, compact_nodes=False, balanced_tree=False)
        farthest = distance.max(1)
        for target in range(targets):
            most = min(wanted, len(seen))
            if most and np.isinf(farthest[target]):
                near = np.atleast_1d(tree.query(observed[target], most)[1])
            else:
                near = tree.query_ball_point(observed[target], farthest[target])
            rows = np.array(near, int)
            if len(rows):
                far = np.linalg.norm(seen[rows] - observed[target], axis=1)
                _merge(distance[target], draws[target], far, parameters[rows])
        if progress is not None:
            progress(f"pool of {pool}", min(1.0, (first + BLOCK) / pool))
    order = np.argsort(distance, 1)[:, skip:]
    reach = np.take_along_axis(distance, order, 1)
    count = np.isfinite(reach).sum(1)
    farthest = np.where(np.isfinite(reach), reach, -np.inf).max(1)
    return Kept(np.take_along_axis(draws, order[..., None], 1), farthest, count, pool)


def keep_tolerated(
    simulator: Simulator,
    observed: Floats,
    *,
    tolerance: float,
    keep: int = 1000,
    cap: int = 2_000_000_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Kept:
    """Parameters kept by a Gaussian rule, until each target has enough.

    Args:
        simulator: of the problem.
        observed: y*, (M, O).
        tolerance: τ, in the observations' units.
        keep: K, how many are wanted of each target.
        cap: no more proposals than that; targets then may have fewer.
        seed: of the proposals.
        progress: called with what is being done and the fraction done.
    """
    targets = len(observed)
    draws = np.full((targets, keep, len(simulator.parameters)), np.nan, np.float32)
    count, reach = np.zeros(targets, np.int64), np.zeros(targets)
    made = 0
    for first, parameters, seen, generator in _blocks(simulator, cap, seed):
        made = min(first + BLOCK, cap)
        chance = generator.random(len(seen))  # of (0, 1]: no radius is infinite
        radius = tolerance * np.sqrt(-2 * np.log1p(-chance))
        tree = cKDTree(seen, compact_nodes=False, balanced_tree=False)
        waiting = np.flatnonzero(count < keep)
        found = tree.query_ball_point(observed[waiting], radius.max(initial=0.0))
        for target, near in zip(waiting, found, strict=True):
            rows = np.sort(np.array(near, int))
            far = np.linalg.norm(seen[rows] - observed[target], axis=1)
            kept = far <= radius[rows]
            rows, far = rows[kept], far[kept]
            room = slice(count[target], min(count[target] + len(rows), keep))
            number = room.stop - room.start
            draws[target, room] = parameters[rows[:number]]
            reach[target] = max(reach[target], far[:number].max(initial=0.0))
            count[target] = room.stop
        if progress is not None:
            done = int((count == keep).sum())
            share = max(float(count.mean()) / keep, made / cap)
            progress(f"{done} of {targets} targets have {keep}, {made} proposals", share)
        if (count == keep).all():
            break
    return Kept(draws, reach, count, made)


def _blocks(
    simulator: Simulator, total: int, seed: int
) -> Iterator[tuple[int, Floats, Floats, np.random.Generator]]:
    """Blocks of proposals: their first number, what is observed of them, and a generator."""
    for number, first in enumerate(range(0, total, BLOCK)):
        generator = np.random.default_rng([seed, number])
        parameters, seen = simulator.draw(generator, min(BLOCK, total - first))
        fine = np.isfinite(seen).all(1)
        yield first, parameters[fine], seen[fine], generator


def _merge(distance: Floats, draws: NDArray[np.float32], far: Floats, parameters: Floats) -> None:
    """Keep the nearest of what was kept (K,) and what is new, in place."""
    size = len(distance)
    if len(far) > size:
        nearest = np.argpartition(far, size - 1)[:size]
        far, parameters = far[nearest], parameters[nearest]
    all_far = np.concatenate([distance, far])
    nearest = np.argpartition(all_far, size - 1)[:size]
    drawn = np.concatenate([draws, parameters.astype(np.float32)])
    distance[:], draws[:] = all_far[nearest], drawn[nearest]
