"""Intervals that were put right: what ``calibrate --fit`` leaves in a bundle.

The quantile q of N draws is moved, in a pixel of band b whose mean lies in the bin g of brightness,

    Q_q  →  Q_q + (s + s₀) c(b, g, q),

s being the standard deviation of the draws, s₀ a thousandth of the stretch's own unit of flux (so
that draws which agree to the last digit have a spread too), and c what
:mod:`imgturbo.metrics.conformal` found on sky that the model never met. Ends that would cross are
put in order. Bins are of the stretched mean, fixed before anything is looked at.

c is of so many draws, at this temperature and these levels: others are refused, never guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imgturbo.bundle.settings import Settings
from imgturbo.door import Schema
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

__all__ = ["EDGES", "Correction", "Intervals", "IntervalsSchema", "bins_of", "spread_of"]

Array = NDArray[np.float64]

EDGES = (0.1, 0.25, 0.5, 0.75)
"""Of the bins, in stretched values: with the usual stretch about 1, 3, 10 and 30 σ of the sky."""

_LEAST = 1e-3  # of the stretch's unit: the spread that draws have at least


class IntervalsSchema(Schema):
    """The shape that ``intervals`` has in ``bundle.json``."""

    direction: str
    samples: int = Field(ge=2)
    temperature: float = Field(ge=0)
    levels: list[float]
    edges: list[float]
    shifts: dict[str, list[list[float]]]
    fitted: dict[str, Any]


@dataclass(frozen=True)
class Intervals:
    """A fitted correction of quantiles.

    Attributes:
        direction: the way through the bundle that it is of.
        samples, temperature: of the draws.
        levels: of the quantiles (Q,), ascending.
        edges: of the bins (G − 1,), in stretched values of the mean.
        shifts: c by band, (G, Q).
        fitted: on what, what is guaranteed and what was measured; see
            :func:`imgturbo.scoring.conformal.fit_intervals`.
    """

    direction: str
    samples: int
    temperature: float
    levels: tuple[float, ...]
    edges: tuple[float, ...]
    shifts: dict[str, tuple[tuple[float, ...], ...]]
    fitted: dict[str, Any]

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Intervals:
        """Of JSON."""
        shifts = {band: tuple(map(tuple, rows)) for band, rows in content["shifts"].items()}
        return cls(
            content["direction"],
            content["samples"],
            content["temperature"],
            tuple(content["levels"]),
            tuple(content["edges"]),
            shifts,
            content["fitted"],
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "direction": self.direction,
            "samples": self.samples,
            "temperature": self.temperature,
            "levels": list(self.levels),
            "edges": list(self.edges),
            "shifts": {band: [list(row) for row in rows] for band, rows in self.shifts.items()},
            "fitted": self.fitted,
        }

    @cached_property
    def name(self) -> str:
        """12 hexadecimal digits of the numbers, for the headers of what was made with them."""
        return sha256(json.dumps(self.to_dict(), sort_keys=True).encode())[:12]

    def correction(self, settings: Settings, output: Side) -> Correction | None:
        """What is to be done to the quantiles that are asked for; None where nothing is.

        Args:
            settings: of the translation.
            output: the side that is made, on the pixels that it is made on.

        Raises:
            ImgturboError: other draws or levels than those that were fitted.
        """
        if not settings.quantiles or settings.raw_quantiles:
            return None
        asked = tuple(sorted(set(settings.quantiles)))
        unknown = [level for level in asked if not self._has(level)]
        same = (settings.samples, settings.temperature) == (self.samples, self.temperature)
        if unknown or not same:
            known = ",".join(f"{level:g}" for level in self.levels)
            raise ImgturboError(
                f"the intervals of this bundle were calibrated for --samples {self.samples} "
                f"--temperature {self.temperature:g} and --quantiles of {known}; ask for those, "
                "or for quantiles as they are drawn with --raw-quantiles"
            )
        places = [self._place(level) for level in asked]
        table = np.array([np.array(self.shifts[band])[:, places] for band in output.names])
        return Correction(self.name, table, self.edges, output.stretch)

    def _place(self, level: float) -> int:
        return int(np.argmin(np.abs(np.array(self.levels) - level)))

    def _has(self, level: float) -> bool:
        return abs(self.levels[self._place(level)] - level) < 1e-9


@dataclass(frozen=True, eq=False)
class Correction:
    """Applied to the planes of a window.

    Attributes:
        name: of the intervals.
        table: c, (C, G, Q), of the levels that are asked for.
        edges, stretch: by which bins are told.
    """

    name: str
    table: Array
    edges: Sequence[float]
    stretch: Stretch

    def __call__(self, mean: Array, std: Array, quantiles: Array) -> Array:
        """Quantiles (Q, C, h, w) of draws with this mean and deviation (C, h, w), put right."""
        bins = bins_of(mean, self.stretch, self.edges)
        spread = spread_of(std, self.stretch)
        moved = np.empty_like(quantiles)
        for band, rows in enumerate(self.table):
            by_level = rows.T[:, bins[band]]  # (Q, h, w)
            moved[:, band] = quantiles[:, band] + spread[band] * by_level
        return np.sort(moved, axis=0)


def bins_of(mean: Array, stretch: Stretch, edges: Sequence[float]) -> NDArray[np.intp]:
    """The bin of brightness of each pixel of (C, h, w)."""
    return np.searchsorted(np.asarray(edges), stretch(mean), side="right")


def spread_of(std: Array, stretch: Stretch) -> Array:
    """s + s₀ of (C, h, w)."""
    unit = np.where(np.isfinite(stretch.softening), stretch.softening, stretch.scale)
    return np.asarray(std + _LEAST * unit[:, None, None])
