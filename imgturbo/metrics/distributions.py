r"""How far two samples of numbers are from one distribution: a column at a time, and all at once.

Of values a₁ … a_n and b₁ … b_m with the step functions F and G,

    KS     sup_x |F(x) − G(x)|              (Kolmogorov–Smirnov, in [0, 1])
    W₁     ∫ |F(x) − G(x)| dx               (Wasserstein, in the unit of the values)
    AUC    P(s(a) > s(b)) + ½ P(s(a) = s(b))     of a score s that tells a's from b's

The AUC of a classifier that is trained to tell generated rows from true ones, and scored on rows
that it has not seen, is ½ where it can see no difference: the one number that looks at all columns
together (Lopez-Paz & Oquab 2017, arXiv:1610.06545).

Errors are by the bootstrap: each sample is drawn anew with replacement, which here are weights on
values that are sorted once. The floor is what two samples of *one* distribution differ by: two
halves of the truth, brought to the sizes that are compared, since for KS and W₁ alike it falls as
√(1/n + 1/m).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pooled", "Spread", "area_under_curve", "bootstrap_weights", "floor_of"]

Values = NDArray[np.float64]


class Pooled:
    """Two samples, sorted together once, whose distances are had for any weights.

    Args:
        a, b: (n,) and (m,), finite.
    """

    def __init__(self, a: Values, b: Values) -> None:
        self.n, self.m = len(a), len(b)
        values = np.concatenate([a, b])
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._steps = np.diff(ordered)
        self._ends = np.append(self._steps > 0, True)  # of each run of equal values

    def distances(self, a: Values | None = None, b: Values | None = None) -> tuple[float, float]:
        """KS and W₁ of the samples, weighed.

        Args:
            a, b: weights (n,) and (m,), not negative; None: all alike.
        """
        a = np.ones(self.n) if a is None else a
        b = np.ones(self.m) if b is None else b
        signed = np.concatenate([a / a.sum(), -b / b.sum()])[self._order]
        apart = np.abs(np.cumsum(signed))
        return float(apart[self._ends].max()), float(apart[:-1] @ self._steps)


@dataclass(frozen=True)
class Spread:
    """A number with its standard error, and what it would be by chance."""

    value: float
    error: float | None = None
    floor: float | None = None


def bootstrap_weights(generator: np.random.Generator, n: int) -> Values:
    """How often each of n values is drawn, if n are drawn with replacement."""
    return np.bincount(generator.integers(n, size=n), minlength=n).astype(np.float64)


def floor_of(
    truth: Values, n: int, generator: np.random.Generator, times: int = 8
) -> tuple[float, float]:
    """KS and W₁ that a perfect sample of n values would have to the truth (m,), by chance.

    The mean over several random halvings of the truth, brought from halves to the sizes n and m.
    """
    m = len(truth)
    half = m // 2
    if half < 1 or n < 1:
        return float("nan"), float("nan")
    found = np.zeros(2)
    for _ in range(times):
        order = generator.permutation(m)
        found += Pooled(truth[order[:half]], truth[order[half : 2 * half]]).distances()
    ks, w1 = found / times * np.sqrt((1 / n + 1 / m) / (2 / half))
    return min(1.0, float(ks)), float(w1)


def area_under_curve(a: Values, b: Values, weights: tuple[Values, Values] | None = None) -> float:
    """P(a > b) + ½ P(a = b) of two samples of scores, weighed."""
    both = np.concatenate([a, b])
    wa, wb = (np.ones(len(a)), np.ones(len(b))) if weights is None else weights
    found, place = np.unique(both, return_inverse=True)
    here = np.bincount(place[: len(a)], wa, len(found))
    there = np.bincount(place[len(a) :], wb, len(found))
    below = np.cumsum(there) - there
    return float(here @ (below + there / 2) / (wa.sum() * wb.sum()))
