r"""Distributions of single parameters, each with the bijection that brings it to ℝ.

    Normal(m, s)        t = θ           mean m                  deviation s
    LogNormal(m, s)     t = ln θ        ln m, m the median      s
    Uniform(a, b)       t = logit       0                       π/√3
    Beta(a, b)          t = logit       ψ(a) − ψ(b)             √(ψ'(a) + ψ'(b))
    Gamma(k, s)         t = ln θ        ψ(k) + ln s             √ψ'(k)
    VonMises(κ)         t = wrapped     0                       π/√3, its value at κ = 0

The last two columns are of t, ψ the digamma function. So the stretch of a parameter follows from
its prior in closed form: networks see numbers of zero mean and unit spread, and what they give is a
parameter that can be.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma, psi

from imgturbo.side import Side
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch

__all__ = [
    "Beta",
    "Gamma",
    "LogNormal",
    "Normal",
    "Prior",
    "Uniform",
    "VonMises",
    "draw_all",
    "side_of",
]

Floats = NDArray[np.float64]

_LOGISTIC = math.pi / math.sqrt(3)  # standard deviation of the logit of a uniform number


class Prior(ABC):
    """The distribution of one parameter."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""

    @property
    def bijection(self) -> Bijection:
        """The map to ℝ."""
        return NONE

    @property
    @abstractmethod
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation after the map."""


@dataclass(frozen=True)
class Normal(Prior):
    """N(mean, deviation²)."""

    mean: float
    deviation: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.normal(self.mean, self.deviation, n)

    @property
    def moments(self) -> tuple[float, float]:
        """Its own."""
        return self.mean, self.deviation


@dataclass(frozen=True)
class LogNormal(Prior):
    """exp N(ln median, sigma²)."""

    median: float
    sigma: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.lognormal(math.log(self.median), self.sigma, n)

    bijection = Bijection("log")

    @property
    def moments(self) -> tuple[float, float]:
        """Of ln θ."""
        return math.log(self.median), self.sigma


@dataclass(frozen=True)
class Uniform(Prior):
    """Any number between two alike."""

    low: float
    high: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.uniform(self.low, self.high, n)

    @property
    def bijection(self) -> Bijection:
        """The logit between its ends."""
        return Bijection("logit", self.low, self.high)

    moments = (0.0, _LOGISTIC)


@dataclass(frozen=True)
class Beta(Prior):
    """A share between 0 and 1."""

    a: float
    b: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.beta(self.a, self.b, n)

    bijection = Bijection("logit")

    @property
    def moments(self) -> tuple[float, float]:
        """Of the logit."""
        spread = polygamma(1, self.a) + polygamma(1, self.b)
        return float(psi(self.a) - psi(self.b)), float(np.sqrt(spread))


@dataclass(frozen=True)
class Gamma(Prior):
    """A sum of waiting times: mean shape · scale."""

    shape: float
    scale: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.gamma(self.shape, self.scale, n)

    bijection = Bijection("log")

    @property
    def moments(self) -> tuple[float, float]:
        """Of ln θ."""
        return float(psi(self.shape)) + math.log(self.scale), float(
            np.sqrt(polygamma(1, self.shape))
        )


@dataclass(frozen=True)
class VonMises(Prior):
    """An angle in (−π, π), around 0 the more the larger κ."""

    kappa: float

    def draw(self, generator: np.random.Generator, n: int) -> Floats:
        """(n,)."""
        return generator.vonmises(0.0, self.kappa, n)

    bijection = Bijection("angle", -math.pi, math.pi)
    moments = (0.0, _LOGISTIC)


def draw_all(priors: Sequence[Prior], generator: np.random.Generator, n: int) -> Floats:
    """Independent draws of each, (n, P)."""
    return np.stack([prior.draw(generator, n) for prior in priors], 1)


def side_of(
    names: Sequence[str], priors: Sequence[Prior], units: Mapping[str, str] | None = None
) -> Side:
    """The table of the parameters, mapped to ℝ and standardised.

    Args:
        names, priors: of the parameters.
        units: of those that have one, by name.
    """
    offset, scale = np.array([prior.moments for prior in priors]).T
    before = tuple(prior.bijection for prior in priors)
    stretch = Stretch(offset, np.full(len(priors), np.inf), scale, before)
    own = tuple((units or {}).get(name, "") for name in names)
    return Side(tuple(names), "", stretch, kind="table", units=own)
