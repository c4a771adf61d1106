r"""How far two sets of draws are from one distribution: the squared maximum mean discrepancy.

    MMD²(p, q) = E k(a, a') + E k(b, b') − 2 E k(a, b),       a, a' ~ p,  b, b' ~ q

is 0 where p = q and more elsewhere (Gretton et al. 2012). Of N draws a_i and M draws b_j

    biased      1/N² Σ_ij k(a_i, a_j) + 1/M² Σ_ij k(b_i, b_j) − 2/(NM) Σ_ij k(a_i, b_j)
    unbiased    the same without i = j, over N(N − 1) and M(M − 1)

The biased one is never negative, and of two samples of one distribution about k(0)/N + k(0)/M; the
unbiased one is about 0 there, and may be below. Numbers of the two, of other kernels and of other
units cannot be compared, so each has a name here:

    multiquadric   Σ_a C^a ((C + d²)/a)^{−a},   C = 0.2, a ∈ {0.1, 0.5, 2}    the script beside
                   Kruse et al. 2021 (arXiv:2101.10763), which took the biased one of 4000 draws
    cauchy         Σ_h 1/(1 + d²/h²),           h ∈ {0.05, 0.2, 0.9}          kernels of the
                   mixture of Ardizzone et al. 2018 (arXiv:1808.04730); unbiased, of 1000 draws

with d the Euclidean distance in the parameters' own units, and d² summed, not averaged, over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "KERNELS",
    "Discrepancy",
    "Kernel",
    "cauchy",
    "discrepancies",
    "mmd_squared",
    "multiquadric",
]

Kernel = Callable[[Tensor], Tensor]
"""d² ↦ k, of any shape."""

_ROWS = 1024  # of a matrix of distances that are held at once


def multiquadric(squares: Tensor) -> Tensor:
    """Σ_a C^a ((C + d²)/a)^{−a} with C = 0.2 and a = 0.1, 0.5, 2."""
    ratio = 0.2 / (0.2 + squares)  # (C/(C + d²))^a a^a
    return 0.1**0.1 * ratio**0.1 + (0.5 * ratio).sqrt() + 4 * ratio.square()


def cauchy(squares: Tensor) -> Tensor:
    """Σ_h 1/(1 + d²/h²) with h = 0.05, 0.2, 0.9."""
    return sum((h**2 / (h**2 + squares) for h in (0.05, 0.2, 0.9)), torch.zeros_like(squares))


KERNELS: dict[str, Kernel] = {"multiquadric": multiquadric, "cauchy": cauchy}
"""By the names of the module's docstring."""


class Discrepancy(NamedTuple):
    """MMD² of two sets of draws, by both estimates."""

    biased: float
    unbiased: float


def discrepancies(
    a: Tensor, b: Tensor, kernels: Mapping[str, Kernel] = KERNELS
) -> dict[str, Discrepancy]:
    """MMD² of two sets of draws by several kernels, their distances computed once.

    Args:
        a: (N, P).
        b: (M, P); N and M are 2 or more.
        kernels: of d², by name.
    """
    n, m = len(a), len(b)
    own, other, both = (_sums(*pair, kernels) for pair in ((a, a), (b, b), (a, b)))
    found = {}
    for name, kernel in kernels.items():
        itself = float(kernel(a.new_zeros(1, dtype=torch.float64)))
        cross = 2 * both[name] / (n * m)
        fair = (own[name] - n * itself) / (n * (n - 1)) + (other[name] - m * itself) / (m * (m - 1))
        found[name] = Discrepancy(own[name] / n**2 + other[name] / m**2 - cross, fair - cross)
    return found


def mmd_squared(a: Tensor, b: Tensor, kernel: Kernel, unbiased: bool = True) -> float:
    """MMD² of two sets of draws, (N, P) and (M, P), by one kernel and one estimate.

    Example:
        >>> a = torch.zeros(4, 1)
        >>> mmd_squared(a, a, cauchy), round(mmd_squared(a, a + 1e6, cauchy), 6)
        (0.0, 6.0)
    """
    found = discrepancies(a, b, {"": kernel})[""]
    return found.unbiased if unbiased else found.biased


def _sums(a: Tensor, b: Tensor, kernels: Mapping[str, Kernel]) -> dict[str, float]:
    """Σ_ij k(a_i, b_j) by each kernel, by rows."""
    totals = dict.fromkeys(kernels, 0.0)
    for rows in a.split(_ROWS):
        # Through differences: by the scalar product near draws would lose their distance.
        distance = torch.cdist(rows, b, compute_mode="donot_use_mm_for_euclid_dist")
        squares = distance.square()
        for name, kernel in kernels.items():
            totals[name] += float(kernel(squares).sum(dtype=torch.float64))
    return totals
