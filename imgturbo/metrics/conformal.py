r"""Ends of intervals that are guaranteed, whatever the model: conformal prediction.

Let r be how far the truth lies above a predicted quantile, in units of the predicted spread, and
let the scores r_1 … r_n be of sky that the model never met. The upper end of level p is moved by

    c = r_(k),    k = ⌈p (n + B)⌉,

the k-th smallest, and a lower end, p < ½, by the mirror image of that: −c of −r at 1 − p. With
B = 1 this is split conformal prediction (Romano et al. 2019, arXiv 1905.03222): if the new pixel
and the n old ones are exchangeable, it lies below its end with probability p or more, at any n and
for any model. Two ends of p and 1 − p hold at least 2p − 1 between them.

Pixels of one sky are not exchangeable: neighbours share a galaxy and a noise. *Blocks* of sky may
be. A block of up to B pixels, of which m lie outside, has the loss m − (1 − p) · (its pixels), at
most p B; conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814) of that loss gives the
k above, and

    E[pixels of a new block that lie below] ≥ p E[pixels of a new block],

however the pixels within a block depend on each other. What it costs is B/n of a level.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["enough", "shift"]

_ROUNDING = 1e-9


def _rank(n: int, level: float, block: int) -> int:
    return max(1, math.ceil(level * (n + block) - _ROUNDING))


def enough(n: int, level: float, block: int = 1) -> bool:
    """Whether n scores, at most ``block`` of them of one block, can guarantee this level."""
    return n > 0 and _rank(n, max(level, 1 - level), block) <= n


def shift(scores: NDArray[np.floating], level: float, block: int = 1) -> float:
    """c of the module's page: by how many spreads a predicted quantile is to be moved.

    Args:
        scores: r, (n,), the truth less the quantile, in predicted spreads.
        level: p, between 0 and 1; at ½ it is the median of the scores, which guarantees nothing.
        block: B, the most scores that one block of sky has.

    Returns:
        ±infinity where n is too small for the level.

    Example:
        >>> import numpy as np
        >>> shift(np.arange(19.0), 0.95), shift(np.arange(19.0), 0.05)  # 19 of 20, 1 of 20
        (18.0, 0.0)
    """
    if level == 0.5:
        return float(np.median(scores)) if len(scores) else math.inf
    if level < 0.5:
        return -shift(-scores, 1 - level, block)
    if not enough(len(scores), level, block):
        return math.inf
    k = _rank(len(scores), level, block) - 1
    return float(np.partition(scores, k)[k])
