r"""Divergences in closed form: of a Gaussian posterior, and of an invertible map. Both in nats.

With z ~ N(0, 1) as the prior and an encoder q_φ(z | x) = N(μ(x), diag σ²(x)),

    KL    E_x Σ_j ½ (μ_j² + σ_j² − 1) − log σ_j

is KL(q_φ(z | x) ‖ p(z)), which bounds I_φ(X; Z) from above, since the two differ by the divergence
of the aggregated posterior, KL(q̃_φ(z) ‖ p(z)) ≥ 0 (Kingma & Welling 2013, arXiv:1312.6114, eq. 10;
Voloshynovskiy et al. 2019, arXiv:1912.00830). With an invertible encoder z̃ = f(x),

    likelihood    −E_x log p(x) = E_x Σ_j ½ (z̃_j² + log 2π) − log|det ∂f/∂x|

which is KL(p_x ‖ p̃_θ) of the decoder f⁻¹ less the entropy of the data (Dinh et al. 2014,
arXiv:1410.8516): the marginal terms of TURBO of both spaces at once, without a critic.

A sample's entries are added up, those of a batch averaged. Neither looks at data of the space: that
is N(0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from imgturbo.turbo.entries import Divergence, Entry
from imgturbo.turbo.spaces import Contest

__all__ = ["KL", "Likelihood"]


class KL(Divergence):
    """KL of each posterior from N(0, 1), over the entries that are valid; see the module's page."""

    needs: ClassVar[Literal["posterior"]] = "posterior"
    of_normal = True

    def generator(self, contest: Contest) -> Iterator[Entry]:
        """One number a sample, of those in which anything is valid."""
        assert contest.posterior is not None  # the objective has asked for a map that tells
        valid = contest.fake.valid
        cells = torch.where(valid, contest.posterior.kl_to_normal(), 0.0)
        yield Entry(cells.flatten(1).sum(1), valid.flatten(1).any(1))


class Likelihood(Divergence):
    """−log p of the input of an invertible map onto N(0, 1); see the module's page.

    Samples with holes have no density and are left out.
    """

    needs: ClassVar[Literal["log_det"]] = "log_det"
    of_normal = True

    def generator(self, contest: Contest) -> Iterator[Entry]:
        """One number a sample, of those that are valid everywhere."""
        assert contest.log_det is not None
        whole = contest.fake.valid.flatten(1).all(1)
        nats = _nats_of_normal(contest.fake.data) - contest.log_det
        yield Entry(torch.where(whole, nats, 0.0), whole)


def _nats_of_normal(u: Tensor) -> Tensor:
    """−log N(u; 0, 1) of each sample (B,)."""
    return 0.5 * (u.square() + math.log(2 * math.pi)).flatten(1).sum(1)
