"""What a simulator is: parameters z with a prior p(z), and observations x that follow p(x | z).

Training draws (z, x) pairs from it without end, so it is asked for many at once and keeps nothing
between calls: what it draws is a function of the generator that it is given.

Parameters to which nothing is observed (a ball that never lands) have the observation NaN; training
leaves such rows out, and so do scores.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgturbo.config.section import Section
from imgturbo.files import sha256
from imgturbo.side import Side

__all__ = ["Simulator"]

Floats = NDArray[np.float64]


class Simulator(ABC):
    """Draws parameters, and observations of them, in physical units.

    Args:
        options: the keys of its ``Options``.

    Attributes:
        name: what the registry calls it.
        version: raised with every change of what it draws, so that no run goes on with other data.
        Options: the section of its settings; those of a config stand in ``data.source.options``.
        options: its settings.
        parameters: the side of the parameters; its stretch brings them to about zero mean and unit
            spread, which is what networks are given.
        observations: the side of the observations, likewise.
        modes: names of the kinds of answers that one observation may have, where they can be told
            apart (:meth:`mode`); empty: they cannot.

    Raises:
        pydantic.ValidationError: an option that there is not, or a value that it cannot have;
            :func:`imgturbo.simulators.make_simulator` makes one line of it.
    """

    name: str
    version: int = 1
    Options: ClassVar[type[Section]] = Section
    modes: ClassVar[tuple[str, ...]] = ()
    options: Section
    parameters: Side
    observations: Side

    def __init__(self, **options: Any) -> None:
        self.options = self.Options(**options)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with what it draws: name, version, options, sides."""
        content: list[Any] = [self.name, self.version, self.set_options]
        content += [self.parameters.to_dict(), self.observations.to_dict()]
        return sha256(json.dumps(content, sort_keys=True).encode())[:16]

    @property
    def set_options(self) -> dict[str, Any]:
        """Its options that are not the default, JSON-ready."""
        return self.options.model_dump(mode="json", exclude_defaults=True)

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
            (n, O), a row a set; NaN where there is nothing to observe.
        """

    def exact_draws(
        self, generator: np.random.Generator, observations: Floats, n: int
    ) -> Floats | None:
        """Draws of the posterior itself, (M, n, P), of observations (M, O); None: not known."""
        return None

    def mode(self, parameters: Floats) -> NDArray[np.int64]:
        """Which of the ``modes`` each set of parameters (n, P) belongs to, (n,)."""
        raise NotImplementedError(f"the simulator {self.name} has no modes")

    def draw(self, generator: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        """Draw ``n`` sets of parameters, (n, P), and what is observed of each, (n, O)."""
        parameters = self.prior(generator, n)
        return parameters, self.observe(generator, parameters)
