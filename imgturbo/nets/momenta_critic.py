r"""A critic of events, which is shown the masses that a physicist would look at.

    D(u) = dense layers of [u′, p_T, m_ij, m_ijk],    u = K stretched four-momenta, i < j < k

Masses of two and of three particles, where W and top are, are no simple functions of the momenta; a
plain dense critic finds them late. u′ is the event turned about the beam until its first particle
has p_y = 0, so that a score does not depend on how it lies. Of p_T and masses it is shown
asinh(m/100 GeV): W and top are well apart there, and no slope grows with an energy.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import CriticConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.critic import join
from imgturbo.nets.momenta import Units, turn, turned
from imgturbo.nets.spectral import SpectralLinear
from imgturbo.side import Side

__all__ = ["MomentaCritic", "seen", "sets_of"]

_GEV = 100.0


class MomentaCritic(nn.Module):
    """(B, 4K[+Cc]) → [(B, 1)]; a condition is an event as well.

    Raises:
        ImgturboError: the numbers are no four-momenta.
    """

    def __init__(self, config: CriticConfig, channels: int, condition_channels: int = 0) -> None:
        super().__init__()
        if channels % 4 or condition_channels % 4:
            raise ImgturboError(
                f"model.critic: a critic of kind momenta judges px, py, pz, E of particles, and "
                f"{channels} columns are no multiple of 4; set it to mlp"
            )
        self.channels, self.condition_channels = channels, condition_channels
        self.register_buffer("members", sets_of(channels // 4), persistent=False)
        self.units = Units(channels)
        # The condition is turned as the event is, or how it lies would be told by the other.
        self.beside = Units(condition_channels) if condition_channels else None
        linear = SpectralLinear if config.norm == "spectral" else nn.Linear
        features = channels + channels // 4 + len(self.members) + condition_channels
        sizes = [features, *config.hidden, 1]
        self.layers = nn.ModuleList(
            linear(before, after) for before, after in itertools.pairwise(sizes)
        )

    members: Tensor

    def know(self, own: Side, other: Side) -> None:
        """Take up the stretches and units of the side that is judged, and of the condition."""
        self.units.set(own)
        if self.beside is not None:
            self.beside.set(other)

    def forward(
        self, u: Tensor, condition: Tensor | None = None, features: bool = False
    ) -> list[Tensor]:
        """Score events, beside their condition where the critic was built with one.

        With ``features`` what the last layer reads, (B, hidden), in the place of the score.
        """
        joined = join(u, condition, self.channels, self.condition_channels, ndim=2)
        p, angle = turned(self.units.inverse(u).unflatten(1, (-1, 4)))
        parts = [self.units(p.flatten(1)), *seen(p, self.members)]
        if self.beside is not None:
            given = self.beside.inverse(joined[:, self.channels :]).unflatten(1, (-1, 4))
            parts.append(self.beside(turn(given, -angle).flatten(1)))
        h = torch.cat(parts, 1)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), 0.2)
        return [h if features else self.layers[-1](h)]


def sets_of(particles: int) -> Tensor:
    """Every pair and every three of K particles: (S, K), 1 where one belongs to a set."""
    numbers = range(particles)
    sets = [*itertools.combinations(numbers, 2), *itertools.combinations(numbers, 3)]
    return torch.tensor([[float(n in one) for n in numbers] for one in sets])


def seen(p: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """asinh of p_T of every particle (B, K) and of the mass of every set of them (B, S)."""
    pt = (p[..., :2].square().sum(-1) + 1.0).sqrt()
    together = torch.einsum("sk,bkc->bsc", members, p)
    squared = together[..., 3].square() - together[..., :3].square().sum(-1)
    mass = (F.relu(squared) + 1.0).sqrt()
    return torch.asinh(pt / _GEV), torch.asinh(mass / _GEV)
