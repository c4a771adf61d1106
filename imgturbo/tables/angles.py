r"""Draws of angles, whose mean is not their sum over their number: 179° and −179° are about 180°.

Of draws φ_1 … φ_N of a column that goes round from ``low`` to ``high``, period P,

    C = 1/N Σ_n e^{2πi(φ_n − low)/P},     mean  low + P arg(C)/2π,     deviation  P √(−2 ln |C|)/2π

(Mardia & Jupp 2000, Directional Statistics, sections 2.2 and 2.3). Quantiles are of the draws as
they lie within half a turn around the mean, so that a lower one is always below an upper one; they
may lie beyond ``low`` or ``high``, and mean the same there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imgturbo.mosaic.reducers import Reduction, quantile_name
from imgturbo.side import Side

__all__ = ["Angles"]

Numbers = NDArray[np.float64]


class Angles:
    """Takes in draws of rows (n, C), and mends what a reduction says of the columns of angles.

    Args:
        side: of the draws; its columns of angles are those whose bijection says so.
        reduction: what is wanted of the draws.
    """

    def __init__(self, side: Side, reduction: Reduction) -> None:
        kinds = side.stretch.before
        self.columns = [k for k, bijection in enumerate(kinds) if bijection.kind == "angle"]
        self.low = np.array([kinds[k].low for k in self.columns])
        self.period = np.array([kinds[k].high for k in self.columns]) - self.low
        self.reduction = reduction
        self.count = 0
        self._sum: NDArray[np.complex128] = np.zeros(0, np.complex128)
        self._held: list[Numbers] = []

    def update(self, values: Numbers) -> None:
        """Take in one more draw (n, C)."""
        if not self.columns:
            return
        own = values[:, self.columns]
        turn = np.exp(2j * np.pi * (own - self.low) / self.period)
        self._sum = turn if not self.count else self._sum + turn
        self.count += 1
        if self.reduction.quantiles:
            self._held.append(own)

    def mend(self, planes: Mapping[str, Numbers]) -> None:
        """Write mean, deviation and quantiles of angles into the planes (n, C) of all columns."""
        if self.count < 2:
            return
        together = self._sum / self.count
        share = np.mod(np.angle(together) / (2 * np.pi), 1.0)
        mean = self.low + self.period * share
        length = np.clip(np.abs(together), np.finfo(float).tiny, 1.0)
        planes["SCI"][:, self.columns] = mean
        planes["STD"][:, self.columns] = self.period / (2 * np.pi) * np.sqrt(-2 * np.log(length))
        if not self.reduction.quantiles:
            return
        away = (np.stack(self._held) - mean) / self.period
        near = mean + self.period * (away - np.round(away))
        levels = self.reduction.quantiles
        found = np.quantile(near, levels, axis=0, method="weibull")
        for level, plane in zip(levels, found, strict=True):
            planes[quantile_name(level)][:, self.columns] = plane
