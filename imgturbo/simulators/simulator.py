"""What a simulator is: parameters z with a prior p(z), and observations x that follow p(x | z).

Training draws (z, x) pairs from it without end, so it is asked for many at once and keeps nothing
between calls: what it draws is a function of the generator that it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from imgturbo.side import Side

__all__ = ["Simulator"]

Floats = NDArray[np.float64]


class Simulator(ABC):
    """Draws parameters, and observations of them, in physical units.

    Attributes:
        name: what the registry calls it.
        version: raised with every change of what it draws, so that no run goes on with other data.
        parameters: the side of the parameters; its stretch brings them to about zero mean and unit
            spread, which is what networks are given.
        observations: the side of the observations, likewise.
    """

    name: str
    version: int = 1
    parameters: Side
    observations: Side

    @abstractmethod
    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """Draw ``n`` sets of parameters, (n, P), from the prior."""

    @abstractmethod
    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """Draw what is observed of each set of parameters.

        Args:
            generator: of the noise.
            parameters: (n, P).

        Returns:
            (n, O), a row a set.
        """
