"""Can a classifier tell generated rows from true ones? A small dense critic, held-out halves.

Each half of the rows is scored by a critic that was trained on the other half, so no row is judged
by one that has seen it. Columns are brought to like ranges by asinh((v − median)/deviation), which
is a bijection and so changes nothing that could be told apart. Rows that belong together (a
prediction and its truth) are in one half.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from imgturbo.config import CriticConfig
from imgturbo.metrics.distributions import Spread, area_under_curve, bootstrap_weights
from imgturbo.nets import DenseCritic

__all__ = ["two_sample_auc"]

Rows = NDArray[np.float64]

_STEPS, _BATCH, _RATE = 600, 512, 2e-3


def two_sample_auc(
    a: Rows,
    b: Rows,
    *,
    together: bool = False,
    limit: int = 50_000,
    bootstrap: int = 100,
    seed: int = 0,
    steps: int = _STEPS,
) -> Spread:
    """AUC of a classifier that tells rows of one sample from those of the other.

    Args:
        a, b: (n, C) and (m, C), finite.
        together: whether row i of both belongs together, so that n = m.
        limit: at most so many rows of each, drawn at random.
        bootstrap: resamplings of the error.
        seed: of halves, weights, batches and resamplings.
        steps: of each training.

    Returns:
        The mean over both halves, ½ where nothing can be told, and its error, None without
        resamplings; NaN for fewer than four rows of either.
    """
    generator = np.random.default_rng([seed, 0xA0C])
    a, b = _drawn(a, b, together, limit, generator)
    if min(len(a), len(b)) < 4:
        return Spread(math.nan)
    a, b = _like_ranges(a, b)
    halves = [np.arange(len(rows)) % 2 for rows in (a, b)]
    scores = [np.empty(len(a)), np.empty(len(b))]
    for half in (0, 1):
        train = [rows[own != half] for rows, own in zip((a, b), halves, strict=True)]
        critic = _trained(*train, steps, seed * 2 + half)
        with torch.no_grad():
            for rows, own, found in zip((a, b), halves, scores, strict=True):
                (judged,) = critic(torch.from_numpy(rows[own == half]).float())
                found[own == half] = judged[:, 0].double().numpy()

    def mean(weights: tuple[Rows, Rows] | None) -> float:
        areas = []
        for half in (0, 1):
            here = [own == half for own in halves]
            part = None if weights is None else (weights[0][here[0]], weights[1][here[1]])
            areas.append(area_under_curve(scores[0][here[0]], scores[1][here[1]], part))
        return sum(areas) / 2

    found = []
    for _ in range(bootstrap):
        first = bootstrap_weights(generator, len(a))
        found.append(mean((first, first if together else bootstrap_weights(generator, len(b)))))
    return Spread(mean(None), float(np.std(found)) if bootstrap > 1 else None)


def _drawn(
    a: Rows, b: Rows, together: bool, limit: int, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """Rows in random order, at most so many, as many of one as of the other."""
    n = min(len(a), len(b), limit)
    first = generator.permutation(len(a))[:n]
    return a[first], b[first if together else generator.permutation(len(b))[:n]]


def _like_ranges(a: Rows, b: Rows) -> tuple[Rows, Rows]:
    both = np.concatenate([a, b])
    middle = np.median(both, axis=0)
    deviation = 1.4826 * np.median(np.abs(both - middle), axis=0)
    deviation = np.where(deviation > 0, deviation, both.std(axis=0))
    deviation = np.where(deviation > 0, deviation, 1.0)
    return np.arcsinh((a - middle) / deviation), np.arcsinh((b - middle) / deviation)


def _trained(a: Rows, b: Rows, steps: int, seed: int) -> DenseCritic:
    """A critic whose score is the log odds of being a's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CriticConfig(kind="mlp", hidden=[64, 64], norm="none")
        critic = DenseCritic(config, a.shape[1])
    rows = torch.from_numpy(np.concatenate([a, b])).float()
    labels = torch.cat([torch.ones(len(a)), torch.zeros(len(b))])
    optimiser = torch.optim.AdamW(critic.parameters(), lr=_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(rows), (min(_BATCH, len(rows)),), generator=order)
        (judged,) = critic(rows[batch])
        loss = F.binary_cross_entropy_with_logits(judged[:, 0], labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return critic
