r"""Where the hand of an arm on a rail is, given the height of the rail's slider and three joints.

    x ~ N(0, diag(¼, ½, ½, ½)²),     lengths l = (½, ½, 1)

    y₁ =      l₁ cos x₂ + l₂ cos(x₂ + x₃) + l₃ cos(x₂ + x₃ + x₄)
    y₂ = x₁ + l₁ sin x₂ + l₂ sin(x₂ + x₃) + l₃ sin(x₂ + x₃ + x₄)

Kruse, Ardizzone, Rother & Köthe 2021, "Benchmarking Invertible Architectures on Inverse Problems"
(arXiv:2101.10763), inverse kinematics. Nothing is random in y: two numbers leave two of four
dimensions open, along which the posterior is a curved sheet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.side import Side
from imgturbo.simulators.priors import Normal, draw_all, side_of
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Arm"]

Floats = NDArray[np.float64]

_LENGTHS = np.array([0.5, 0.5, 1.0])
_DEVIATIONS = (0.25, 0.5, 0.5, 0.5)
_NAMES = ("x1", "x2", "x3", "x4")
_UNITS = {"x2": "rad", "x3": "rad", "x4": "rad"}


class Arm(Simulator):
    """Observes the hand of an arm in the plane: inverse kinematics.

    Example:
        >>> import numpy as np
        >>> Arm().observe(np.random.default_rng(0), np.zeros((1, 4))).tolist()
        [[2.0, 0.0]]
    """

    name = "arm"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._priors = [Normal(0.0, deviation) for deviation in _DEVIATIONS]
        self.parameters = side_of(_NAMES, self._priors, _UNITS)
        mean, variance = _moments()
        stretch = Stretch(mean, np.full(2, np.inf), np.sqrt(variance))
        self.observations = Side(("y1", "y2"), "", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """x, (n, 4): the slider's height, three angles in radians."""
        return draw_all(self._priors, generator, n)

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """y, (n, 2): the hand's place. Nothing is drawn."""
        angles = np.cumsum(parameters[:, 1:], 1)
        return np.stack(
            [np.cos(angles) @ _LENGTHS, parameters[:, 0] + np.sin(angles) @ _LENGTHS], 1
        )


def _moments() -> tuple[Floats, Floats]:
    """Mean and variance of y: E cos φ = e^{−V/2} of a normal angle of variance V, and so on."""
    variances = np.cumsum(np.square(_DEVIATIONS[1:]))  # of the three directions
    mean = np.array([_LENGTHS @ np.exp(-variances / 2), 0.0])
    shared = np.minimum.outer(variances, variances)  # covariance of two directions
    total = np.add.outer(variances, variances)
    even, odd = np.exp(shared - total / 2), np.exp(-shared - total / 2)
    square = [_LENGTHS @ (even + sign * odd) @ _LENGTHS / 2 for sign in (1, -1)]
    return mean, np.array([square[0] - mean[0] ** 2, square[1] + _DEVIATIONS[0] ** 2])
