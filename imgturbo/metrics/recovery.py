r"""Completeness and purity by magnitude, and the depth at which both hold.

    completeness(m)   share of the true sources of magnitude m that were found
    purity(m)         share of the sources found at magnitude m that exist
    depth             the faintest m down to which both are at least 90 % in every bin

A share of k out of n has the standard error √(p (1 − p) / n) with p = (k + ½)/(n + 1), Jeffreys'
mean, so that 5 of 5 is no certainty. Between the middles of bins shares are linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Share", "common_depth", "depth", "shares"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEVEL = 0.9
_FEWEST = 10  # sources that a depth is of


class Share(NamedTuple):
    """One bin of magnitude: its edges, how many sources, what share of them, its error."""

    low: float
    high: float
    n: int
    share: float
    error: float

    @property
    def middle(self) -> float:
        """Of the bin."""
        return (self.low + self.high) / 2


def shares(of: Array, hit: Mask, edges: Sequence[float]) -> list[Share]:
    """What share of the sources counts, in bins of ``of`` (N,); bins without a source are left out.

    A bin is closed below and open above.

    Example:
        >>> import numpy as np
        >>> magnitude, found = np.array([24.1, 24.5, 25.5]), np.array([True, False, True])
        >>> [one.share for one in shares(magnitude, found, [24, 25, 26])]
        [0.5, 1.0]
    """
    found = []
    for low, high in pairwise(edges):
        inside = (of >= low) & (of < high)
        n, k = int(inside.sum()), int((hit & inside).sum())
        if n:
            p = (k + 0.5) / (n + 1)
            found.append(Share(float(low), float(high), n, k / n, math.sqrt(p * (1 - p) / n)))
    return found


def depth(bins: Sequence[Share], level: float = LEVEL) -> float | None:
    """The faintest magnitude down to which every bin's share is at least ``level``.

    None where the brightest bin already falls short, and of fewer than ten sources. Where no bin
    falls short, the end of the last one: a limit, the truth may be deeper.
    """
    if not bins or bins[0].share < level or sum(one.n for one in bins) < _FEWEST:
        return None
    for bright, faint in pairwise(bins):
        if faint.share < level:
            fall = (bright.share - level) / (bright.share - faint.share)
            return bright.middle + fall * (faint.middle - bright.middle)
    return bins[-1].high


def common_depth(
    complete: Sequence[Share], pure: Sequence[Share], level: float = LEVEL
) -> float | None:
    """The magnitude down to which completeness and purity are both at least ``level``."""
    both = depth(complete, level), depth(pure, level)
    return None if None in both else min(m for m in both if m is not None)
