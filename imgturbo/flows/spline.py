r"""Monotone rational-quadratic splines, the most supple law of a coupling.

On [−b, b] there are K bins with knots (xₖ, yₖ) and slopes δₖ > 0. With ξ = (x − xₖ)/wₖ in bin k,
wₖ and hₖ its width and height, and sₖ = hₖ/wₖ,

    g(x)  = yₖ + hₖ·(sₖξ² + δₖξ(1−ξ)) / D,              D = sₖ + (δₖ₊₁ + δₖ − 2sₖ)·ξ(1−ξ),
    g'(x) = sₖ²·(δₖ₊₁ξ² + 2sₖξ(1−ξ) + δₖ(1−ξ)²) / D²;

outside it g(x) = x, with slope 1 at ±b so that g' is continuous. The inverse is the root of a
quadratic, written 2c/(−b − √(b² − 4ac)), which loses no digits where a is small.

Of θ, softly clamped to (−α, α), the softmax gives shares of widths and heights and the exponential
gives slopes. Unclamped, a network far from its data makes bins so flat that float32 cannot undo
them (an error of 0.04 was seen at a single layer); the clamp bounds how flat they get.

Durkan et al. 2019, *Neural Spline Flows* (arXiv:1906.04032), equations 4–8 and 25–28.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.flows.coupling import Clamp

__all__ = ["RationalQuadratic"]


@dataclass(frozen=True)
class RationalQuadratic:
    """A spline for each number: K widths, K heights and K − 1 inner slopes; identity at θ = 0.

    Attributes:
        bins: K ≥ 2.
        bound: b > 0; numbers beyond ±b are left alone.
        clamp: of θ.
    """

    bins: int = 8
    bound: float = 4.0
    clamp: Clamp = field(default_factory=lambda: Clamp(1.5))

    def __post_init__(self) -> None:
        if self.bins < 2 or self.bound <= 0:
            raise ImgturboError(
                "a spline needs at least two bins and a bound above zero, not "
                f"bins={self.bins}, bound={self.bound}"
            )

    @property
    def numbers(self) -> int:
        """3K − 1."""
        return 3 * self.bins - 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """g(x) and Σ log g'(x) (B,) for x (B, C, …), θ (B, (3K−1)·C, …)."""
        inside = x.abs() < self.bound
        # Beyond the bound any point inside will do: its value and its gradient are thrown away.
        inner = torch.where(inside, x, torch.zeros_like(x))
        x0, w, y0, h, left, right = self._bin(inner, 0, self._knots(x, theta))
        s = h / w
        xi = (inner - x0) / w
        bump = xi * (1 - xi)
        denominator = s + (right + left - 2 * s) * bump
        z = y0 + h * (s * xi.square() + left * bump) / denominator
        numerator = right * xi.square() + 2 * s * bump + left * (1 - xi).square()
        log_slope = 2 * s.log() + numerator.log() - 2 * denominator.log()
        log_slope = torch.where(inside, log_slope, torch.zeros_like(x))
        return torch.where(inside, z, x), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        inside = z.abs() < self.bound
        inner = torch.where(inside, z, torch.zeros_like(z))
        x0, w, y0, h, left, right = self._bin(inner, 1, self._knots(z, theta))
        s = h / w
        rise = inner - y0
        excess = rise * (right + left - 2 * s)
        a = h * (s - left) + excess
        b = h * left - excess
        c = -s * rise
        # Rounding can take a root's zero discriminant below zero.
        root = torch.sqrt((b.square() - 4 * a * c).clamp(min=0))
        return torch.where(inside, x0 + w * 2 * c / (-b - root), z)

    def _knots(self, x: Tensor, theta: Tensor) -> Tensor:
        """Knots in x and y and slopes there, (B, C, …, 3, K + 1)."""
        theta = self.clamp(theta.unflatten(1, (x.shape[1], self.numbers)).movedim(2, -1))
        logits, inner = theta.split([2 * self.bins, self.bins - 1], dim=-1)
        shares = torch.softmax(logits.unflatten(-1, (2, self.bins)), dim=-1)
        # The last sum is 1 but for rounding; the edge is where the identity begins.
        edges = F.pad(shares.cumsum(dim=-1)[..., :-1], (1, 0))
        edges = self.bound * (2 * F.pad(edges, (0, 1), value=1.0) - 1)
        slopes = F.pad(inner, (1, 1)).exp()
        return torch.cat([edges, slopes[..., None, :]], dim=-2)

    @staticmethod
    def _bin(value: Tensor, where: int, knots: Tensor) -> tuple[Tensor, ...]:
        """x₀, width, y₀, height and both slopes of the bin that holds ``value``.

        ``where`` is 0 for a value of x, 1 for one of y.
        """
        inner_knots = knots[..., where, 1:-1].detach()
        first = (value[..., None] >= inner_knots).sum(dim=-1)[..., None, None]
        index = torch.cat([first, first + 1], dim=-1).expand(*knots.shape[:-1], 2)
        found = knots.gather(-1, index)
        x0, y0, left = found[..., 0].unbind(-1)
        width, height, _ = found.diff(dim=-1)[..., 0].unbind(-1)
        return x0, width, y0, height, left, found[..., 2, 1]
