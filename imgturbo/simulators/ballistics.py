r"""How far a ball flies that is thrown through air.

    x₁ ~ N(0, ½²)   x₂ ~ max(0, N(3/2, ½²))   x₃ ~ U(0.1·π/2, 0.9·π/2)   x₄ = v₀ ~ Poisson(15)

    x(t) = x₁ − v₀ cos x₃ · (m/k) (e^{−kt/m} − 1)
    y(t) = x₂ − (m/k²) [(g m + v₀ sin x₃ · k)(e^{−kt/m} − 1) + g t k]

with g = 9.81, k = 0.25, m = 0.2, and observed is x where y comes down to 0 (Kruse et al. 2021,
arXiv:2101.10763). Two ways to find it:

``grid``: as published, x at the last of 1500 times in [0, 6] s before y is negative, a staircase of
steps of 0.01 to 0.03. A ball that is in the air for longer has no impact: NaN (the public code
drops its row, and so moves all later ones to other parameters).

``root``: the root of y itself. y is concave with y(0) ≥ 0, so its last root is one, and Newton's
steps from the right, t ← t − y/ẏ, come down to it without ever passing it; they start at

    t₀ = (x₂ + (m/k²)(g m + v₀ sin x₃ · k)) · k/(g m),     y(t₀) = −(m/k²)(…) e^{−k t₀/m} ≤ 0.

On the grid the last time before the root is ⌊t/dt⌋ dt, by the same concavity, so that both cost the
same.

v₀ is a whole number, which no density has: ``speed: dequantised`` adds U(−½, ½) to the parameter
and throws with the nearest whole one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch

__all__ = ["Ballistics", "BallisticsOptions"]

Floats = NDArray[np.float64]

G, K, M = 9.81, 0.25, 0.2
_SPAN, _TIMES = 6.0, 1500
_STEP = _SPAN / (_TIMES - 1)
_ANGLES = (0.1 * np.pi / 2, 0.9 * np.pi / 2)
_NEWTON = 60  # at most; some 6 are usual, more only for balls that are let fall from very low


class BallisticsOptions(Section):
    """Variants of the published problem."""

    impact: Literal["grid", "root"] = "grid"
    """Where the ball comes down: on a grid of times, as published, or at the root itself."""
    speed: Literal["integer", "dequantised"] = "dequantised"
    """Whether the speed is the whole number that is thrown with, as published, or has U(−½, ½)
    added, which a density can follow."""


class Ballistics(Simulator):
    """Observes where a thrown ball lands.

    Args:
        impact: ``"grid"`` or ``"root"``.
        speed: ``"integer"`` or ``"dequantised"``.

    Example:
        >>> import numpy as np
        >>> dropped = np.array([[0.25, 1.5, 1.0, 0.0]])
        >>> Ballistics().observe(np.random.default_rng(0), dropped).tolist()
        [[0.25]]
    """

    name = "ballistics"
    Options = BallisticsOptions
    options: BallisticsOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        before = (NONE, NONE, Bijection("logit", *_ANGLES), NONE)
        scale = np.array([0.5, 0.5, np.pi / np.sqrt(3), np.sqrt(15)])
        stretch = Stretch(np.array([0.0, 1.5, 0.0, 15.0]), np.full(4, np.inf), scale, before)
        names, units = ("x1", "x2", "x3", "x4"), ("m", "m", "rad", "m/s")
        self.parameters = Side(names, "", stretch, kind="table", units=units)
        # Mean and deviation of 10⁷ draws, to three digits.
        stretch = Stretch(np.array([6.78]), np.array([np.inf]), np.array([3.13]))
        self.observations = Side(("y",), "m", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """x, (n, 4): where it starts and how high, in m, the angle in radians, the speed in m/s."""
        x1 = generator.normal(0.0, 0.5, n)
        x2 = np.maximum(generator.normal(1.5, 0.5, n), 0.0)
        x3 = generator.uniform(*_ANGLES, n)
        v0 = generator.poisson(15.0, n).astype(np.float64)
        if self.options.speed == "dequantised":
            v0 += generator.uniform(-0.5, 0.5, n)
        return np.stack([x1, x2, x3, v0], 1)

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """Where it comes down, (n, 1) in m, NaN where it does not. Nothing is drawn."""
        x1, x2, x3, v0 = parameters.T
        v0 = np.maximum(np.rint(v0), 0.0) if self.options.speed == "dequantised" else v0
        time = landing_time(x2, v0 * np.sin(x3))
        if self.options.impact == "grid":
            index = np.floor(time / _STEP)
            time = np.where(index < _TIMES - 1, index * _STEP, np.nan)
        return (x1 - v0 * np.cos(x3) * (M / K) * np.expm1(-K * time / M))[:, None]


def landing_time(height: Floats, upward: Floats) -> Floats:
    """When a ball comes down to 0.

    Args:
        height: it starts from, in m, 0 or more; below, it is never at 0 on its way down: NaN.
        upward: its speed upward at the start, in m/s.

    Returns:
        Seconds.
    """
    lift = (M / K**2) * (G * M + upward * K)
    fall = G * M / K
    with np.errstate(invalid="ignore", divide="ignore"):
        time = np.where(height >= 0, (height + lift) / fall, np.nan)
        for _ in range(_NEWTON):
            decay = np.exp(-K * time / M)
            value = height + lift * (1 - decay) - fall * time
            slope = lift * (K / M) * decay - fall
            # Level where it starts: y has its double root there, and no step is needed.
            step = np.where(slope < 0, value / slope, 0.0)
            time = time - step
            if not (np.abs(step) > 1e-13 * (1 + np.abs(time))).any():
                break
    return np.asarray(np.maximum(time, 0.0))
