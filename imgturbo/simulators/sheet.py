r"""A rolled sheet: numbers that lie near a curved surface, and codes to generate them from.

    z ~ N(0, 1),   x = (sin 3z₁/2, cos 3z₁/2, z₂, z₁ z₂/2) + σ ε,   ε ~ N(0, 1)

Two numbers become four. Mean and covariance say little of x: its first two columns lie on an arc,
the fourth has no correlation with any, though it is a function of the others. So what learns the
distribution of x, and what its moments alone, are told apart.

The side z is a code of kind latent. It may have more numbers than the two that matter: with four of
them an invertible network has as many on either side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Sheet"]

Floats = NDArray[np.float64]

_NOISE = 0.1


class SheetOptions(Section):
    """Of the simulator ``sheet``."""

    numbers: int = Field(2, ge=2, le=1 << 10)
    """Numbers of the code, of which two matter."""


class Sheet(Simulator):
    """Observes two numbers of a code as four columns on a curved surface.

    Args:
        options: ``numbers`` of the code.
    """

    name = "sheet"
    Options = SheetOptions
    options: SheetOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        numbers = self.options.numbers
        self.parameters = Side(
            tuple(f"z{i + 1}" for i in range(numbers)), "", Stretch.linear(numbers), kind="latent"
        )
        mean, spread = _moments()
        stretch = Stretch(mean, np.full(4, np.inf), spread)
        self.observations = Side(("x1", "x2", "x3", "x4"), "", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """z, (n, numbers)."""
        return generator.standard_normal((n, self.options.numbers))

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """x, (n, 4)."""
        u, v = parameters[:, 0], parameters[:, 1]
        exact = np.stack([np.sin(1.5 * u), np.cos(1.5 * u), v, u * v / 2], axis=1)
        return exact + _NOISE * generator.standard_normal(exact.shape)


def _moments() -> tuple[Floats, Floats]:
    """Means and spreads of the columns, in closed form.

    E cos au = e^(−a²/2) and cos² + sin² = 1 give those of the arc.
    """
    once, twice = np.exp(-(1.5**2) / 2), np.exp(-(3.0**2) / 2)
    mean = np.array([0.0, once, 0.0, 0.0])
    square = np.array([(1 - twice) / 2, (1 + twice) / 2, 1.0, 0.25])
    return mean, np.sqrt(square - mean**2 + _NOISE**2)
