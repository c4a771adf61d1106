"""What applying a bundle gives, of whatever kind its input is and however many draws were made.

Of draws x₁ … x_N from p(x | z): their mean, their standard deviation, quantiles of their
distribution, and the draws themselves; each is what the input was, an image, an array or a table.
A network without noise has one output, which is its ``mean``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Translation"]

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Translation(Generic[T]):
    """What came in, translated; one shape of answer whatever was asked for.

    Attributes:
        mean: the mean of the draws, in flux; the one output where nothing, or one draw, was drawn.
        std: standard deviation of the draws a pixel, in flux; None for fewer than two draws.
        quantiles: by level between 0 and 1, those that were asked for, ascending.
        draws: each draw by itself, in the order of their seeds, where they were asked for.
        flags: (H, W) of an image, what is doubtful in each pixel: the sum of 1 near a pixel that
            was not measured, 2 where the sky's level or depth is not the training's, 4 beyond the
            training's range of fluxes (:class:`imgturbo.sky.flags.Flag`). None of a table.

    >>> Translation(mean=2.0, std=0.5, quantiles={0.05: 1.2, 0.95: 2.8}).map(lambda x: 10 * x)
    Translation(mean=20.0, std=5.0, quantiles={0.05: 12.0, 0.95: 28.0}, draws=(), flags=None)
    """

    mean: T
    std: T | None = None
    quantiles: Mapping[float, T] = field(default_factory=dict)
    draws: tuple[T, ...] = ()
    flags: NDArray[np.uint8] | None = None

    def map(self, change: Callable[[T], U]) -> Translation[U]:
        """The same answer with every one of its parts, but the flags, changed in the same way."""
        return Translation(
            mean=change(self.mean),
            std=None if self.std is None else change(self.std),
            quantiles={level: change(part) for level, part in self.quantiles.items()},
            draws=tuple(change(draw) for draw in self.draws),
            flags=self.flags,
        )
