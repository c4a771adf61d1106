r"""Mutual information between two spaces: what is known in closed form, and bounds that are learnt.

    I(X; Z) = E log p(z | x) / p(z) = h(Z) − h(Z | X)                              in nats

of jointly Gaussian variables is ½ log |Σ_x| |Σ_z| / |Σ|. Elsewhere it has to be bounded. A model q
of the conditional bounds it from below, since what it lacks is a divergence (Barber & Agakov 2003,
NIPS 16; the bound of TURBO, arXiv:2112.10629, eq. 2 and appendix A.1):

    I(X; Z) ≥ h(Z) + E log q(z | x)

and so do N pairs, where of each z is to be told which x it belongs to (van den Oord et al. 2018,
arXiv:1807.03748), by any score f, the best of which is log p(z | x), up to a function of z:

    I(X; Z) ≥ log N + E log [ exp f(x_i, z_i) / Σ_j exp f(x_j, z_i) ],        never above log N

A prior p(z) bounds what an encoder q(z | x) passes on from above, by what its marginal lacks
(arXiv:1912.00830, eq. 12): I_φ(X; Z) ≤ E KL(q(z | x) ‖ p(z)).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["contrastive_bound", "entropy_of_normal", "information_of_normal", "lower_bound"]


def entropy_of_normal(covariance: Tensor) -> float:
    """h of N(·, Σ) in nats, ½ log |2πe Σ|.

    >>> round(entropy_of_normal(torch.eye(1)), 4)
    1.4189
    """
    covariance = covariance.double()
    return 0.5 * (len(covariance) * math.log(2 * math.pi * math.e) + _log_det(covariance))


def information_of_normal(covariance: Tensor, first: int) -> float:
    """I(X; Z) in nats of a joint normal distribution.

    Args:
        covariance: Σ of (x, z) side by side, positive definite.
        first: how many of its numbers are x.
    """
    covariance = covariance.double()
    x, z = covariance[:first, :first], covariance[first:, first:]
    return 0.5 * (_log_det(x) + _log_det(z) - _log_det(covariance))


def lower_bound(nats: Tensor, entropy: float) -> float:
    """h(Z) + E log q(z | x), which I(X; Z) is at least.

    Args:
        nats: −log q(z | x) of pairs that q was not fitted to, (N,).
        entropy: h(Z) in nats.
    """
    return entropy - float(nats.double().mean())


def contrastive_bound(scores: Tensor) -> float:
    """The bound of N pairs, from f(x_i, z_j) (N, N)."""
    scores = scores.double()
    told = scores.diagonal() - scores.logsumexp(0)
    return math.log(len(scores)) + float(told.mean())


def _log_det(matrix: Tensor) -> float:
    return float(torch.linalg.slogdet(matrix)[1])
