"""What is kept of the draws of a stochastic generator: per pixel, in flux, one draw at a time.

Welford's recurrence (Technometrics 4, 419, 1962) for draws f_1 … f_N,

    m_n = m_{n−1} + (f_n − m_{n−1})/n,    S_n = S_{n−1} + (f_n − m_{n−1})(f_n − m_n),

gives the mean m_N (extension SCI) and the standard deviation √(S_N/(N − 1)) (extension STD) without
keeping the draws. It acts on fluxes, not on stretched values: the mean of asinh is not the asinh of
the mean, and a photometrist wants the expected flux.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Moments", "extensions"]

Array = npt.NDArray[np.float64]


def extensions(samples: int) -> tuple[str, ...]:
    """Names of the planes that `Moments` makes of so many draws; a single draw has no deviation."""
    return ("SCI",) if samples < 2 else ("SCI", "STD")


class Moments:
    """Streaming mean and standard deviation of equal-shaped float64 arrays."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(0)
        self._squares: Array = np.zeros(0)

    def update(self, draw: Array) -> None:
        """Take in one more draw."""
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
        """The extensions by name; see `extensions`."""
        if self.count < 2:
            return {"SCI": self._mean}
        return {"SCI": self._mean, "STD": np.sqrt(self._squares / (self.count - 1))}
