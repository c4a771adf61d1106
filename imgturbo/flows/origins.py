r"""Which quark each jet comes from, or which jet each quark has become: a choice of one in 209.

    a(x, z) = for each of four particles wanted the one of four given that is the nearest to it in
              (η, φ), if it is in turn the nearest to that and less than 0.4 away; else none
    p(x | z) = p(a | z) · p(x | z, a),      a one of Σ_k k! (4 choose k)² = 209 ways

Jets come in the order of p_T, and some come from no quark at all; so a map from quarks to jets is
one of many smooth maps, and no smooth one goes from one to the next. a is a function of the pair,
so that both factors of the likelihood can be learnt by themselves: a classifier, and a flow that
is told the way.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from imgturbo.nets.noise import Noise

__all__ = ["NONE", "WAYS", "Origins", "half_turn", "matched"]

NONE = 4
NEAR = 0.4
_LAYER = 1 << 16
"""The number of this noise among the noisy layers of a network."""


def _ways() -> list[tuple[int, ...]]:
    """For each of four particles which of four it comes from; none of them twice."""
    every = itertools.product(range(NONE + 1), repeat=4)
    return [way for way in every if len({*way} - {NONE}) == sum(one != NONE for one in way)]


WAYS = _ways()


def half_turn(phi: Tensor) -> Tensor:
    """An angle between −π and π."""
    return torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi


def matched(given: Tensor, wanted: Tensor) -> Tensor:
    """a of the module's page.

    Args:
        given, wanted: (B, 4, 2), η and φ of four particles each.

    Returns:
        (B, 4), for each one wanted its place among those given, 4: none.
    """
    eta = wanted[:, :, None, 0] - given[:, None, :, 0]
    phi = half_turn(wanted[:, :, None, 1] - given[:, None, :, 1])
    apart = eta.square() + phi.square()
    nearest, back = apart.argmin(2), apart.argmin(1)
    mutual = back.gather(1, nearest) == torch.arange(4, device=given.device)
    near = apart.gather(2, nearest[..., None])[..., 0] < NEAR**2
    return torch.where(mutual & near, nearest, NONE)


class Origins(nn.Module):
    """p(a | h), h (B, width) what is known of the given event."""

    ways: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, len(WAYS))
        self.register_buffer("ways", torch.tensor(WAYS), persistent=False)

    def draw(self, h: Tensor, noise: Noise | None) -> Tensor:
        """a (B, 4) at random, by the inverse of the distribution; without noise the likeliest."""
        logits = self.logits(h)
        if noise is None:
            return self.ways[logits.argmax(1)]
        uniform = torch.special.ndtr(noise(_LAYER, (len(h), 1), 1, h))
        below = logits.double().softmax(1).cumsum(1) < uniform
        return self.ways[below.sum(1).clamp(max=len(WAYS) - 1)]

    def log_prob(self, a: Tensor, h: Tensor) -> Tensor:
        """log p(a | h) (B,)."""
        number = (a[:, None] == self.ways).all(2).float().argmax(1)
        return self.logits(h).log_softmax(1).gather(1, number[:, None])[:, 0]
