r"""A conditional flow of events: draws and densities of rows of four-momenta given other ones.

    p(x | z) = p(a | z) · N(f(t; h(z, a)); 0, 1) · |det ∂f/∂t| · Π dt/dc
    c = (ln p_T, η, φ [, ln m]) of each particle,     r = c(x) − c(p₀(z, a)),     t = asinh(r/s)/2

a says which jet comes from which quark (:mod:`imgturbo.flows.origins`), p₀ is what the output would
be, were it no other: the particles that it comes from. f is a chain of conditional couplings with
rational-quadratic splines, h dense layers on z, p₀, masses and distances, all in the frame that is
turned about the beam until the first particle has p_y = 0 and, with ``mirrored``, in the mirrors in
which that has p_z ≥ 0 and the second p_y ≥ 0: like beams may change places, and no cross-section of
unpolarised ones tells an event from its mirror image but for CP violation. So the flow learns the
response of a detector, or how to undo it: r is 0 where nothing happens, a little where a jet is
measured, and of order 1 where it comes from elsewhere; t is of order 1 in both cases (s = 0.05).

The coordinates are those of the shell: (p_T, η, φ) of a particle of known mass, (p_T, φ) of one
that is transverse, and ln m besides of one with a mass of its own. The density is that of these
numbers. Detected jets are in the order of p_T, and draws are put into it; what the density holds
of other orders is lost in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import MomentaFlowConfig
from imgturbo.flows.chain import Chain
from imgturbo.flows.coupling import Coupling, MakePredictor
from imgturbo.flows.mixing import Permutation
from imgturbo.flows.origins import NONE, Origins, half_turn, matched
from imgturbo.flows.predictors import DensePredictor
from imgturbo.flows.spline import RationalQuadratic
from imgturbo.flows.transform import Transform
from imgturbo.nets.momenta import EventGenerator, in_order, turn, turned
from imgturbo.nets.momenta_critic import seen, sets_of
from imgturbo.nets.noise import Noise

__all__ = ["MomentaFlow"]

_CORE = 0.05  # s: about the resolution of a jet
_SOFTEST = 1e-2  # GeV: what has no p_T at all has no logarithm and no direction
_LIGHTEST = 1e-2
_FARTHEST = 6.0  # of η and of logarithms
_ELSEWHERE = (math.log(30.0), 0.0, 0.0, math.log(5.0))  # what comes from nothing that is given
_USED = {"transverse": (True, False, True, False), "massive": (True, True, True, True)}
"""Which of the four coordinates there are of a shell that is no mass."""


class MomentaFlow(EventGenerator):
    """(B, 4K) → (B, 4K), an event at a time, with a density; see the module's page."""

    has_density = True
    scale = 1

    def __init__(self, config: MomentaFlowConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(config, in_channels, out_channels, stochastic=True)
        self.mirrored = config.mirrored
        used = [_USED.get(str(shell), (True, True, True, False)) for shell in self.shell]
        self.register_buffer("used", torch.tensor(used), persistent=False)
        self.register_buffer("members", sets_of(len(self.shell)), persistent=False)
        self.numbers = numbers = sum(map(sum, used))
        particles = len(self.shell)
        pairs = particles * (particles - 1) // 2
        known = 2 * in_channels + particles + len(self.members) + pairs
        width = config.width
        self.first = nn.Sequential(
            nn.Linear(known, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.origins = Origins(width)
        self.second = nn.Sequential(
            nn.Linear(width + out_channels + 4 * (NONE + 1), width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
        )  # fmt: skip
        parts: list[Transform] = []
        for number in range(config.couplings):
            # Every other time the halves change places: a number that no coupling moves would be
            # taken for standard normal, which it is not.
            half = numbers // 2
            turns = [*range(half, numbers), *range(half)]
            parts.append(Permutation(turns if number % 2 else numbers, number))
            parts.append(Coupling(numbers, _predictor(config), RationalQuadratic(), sides=1))
        self.flow = Chain(*parts)

    used: Tensor
    members: Tensor

    # ----------------------------------------------------------------------------- draws

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """One draw; with ``noise`` None that of the latents 0.

        Raises:
            ImgturboError: ``u`` is no (B, C) table, or has another number of columns.
        """
        return next(self.draws(u, [noise]))

    def draws(self, u: Tensor, noises: Sequence[Noise | None]) -> Iterator[Tensor]:
        p, angle, mirror = self._lain(self.checked(u))
        start, h = self._known(p)
        for noise in noises:
            a = self.origins.draw(h, noise)
            base, condition = self._given(p, start, a, h)
            shape = (len(u), self.numbers)
            latent = u.new_zeros(shape) if noise is None else noise(0, shape, 1, u)
            t = self.flow.inverse(latent, condition)
            moved = u.new_zeros(len(u), *self.used.shape)
            moved[:, self.used] = _CORE * torch.sinh((2 * t).clamp(-8, 8))
            made = self._momenta(base + moved)
            if self.ordered:
                made = in_order(made)
            yield self.after(turn(made * mirror[:, None], angle).flatten(1))

    def _momenta(self, c: Tensor) -> Tensor:
        """Four-momenta (B, K, 4) of coordinates (B, K, 4), by their shells."""
        pt = torch.exp(c[..., 0].clamp(-_FARTHEST, 1.5 * _FARTHEST))
        pz = pt * torch.sinh(c[..., 1].clamp(-_FARTHEST, _FARTHEST))
        pz = pz * self.used[:, 1]
        masses = [
            torch.exp(c[:, n, 3].clamp(-_FARTHEST, _FARTHEST))
            if shell == "massive"
            else c.new_full((len(c),), 0.0 if isinstance(shell, str) else shell)
            for n, shell in enumerate(self.shell)
        ]
        energy = (pt.square() + pz.square() + torch.stack(masses, 1).square()).sqrt()
        return torch.stack([pt * c[..., 2].cos(), pt * c[..., 2].sin(), pz, energy], -1)

    # ----------------------------------------------------------------------------- densities

    def reduce(self, x: Tensor) -> Tensor:
        """The coordinates (B, n) of events (B, 4K), particle by particle."""
        return _coordinates(self.after.inverse(x).unflatten(1, (-1, 4)))[:, self.used]

    def log_density(self, y: Tensor, z: Tensor) -> Tensor:
        """log p(y|z) (B,) in nats, of coordinates y (B, n) given events z (B, 4K)."""
        p, angle, mirror = self._lain(z)
        start, h = self._known(p)
        c = y.new_zeros(len(y), *self.used.shape)
        c[:, self.used] = y
        # Directions differ by less than half a turn, in the frame of the given event.
        phi = mirror[:, 1:2] * half_turn(c[..., 2] - angle[:, None])
        c = torch.stack([c[..., 0], mirror[:, 2:3] * c[..., 1], phi, c[..., 3]], 2)
        a = matched(_coordinates(p)[:, 2:, 1:3], c[:, 2:, 1:3])
        base, condition = self._given(p, start, a, h)
        moved = c - base
        moved = torch.stack(
            [moved[..., 0], moved[..., 1], half_turn(moved[..., 2]), moved[..., 3]], 2
        )
        r = moved[:, self.used] / _CORE
        t = torch.asinh(r) / 2
        slope = -0.5 * torch.log1p(r.square()) - math.log(2 * _CORE)
        latent, log_det = self.flow(t, condition)
        normal = -0.5 * (latent.square() + math.log(2 * math.pi)).sum(1)
        return normal + log_det + slope.sum(1) + self.origins.log_prob(a, h)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile what a likelihood runs: the networks of the condition, and the flow."""
        for part in (self.first, self.second, self.flow):
            part.compile(*args, **kwargs)

    def _lain(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Four-momenta (B, K, 4), GeV, as the networks see them; the angle and the signs back.

        The angle is (B,), the signs of p_x, p_y, p_z and E are (B, 4).
        """
        p, angle = turned(self.before.inverse(u).unflatten(1, (-1, 4)))
        mirror = torch.ones_like(p[:, 0])
        if self.mirrored:
            mirror[:, 1] = torch.where(p[:, 1, 1] < 0, -1.0, 1.0)
            mirror[:, 2] = torch.where(p[:, 0, 2] < 0, -1.0, 1.0)
        return p * mirror[:, None], angle, mirror

    def _known(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """As arranged (B, K, 4), and what is known of a turned event (B, width)."""
        start = self.arrange(p, None)
        features = [
            self.before(p.flatten(1)), self.after(start.flatten(1)),
            *seen(p, self.members), _apart(p),
        ]  # fmt: skip
        return start, self.first(torch.cat(features, 1))

    def _given(self, p: Tensor, start: Tensor, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """c(p₀) (B, K, 4), and the condition (B, width), of a (B, 4)."""
        elsewhere = p.new_tensor(_ELSEWHERE).expand(len(p), 1, 4)
        quarks = torch.cat([_coordinates(p[:, 2:]), elsewhere], 1)
        chosen = quarks.gather(1, a[..., None].expand(-1, -1, 4))
        base = torch.cat([_coordinates(start[:, :2]), chosen], 1)
        kinds = F.one_hot(a, NONE + 1).flatten(1).to(h.dtype)
        return base, self.second(torch.cat([h, base.flatten(1), kinds], 1))


def _predictor(config: MomentaFlowConfig) -> MakePredictor:
    width = config.width
    return lambda one, two: DensePredictor(
        one, two, width=width, condition_channels=width, hidden_layers=2, slope=0.01
    )


def _coordinates(p: Tensor) -> Tensor:
    """(ln p_T, η, φ, ln m) of four-momenta (…, 4)."""
    pt = (p[..., :2].square().sum(-1) + _SOFTEST**2).sqrt()
    eta = torch.asinh(p[..., 2] / pt).clamp(-_FARTHEST, _FARTHEST)
    squared = p[..., 3].square() - p[..., :3].square().sum(-1)
    mass = squared.clamp(min=_LIGHTEST**2).sqrt()
    return torch.stack([pt.log(), eta, torch.atan2(p[..., 1], p[..., 0]), mass.log()], -1)


def _apart(p: Tensor) -> Tensor:
    """ΔR of every pair of particles, (B, K (K − 1)/2)."""
    c = _coordinates(p)
    first, second = torch.triu_indices(p.shape[1], p.shape[1], 1, device=p.device)
    eta = c[:, first, 1] - c[:, second, 1]
    phi = half_turn(c[:, first, 2] - c[:, second, 2])
    return (eta.square() + phi.square() + 1e-6).sqrt()
