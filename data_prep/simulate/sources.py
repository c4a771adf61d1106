r"""The nouns of a scene: profiles, sources, a lens.

A Sérsic profile of half-light radius r_e has I(r) ∝ exp(−b r^{1/n}), r in units of r_e, b such that
half the light lies within r = 1 (Γ(2n) = 2 γ(2n, b)). Seen through a lens it keeps its brightness
and moves: an isothermal sphere of Einstein radius θ_E with a shear Γ takes the point θ of the sky
(from its centre) to β on the source's plane,

    β = θ − θ_E θ/|θ| − Γ θ,     I_seen(θ) = I(β − β₀).

Positions are (ξ, η) in the tangent plane, east and north, arcsec; fluxes nJy, one for each band of
the scene; angles degrees east of north.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

__all__ = ["Arms", "Lens", "Profile", "Scene", "Source", "half_light_radius"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """Spiral arms: surface brightness × exp(strength · cos(m(φ − ln(r/r_e)/tan pitch) − phase))."""

    count: int
    pitch: float  # degrees; the sign is the sense of winding
    phase: float  # degrees
    strength: float


@dataclass(frozen=True)
class Lens:
    """A singular isothermal sphere at (ξ, η) with a shear along position angle ``angle``."""

    xi: float
    eta: float
    radius: float  # Einstein radius, arcsec
    shear: float
    angle: float  # degrees

    def source_plane(self, xi: Any, eta: Any) -> tuple[Any, Any]:
        """Where on the source's plane a point of the sky lies; both from the lens, broadcast."""
        c, s = np.cos(np.radians(2 * self.angle)), np.sin(np.radians(2 * self.angle))
        pull = 1 - self.radius / np.maximum(np.hypot(xi, eta), 1e-6)
        # A position angle is counted from η towards ξ, hence the sign of the diagonal.
        beta_xi = pull * xi - self.shear * (-c * xi + s * eta)
        beta_eta = pull * eta - self.shear * (s * xi + c * eta)
        return beta_xi, beta_eta


@dataclass(frozen=True)
class Profile:
    """One Sérsic component; ``radius`` is the half-light radius along the major axis.

    ``clumps`` (K, 4) puts part of the light into knots: x, y, width in units of ``radius`` in the
    component's own plane, and share of the component's flux.
    """

    radius: float
    index: float
    axis_ratio: float
    position_angle: float
    flux: Array  # (B,)
    arms: Arms | None = None
    clumps: Array = field(default_factory=lambda: np.zeros((0, 4)))
    lens: Lens | None = None


@dataclass(frozen=True)
class Source:
    """One entry of the catalogue; a star has no profiles.

    A lensed galaxy stands at its brightest image, with the flux of all its images.
    """

    kind: str  # "galaxy", "cluster", "bcg", "arc", "star"
    xi: float
    eta: float
    redshift: float  # NaN for stars
    flux: Array  # (B,)
    profiles: tuple[Profile, ...] = ()


@dataclass(frozen=True)
class Scene:
    """Sources in a square of the tangent plane, with fluxes in ``bands``."""

    bands: tuple[str, ...]
    sky: tuple[float, float]  # ra, dec of the plane's origin, degrees
    sources: tuple[Source, ...]
    cluster_redshift: float


def half_light_radius(profiles: Sequence[Profile], band: int) -> float:
    """Radius along the major axis that holds half the light of all profiles in one band, arcsec."""
    share = np.array([p.flux[band] for p in profiles])
    if not profiles or share.sum() <= 0:
        return 0.0
    radius = np.geomspace(1e-3, 1e2, 600)
    index = np.array([p.index for p in profiles])
    scale = gammaincinv(2 * index, 0.5)
    size = np.array([p.radius for p in profiles])
    grown = gammainc(2 * index, scale * (radius[:, None] / size) ** (1 / index)) @ share
    return float(np.interp(0.5, grown / share.sum(), radius))
