r"""Divergences D(p, q) behind the marginal terms: how unlike two distributions are.

With real u ~ p and fake û ~ q, the output of a network:

    critic       a game with a network that learns to tell them apart                 ``critics``
    mmd          squared maximum mean discrepancy of the samples                      ``mmd``
    sliced       squared Wasserstein distance of their projections onto lines         ``sliced``
    kl           E KL(q(û | input) ‖ N(0, 1)), closed form; needs a Gaussian head     ``closed``
    likelihood   −E log p of the input by a change of variables, closed form; needs   ``closed``
                 an invertible network

A divergence answers as a distance does, in sums and counts, since only the caller knows those of
all processes (law 8): see ``entries.Entry``. A new divergence is a small class with the one method
``generator`` and its line in ``DIVERGENCES``.
"""

from __future__ import annotations

from imgturbo.turbo.closed import KL, Likelihood
from imgturbo.turbo.critics import Critic
from imgturbo.turbo.entries import Divergence, Entry
from imgturbo.turbo.mmd import MMD, kernel
from imgturbo.turbo.sliced import SlicedWasserstein

__all__ = [
    "DIVERGENCES",
    "KL",
    "MMD",
    "Critic",
    "Divergence",
    "Entry",
    "Likelihood",
    "SlicedWasserstein",
    "kernel",
]

DIVERGENCES: dict[str, type[Divergence]] = {
    "critic": Critic,
    "mmd": MMD,
    "sliced": SlicedWasserstein,
    "kl": KL,
    "likelihood": Likelihood,
}
