r"""Coupling layers: half the channels are moved by numbers that the other half predicts.

    one-sided    z₁ = x₁,                  z₂ = g(x₂; θ₂(x₁, c))
    two-sided    z₁ = g(x₁; θ₁(x₂, c)),    z₂ = g(x₂; θ₂(z₁, c))

θ₁, θ₂ are any networks, always run in the same direction. g is a monotone function of each number
alone, here called a law, so that the Jacobian is triangular and its log-determinant a sum:

    Affine             g(x; s, t) = x·e^σ(s) + t                    log|det| = Σ σ(s)
    VolumePreserving   the same with σ(s) less its mean over the channels; log|det| = 0
    Additive           g(x; t) = x + t                              log|det| = 0

and ``imgturbo.flows.spline.RationalQuadratic``. σ is a soft clamp, |σ| < α, without which e^s
leaves the range of floats. All laws are the identity at s = t = 0, so that a network whose last
layer starts at zero makes a coupling that starts as the identity.

NICE (Dinh et al. 2014, arXiv:1410.8516); RealNVP (Dinh et al. 2017, arXiv:1605.08803); GLOW
(Kingma & Dhariwal 2018, arXiv:1807.03039); two-sided (Ardizzone et al. 2019, arXiv:1808.04730); GIN
(Sorrenson et al. 2020, arXiv:2001.04872).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import (
    Backpropagate,
    Condition,
    Transform,
    full_precision,
    require_channels,
)

__all__ = ["Additive", "Affine", "Clamp", "Coupling", "Law", "MakePredictor", "VolumePreserving"]

MakePredictor = Callable[[int, int], nn.Module]
"""(channels in, channels out) → a network θ with ``θ(x (B, in, …), condition) -> (B, out, …)``."""


@dataclass(frozen=True)
class Clamp:
    """σ(s) = α·k·atan(s/α) or α·k·atan(s), or the same with tanh and no k.

    Attributes:
        alpha: α > 0, the largest size of σ: a layer scales by at most e^α.
        shape: "atan", which flattens slowly, or "tanh".
        scaled: whether s is divided by α, so that the slope at zero does not depend on α. The
            published colorization network does; FrEIA 0.2 does not.
        factor: k = 2/π. FrEIA's code has it rounded to 0.636, for which parity must ask.
    """

    alpha: float = 2.0
    shape: Literal["atan", "tanh"] = "atan"
    scaled: bool = True
    factor: float = 2 / math.pi

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ImgturboError(f"the clamp's alpha must be above zero, not {self.alpha}")

    def __call__(self, s: Tensor) -> Tensor:
        if self.scaled:
            s = s / self.alpha
        if self.shape == "tanh":
            return self.alpha * torch.tanh(s)
        return (self.alpha * self.factor) * torch.atan(s)


class Law(Protocol):
    """A monotone function g(x; θ) of every number alone, θ (B, n·C, …) for x (B, C, …)."""

    @property
    def numbers(self) -> int:
        """n, parameters for each number of x."""
        ...

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """g(x; θ) and Σ log ∂g/∂x (B,)."""
        ...

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        """The x at which g(x; θ) = z."""
        ...


@dataclass(frozen=True)
class Affine:
    """g(x; s, t) = x·e^σ(s) + t; θ holds s, then t, as in GLOW."""

    clamp: Clamp = Clamp()
    numbers = 2

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        s, t = theta.chunk(2, dim=1)
        sigma = self.clamp(s)
        return torch.addcmul(t, x, sigma.exp()), sigma.flatten(1).sum(1)

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        s, t = theta.chunk(2, dim=1)
        return (z - t) * torch.exp(-self.clamp(s))


@dataclass(frozen=True)
class VolumePreserving:
    """GIN: affine with Σ σ = 0 over the channels of every pixel, so log|det| = 0 exactly."""

    clamp: Clamp = Clamp()
    numbers = 2

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        sigma, t = self._parameters(theta)
        return torch.addcmul(t, x, sigma.exp()), x.new_zeros(len(x))

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        sigma, t = self._parameters(theta)
        return (z - t) * torch.exp(-sigma)

    def _parameters(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        s, t = theta.chunk(2, dim=1)
        sigma = self.clamp(s)
        return sigma - sigma.mean(dim=1, keepdim=True), t


@dataclass(frozen=True)
class Additive:
    """NICE: g(x; t) = x + t."""

    numbers = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + theta, x.new_zeros(len(x))

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        return z - theta


class Coupling(Transform):
    """A coupling of (B, C, …), C ≥ 2, one- or two-sided.

    Args:
        channels: C.
        make_predictor: called as ``make_predictor(in, out)`` for θ₂ and, two-sided, θ₁.
        law: g.
        sides: 2 moves both parts, the first one first; 1 moves the second part alone.
        first: channels of the first part; None: ⌊C/2⌋.

    Raises:
        ImgturboError: fewer than two channels, or a first part that leaves nothing.
    """

    def __init__(
        self,
        channels: int,
        make_predictor: MakePredictor,
        law: Law | None = None,
        *,
        sides: Literal[1, 2] = 2,
        first: int | None = None,
    ) -> None:
        super().__init__()
        first = channels // 2 if first is None else first
        if not 0 < first < channels:
            raise ImgturboError(
                f"a coupling cannot split {channels} channels into {first} and {channels - first}; "
                "both parts need one at least (halve the resolution first to have four times more)"
            )
        self.channels = channels
        self.sizes = (first, channels - first)
        self.law: Law = Affine() if law is None else law
        numbers = self.law.numbers
        self.predict_second = make_predictor(first, numbers * (channels - first))
        self.predict_first = (
            make_predictor(channels - first, numbers * first) if sides == 2 else None
        )

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this coupling")
        first, second = full_precision(x).split(self.sizes, dim=1)
        log_det = None
        if self.predict_first is not None:
            theta = self.predict_first(second, condition).to(first.dtype)
            first, log_det = self.law.forward(first, theta)
        theta = self.predict_second(first, condition).to(first.dtype)
        second, part = self.law.forward(second, theta)
        z = torch.cat([first, second], dim=1)
        return z, part if log_det is None else log_det + part

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this coupling")
        first, second = full_precision(z).split(self.sizes, dim=1)
        theta = self.predict_second(first, condition).to(first.dtype)
        second = self.law.inverse(second, theta)
        if self.predict_first is not None:
            theta = self.predict_first(second, condition).to(first.dtype)
            first = self.law.inverse(first, theta)
        return torch.cat([first, second], dim=1)

    def retrace(
        self,
        z: Tensor,
        condition: Condition,
        grad_z: Tensor,
        grad_log_det: Tensor,
        backpropagate: Backpropagate,
    ) -> tuple[Tensor, Tensor]:
        """As in ``Transform``, but each network runs once: its θ serves inverse and gradients."""

        def part(
            predict: nn.Module, passive: Tensor, moved: Tensor, grad: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            """The part before it was moved, its gradient, and what the passive part adds."""
            passive = passive.detach().requires_grad_()
            with torch.enable_grad():
                theta = predict(passive, condition).to(moved.dtype)
            with torch.no_grad():
                active = self.law.inverse(moved, theta)
            with torch.enable_grad():
                leaf = active.detach().requires_grad_()
                again, log_det = self.law.forward(leaf, theta)
            pairs = [(again, grad), (log_det, grad_log_det)]
            grad_passive, grad_active = backpropagate(pairs, [passive, leaf], predict)
            return active, grad_active, grad_passive

        first, second = z.split(self.sizes, dim=1)
        grad_first, grad_second = grad_z.split(self.sizes, dim=1)
        second, grad_second, more = part(self.predict_second, first, second, grad_second)
        grad_first = grad_first + more
        if self.predict_first is not None:
            first, grad_first, more = part(self.predict_first, second, first, grad_first)
            grad_second = grad_second + more
        return torch.cat([first, second], dim=1), torch.cat([grad_first, grad_second], dim=1)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, sizes={self.sizes}, law={self.law}"
