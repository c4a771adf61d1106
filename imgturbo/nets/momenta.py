r"""A network for events: rows of K four-momenta (p_x, p_y, p_z, E) in, as many or more out.

    p  = undo the stretch(u),     R p: turned about the beam until the first particle has p_y = 0
    p₀ = arranged(R p)                                   what the output would be, were it no other
    h₀ = W [u′, u₀′] + A₀ε₀,   hᵢ₊₁ = hᵢ + W₂ silu(W₁ norm(hᵢ) + Aᵢεᵢ)
    y  = u₀′ + 4 tanh(W h/4),   x̃ = stretch(R⁻¹ [p_x, p_y, p_z of y, in GeV; E by the shell])

(u′, u₀′: R p and p₀ in the stretch of their side.) An MLP has to learn from the data what is known
beforehand: that nothing changes if an event is turned about the beam; that detected jets are in the
order of p_T, an order that partons lack; and that a particle of mass m has E² = |p|² + m². So

    arrange  pt      from partons to objects: neutrino → missing p_T; quarks in the order of p_T,
                     into which what comes out is put as well
             masses  from objects to partons: the jets go to the two b and the W by the least χ² of
                     twelve assignments, p_z of the neutrino follows from the mass of its W (see
                     :mod:`imgturbo.events.masses`); which jet of the W is which is drawn
             none     as they are, as OTUS adds its input to its output (arXiv:2101.08944)
    shell    of each particle out: its mass in GeV; or "massive", a mass of its own, m = m₀ eʸ;
             "transverse", massless with p_z = 0; "free", E is a number like others

With ε = 0 it is a deterministic map, and every row is translated by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import MomentaConfig, MomentaFlowConfig
from imgturbo.errors import ImgturboError
from imgturbo.events.masses import ASSIGNMENTS, M_TOP, M_W, WIDTHS
from imgturbo.nets.generator import TableGenerator
from imgturbo.nets.layers import shrink
from imgturbo.nets.noise import Noise, NoiseLayer
from imgturbo.side import Side

__all__ = ["EventGenerator", "MomentaNet", "Units", "in_order", "turn", "turned"]

_MASSIVE = 10.0  # GeV, m₀: about the mass of a jet
_LARGEST = 6.0  # of a stretched number times its scale: beyond it sinh grows without bound
_FARTHEST = 4.0  # of a correction: a game with a critic must not run away
_IN_GEV = {"": 1.0, "eV": 1e-9, "keV": 1e-6, "MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}
_SWAP = 1 << 16  # the noise's layer by which the two jets of a W are told apart


class Units(nn.Module):
    """A side's stretch, to GeV and back, in torch; constants that travel with the weights.

    Columns may be in another unit of energy; of one that states none GeV is taken.
    """

    exact = ("offset", "curvature", "scale")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(channels))
        self.register_buffer("curvature", torch.zeros(channels))  # 1/softening; 0: linear
        self.register_buffer("scale", torch.ones(channels))

    offset: Tensor
    curvature: Tensor
    scale: Tensor

    def set(self, side: Side) -> None:
        """Take up a side's stretch.

        Raises:
            ImgturboError: one with a logarithm or bounds, which has no negative momenta; columns in
                a unit that is no energy.
        """
        if side.stretch.bijective:
            raise ImgturboError(
                "model: a network of momenta reads numbers that may be negative; scale their "
                "columns by linear or asinh, not by log"
            )
        plain = [unit.replace(" ", "").removesuffix("/c") for unit in side.units]
        if unknown := [unit for unit in plain if unit not in _IN_GEV]:
            raise ImgturboError(
                f"model: a network of momenta needs them in GeV, not in {unknown[0]}; say so by "
                "'units' of the sides in prepare.tables"
            )
        stretch = side.stretch.scaled(np.array([_IN_GEV[unit] for unit in plain]))
        self.offset.copy_(torch.as_tensor(stretch.offset))
        self.curvature.copy_(1 / torch.as_tensor(stretch.softening))
        self.scale.copy_(torch.as_tensor(stretch.scale))

    def forward(self, values: Tensor) -> Tensor:
        """GeV (B, C) to stretched numbers."""
        moved = values - self.offset
        bent = self.curvature > 0
        return torch.where(bent, torch.asinh(moved * self.curvature), moved) / self.scale

    def inverse(self, y: Tensor) -> Tensor:
        """Stretched numbers (B, C) to GeV."""
        moved = y * self.scale
        bent = self.curvature > 0
        curvature = torch.where(bent, self.curvature, 1.0)
        limited = torch.where(bent, moved, 0.0).clamp(-_LARGEST, _LARGEST)
        return self.offset + torch.where(bent, torch.sinh(limited) / curvature, moved)


class _Block(nn.Module):
    """h + W₂ silu(W₁ norm(h) + Aε)."""

    def __init__(self, width: int, noise_channels: int, layer: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.noise = NoiseLayer(width, noise_channels, layer, stride=1) if noise_channels else None
        self.second = nn.Linear(width, width)

    def forward(self, h: Tensor, noise: Noise | None) -> Tensor:
        inner = self.first(self.norm(h))
        if self.noise is not None:
            inner = self.noise(inner, noise)
        return h + self.second(F.silu(inner))


class EventGenerator(TableGenerator):
    """A generator of events, which knows in what units its rows are and what comes from what.

    Raises:
        ImgturboError: sides that are no rows of four-momenta, as many as ``shell`` has particles.
    """

    reads = "events"

    def __init__(
        self,
        config: MomentaConfig | MomentaFlowConfig,
        in_channels: int,
        out_channels: int,
        stochastic: bool,
    ) -> None:
        super().__init__(in_channels, out_channels, stochastic=stochastic)
        self.shell = list(config.shell)
        self.ordered = config.arrange == "pt"
        self.arrange = _arrangement(config.arrange, len(self.shell), in_channels, out_channels)
        self.before, self.after = Units(in_channels), Units(out_channels)

    def know(self, given: Side, wanted: Side) -> None:
        """Take up the stretches and units of both sides, by which stretched numbers are GeV."""
        self.before.set(given)
        self.after.set(wanted)


class MomentaNet(EventGenerator):
    """(B, 4K) → (B, 4K), an event at a time; see the module's page."""

    instead = "unet"

    def __init__(self, config: MomentaConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(config, in_channels, out_channels, config.noise_channels > 0)
        self.turned = config.turned
        self.first = nn.Linear(in_channels + out_channels, config.width)
        self.noise = (
            NoiseLayer(config.width, config.noise_channels, 0, stride=1)
            if config.noise_channels
            else None
        )
        self.blocks = nn.ModuleList(
            _Block(config.width, config.noise_channels, layer)
            for layer in range(1, config.blocks + 1)
        )
        self.norm = nn.LayerNorm(config.width)
        self.last = nn.Linear(config.width, out_channels)
        shrink(self.last)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Translate rows; ``noise`` as for images.

        Raises:
            ImgturboError: ``u`` is no (B, C) table, or has another number of columns.
        """
        p = self.before.inverse(self.checked(u)).unflatten(1, (-1, 4))
        p, angle = turned(p) if self.turned else (p, None)
        start = self.after(self.arrange(p, noise).flatten(1))
        h = self.first(torch.cat([self.before(p.flatten(1)), start], 1))
        if self.noise is not None:
            h = self.noise(h, noise)
        for block in self.blocks:
            h = block(h, noise)
        change = _FARTHEST * torch.tanh(self.last(F.silu(self.norm(h))) / _FARTHEST)
        made = self.after.inverse(start + change).unflatten(1, (-1, 4))
        made = self._on_shell(made, change.unflatten(1, (-1, 4))[..., 3])
        if self.ordered:
            made = in_order(made)
        return self.after((made if angle is None else turn(made, angle)).flatten(1))

    def _on_shell(self, p: Tensor, change: Tensor) -> Tensor:
        """Momenta (B, K, 4) with the energies that their masses ask for; ``change`` (B, K)."""
        particles = []
        for number, shell in enumerate(self.shell):
            momentum, energy = p[:, number, :3], p[:, number, 3]
            if shell == "transverse":
                momentum = torch.cat([momentum[:, :2], torch.zeros_like(momentum[:, 2:])], 1)
            if shell != "free":
                mass: Tensor | float = 0.0 if isinstance(shell, str) else shell
                if shell == "massive":
                    mass = _MASSIVE * torch.exp(change[:, number])
                # √ has no derivative at 0, where a particle at rest without a mass would be.
                energy = (momentum.square().sum(1) + mass * mass + 1e-12).sqrt()
            particles.append(torch.cat([momentum, energy[:, None]], 1))
        return torch.stack(particles, 1)


def turned(p: Tensor) -> tuple[Tensor, Tensor]:
    """Four-momenta (B, K, 4) turned about the beam until the first has p_y = 0, and the angle back.

    The angle is (B,); of a first particle without p_T it is 0.
    """
    x, y = p[:, 0, 0], p[:, 0, 1]
    still = (x == 0) & (y == 0)  # where the angle has no derivative
    angle = torch.atan2(torch.where(still, 0.0, y), torch.where(still, 1.0, x))
    return turn(p, -angle), angle


def turn(p: Tensor, angle: Tensor) -> Tensor:
    """Four-momenta (B, K, 4) turned about the beam by an angle (B,) each."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y = p[..., 0] * cos - p[..., 1] * sin, p[..., 0] * sin + p[..., 1] * cos
    return torch.stack([x, y, p[..., 2], p[..., 3]], -1)


# ---------------------------------------------------------------------------------- arrangements


def _as_they_are(p: Tensor, noise: Noise | None) -> Tensor:
    return p


def _to_objects(p: Tensor, noise: Noise | None) -> Tensor:
    """Partons as they would be detected: the neutrino's p_T, and quarks in the order of p_T."""
    neutrino = p[:, 1]
    pt = _length(neutrino[:, :2])
    met = torch.stack([neutrino[:, 0], neutrino[:, 1], torch.zeros_like(pt), pt], 1)
    return in_order(torch.cat([p[:, :1], met[:, None], p[:, 2:]], 1))


def in_order(p: Tensor) -> Tensor:
    """Four-momenta (B, K, 4) with all but the first two in the order of falling p_T."""
    order = _length(p[:, 2:, :2]).sort(dim=1, descending=True, stable=True).indices
    return torch.cat([p[:, :2], p[:, 2:].gather(1, order[..., None].expand(-1, -1, 4))], 1)


def _to_partons(p: Tensor, noise: Noise | None) -> Tensor:
    """Objects as the partons that they probably come from: see the module's page."""
    electron, missing, jets = p[:, 0], p[:, 1, :2], p[:, 2:]
    pz = _neutrino_pz(electron, missing)
    neutrino = torch.stack(
        [missing[:, 0], missing[:, 1], pz, (missing.square().sum(1) + pz * pz + 1e-12).sqrt()], 1
    )
    table = torch.tensor(ASSIGNMENTS, device=p.device)
    with torch.no_grad():
        leptonic, hadronic, one, two = (jets[:, table[:, n]] for n in range(4))
        away = {
            "m_t_lep": _mass((electron + neutrino)[:, None] + leptonic) - M_TOP,
            "m_W_had": _mass(one + two) - M_W,
            "m_t_had": _mass(one + two + hadronic) - M_TOP,
        }
        chi2 = torch.stack([(m / WIDTHS[name]).square() for name, m in away.items()]).sum(0)
        best = table[chi2.argmin(1)]
        if noise is not None:
            swap = noise(_SWAP, (len(p), 1), 1, p)[:, 0] > 0
            turned = best[:, [0, 1, 3, 2]]
            best = torch.where(swap[:, None], turned, best)
        order = best[:, [1, 0, 2, 3]]  # b, b̄, u, d̄
    quarks = jets.gather(1, order[..., None].expand(-1, -1, 4))
    return torch.cat([electron[:, None], neutrino[:, None], quarks], 1)


_ARRANGE = {"none": _as_they_are, "pt": _to_objects, "masses": _to_partons}


def _arrangement(
    name: str, particles: int, in_channels: int, out_channels: int
) -> Callable[[Tensor, Noise | None], Tensor]:
    """What a network starts from: of four-momenta (B, K, 4) as many others.

    Raises:
        ImgturboError: columns that are not those of so many particles, or not six of them.
    """
    wanted = 4 * particles
    if not in_channels == out_channels == wanted:
        raise ImgturboError(
            f"model: a network whose shell has {particles} particles leads from {wanted} columns "
            f"to {wanted}, px, py, pz, E of each, but the sides have {in_channels} and "
            f"{out_channels}"
        )
    if name != "none" and particles != 6:
        raise ImgturboError(
            f"model: arrange: {name} is for the six particles of an event of two tops, and shell "
            f"has {particles}; set it to none"
        )
    return _ARRANGE[name]


def _neutrino_pz(electron: Tensor, missing: Tensor) -> Tensor:
    """The smaller root, real part where complex; (B, 4), (B, 2) → (B,)."""
    energy, pz = electron[:, 3], electron[:, 2]
    own = energy.square() - electron[:, :3].square().sum(1)
    k = (M_W**2 - own) / 2 + (electron[:, :2] * missing).sum(1)
    a = (energy.square() - pz.square()).clamp(min=1e-3)
    squared = k.square() - a * missing.square().sum(1)  # of the root, over E²
    root = energy * torch.where(squared > 0, squared.clamp(min=1e-6).sqrt(), 0.0)
    return (k * pz - torch.sign(k * pz) * root) / a


def _length(v: Tensor) -> Tensor:
    return (v.square().sum(-1) + 1e-12).sqrt()


def _mass(p: Tensor) -> Tensor:
    squared = p[..., 3].square() - p[..., :3].square().sum(-1)
    return squared.sign() * squared.abs().sqrt()
