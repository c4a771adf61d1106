"""What is kept of the draws of a stochastic generator: per pixel, in flux.

Of draws f_1 … f_N the mean (extension SCI), the standard deviation √(Σ(f_n − m)²/(N − 1)) (STD),
quantiles (Q05, Q50, Q95 …) and, if asked for, the draws themselves (S001 …). The n-th of N sorted
draws is the quantile n/(N + 1), so that a measurement from the same distribution falls between Q05
and Q95 with probability 0.9 (Weibull's plotting position; others are too narrow). Beyond the first
and the last draw nothing is known: N draws have the levels 1/(N + 1) to N/(N + 1), and what is
asked for outside them is the outermost draw, with a warning (Q05 and Q95 of 4 draws enclose 60 %).
Where the bundle has calibrated intervals, quantiles are put right here, once for every path
(:mod:`imgturbo.bundle.intervals`).
Mean and deviation are by Welford's recurrence (Technometrics 4, 419, 1962),

    m_n = m_{n−1} + (f_n − m_{n−1})/n,    S_n = S_{n−1} + (f_n − m_{n−1})(f_n − m_n),

so that draws are only held, N of one batch of windows, where quantiles are wanted of them. All of
it is done on fluxes, not on stretched values: the mean of asinh is not the asinh of the mean, and a
photometrist wants the expected flux. (Quantiles are the same on both.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from imgturbo.bundle import Correction, Translation
from imgturbo.errors import ImgturboError

__all__ = ["Reducer", "Reduction", "quantile_name"]

Array = npt.NDArray[np.float64]
T = TypeVar("T")


class Reduction(NamedTuple):
    """What is to be made of the draws.

    Attributes:
        samples: how many draws there are; None: one, without noise.
        quantiles: levels in (0, 1), ascending.
        keep_draws: whether each draw is an extension of its own.
        correction: of the quantiles; None: they are given as they are drawn.
    """

    samples: int | None = None
    quantiles: tuple[float, ...] = ()
    keep_draws: bool = False
    correction: Correction | None = None

    @classmethod
    def of(
        cls,
        samples: int | None,
        quantiles: Sequence[float],
        keep_draws: bool,
        correction: Correction | None = None,
    ) -> Reduction:
        """Checked.

        Raises:
            ImgturboError: quantiles or draws of fewer than two samples, levels out of range.
        """
        levels = tuple(sorted(set(quantiles)))
        if (levels or keep_draws) and (samples or 0) < 2:
            raise ImgturboError(
                "quantiles and single draws are of several samples; ask for 2 samples or more"
            )
        for level in levels:
            if not 0 < level < 1:
                raise ImgturboError(f"quantile {level} is not between 0 and 1; 0.05 is the 5 % one")
        names = [quantile_name(level) for level in levels]
        if len(set(names)) < len(names):
            raise ImgturboError(f"quantiles {levels} would share the extensions {names}; use fewer")
        if correction is None and (beyond := _beyond(samples or 0, levels)):
            warnings.warn(beyond, stacklevel=2)
        return cls(samples, levels, keep_draws, correction)

    @property
    def extensions(self) -> tuple[str, ...]:
        """Names of the planes; a single draw has no deviation."""
        if (self.samples or 1) < 2:
            return ("SCI",)
        draws = range(1, (self.samples or 0) + 1) if self.keep_draws else ()
        return (
            "SCI",
            "STD",
            *map(quantile_name, self.quantiles),
            *(f"S{draw:03d}" for draw in draws),
        )

    def translation(
        self, planes: Mapping[str, T], flags: npt.NDArray[np.uint8] | None = None
    ) -> Translation[T]:
        """The planes by name, and the flags, as one answer."""
        draws = range(1, (self.samples or 0) + 1) if self.keep_draws else ()
        return Translation(
            mean=planes["SCI"],
            std=planes.get("STD"),
            quantiles={level: planes[quantile_name(level)] for level in self.quantiles},
            draws=tuple(planes[f"S{draw:03d}"] for draw in draws),
            flags=flags,
        )

    @property
    def held(self) -> int:
        """Planes of float64 that a window holds while its draws are computed."""
        several = (self.samples or 1) > 1
        return (2 if several else 1) + (self.samples or 0) * bool(self.quantiles or self.keep_draws)


def _beyond(samples: int, levels: Sequence[float]) -> str | None:
    """A line on levels that so many draws do not reach, None if they reach all."""
    least = 1 / (samples + 1)
    outside = [level for level in levels if min(level, 1 - level) < least * (1 - 1e-9)]
    if not outside:
        return None
    needed = math.ceil(1 / min(min(level, 1 - level) for level in outside) - 1 - 1e-9)
    named = ", ".join(map(quantile_name, outside))
    return (
        f"{named}: {samples} draws have quantiles from {least:.3g} to {1 - least:.3g} only, beyond "
        f"stands their outermost one; ask for {needed} samples or more"
    )


def quantile_name(level: float) -> str:
    """The extension of a quantile: Q05 of 0.05, Q97.5 of 0.975."""
    whole, _, part = f"{100 * level:g}".partition(".")  # to six digits: 7.000000000000001 is 7
    return f"Q{whole.zfill(2)}{'.' if part else ''}{part}"


class Reducer:
    """Takes in equal-shaped float64 arrays, one a draw, and gives the planes."""

    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction
        self.count = 0
        self._mean: Array = np.zeros(0)
        self._squares: Array = np.zeros(0)
        self._draws: list[Array] = []

    def update(self, draw: Array) -> None:
        """Take in one more draw."""
        if self.reduction.quantiles or self.reduction.keep_draws:
            self._draws.append(draw)
        self.count += 1
        if self.count == 1:
            self._mean = draw
            return
        if self.count == 2:
            self._squares = np.zeros_like(draw)
        step = draw - self._mean
        self._mean = self._mean + step / self.count
        self._squares += step * (draw - self._mean)

    def planes(self) -> dict[str, Array]:
        """The extensions by name; see `Reduction`."""
        if self.count < 2:
            return {"SCI": self._mean}
        found = [self._mean, np.sqrt(self._squares / (self.count - 1))]
        if self.reduction.quantiles:
            levels, correction = self.reduction.quantiles, self.reduction.correction
            ends = np.quantile(np.stack(self._draws), levels, axis=0, method="weibull")
            found += list(ends if correction is None else correction(found[0], found[1], ends))
        if self.reduction.keep_draws:
            found += self._draws
        return dict(zip(self.reduction.extensions, found, strict=True))
