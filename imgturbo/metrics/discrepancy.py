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

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["KERNELS", "Kernel", "cauchy", "mmd_squared", "multiquadric"]

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


def mmd_squared(a: Tensor, b: Tensor, kernel: Kernel, unbiased: bool = True) -> float:
    """MMD² of two sets of draws.

    Args:
        a: (N, P).
        b: (M, P).
        kernel: of d².
        unbiased: which of the two estimates; for it N and M are 2 or more.

    Example:
        >>> a = torch.zeros(4, 1)
        >>> mmd_squared(a, a, cauchy), round(mmd_squared(a, a + 1e6, cauchy), 6)
        (0.0, 6.0)
    """
    n, m = len(a), len(b)
    itself = float(kernel(a.new_zeros(1, dtype=torch.float64)))
    own, other, both = _sum(a, a, kernel), _sum(b, b, kernel), _sum(a, b, kernel)
    if unbiased:
        own, other = own - n * itself, other - m * itself
        return own / (n * (n - 1)) + other / (m * (m - 1)) - 2 * both / (n * m)
    return own / n**2 + other / m**2 - 2 * both / (n * m)


def _sum(a: Tensor, b: Tensor, kernel: Kernel) -> float:
    """Σ_ij k(a_i, b_j), by rows."""
    total = 0.0
    for rows in a.split(_ROWS):
        # Through differences: by the scalar product near draws would lose their distance.
        distance = torch.cdist(rows, b, compute_mode="donot_use_mm_for_euclid_dist")
        total += float(kernel(distance.square()).sum(dtype=torch.float64))
    return total
