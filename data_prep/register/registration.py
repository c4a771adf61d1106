"""What a registration found, and how well: the record that travels with the tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_prep.register.coordinates import NOMINAL
from data_prep.register.local import LocalShift
from data_prep.register.polynomial import Polynomial, rms

__all__ = ["Registration"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Registration:
    """Source onto target: both WCS, after which one reprojection puts source pixels on target's.

    ``before``, ``after`` and ``held_out`` are (N, 2) residual vectors observed − predicted of the N
    matched sources, in target pixels: with the coordinates as given, with the fitted map, and with
    a map fitted to other sources only (cross-validation). The last is the honest one; ``after``
    is always a little better than the map deserves.
    """

    source_wcs: WCS
    target_wcs: WCS
    method: str
    model: str
    found: tuple[int, int]  # sources detected in source and target
    rejected: int  # pairs that were near but clipped as outliers
    positions: Floats  # (N, 2) x, y in target pixels
    before: Floats
    after: Floats
    held_out: Floats
    polynomial: Polynomial | None = None
    local: LocalShift | None = None

    @property
    def matched(self) -> int:
        """Number of sources that the map rests on."""
        return len(self.positions)

    @property
    def residual_before(self) -> float:
        """Root mean square offset of the matched sources before, target pixels; NaN if unknown."""
        return rms(self.before)

    @property
    def residual_after(self) -> float:
        """Root mean square offset of the matched sources after, target pixels; NaN if unknown."""
        return rms(self.after)

    @property
    def residual_held_out(self) -> float:
        """Root mean square offset of sources that the map was not fitted to (5-fold)."""
        return rms(self.held_out)

    @property
    def nominal(self) -> bool:
        """True where the coordinates are made up: pictures without a WCS."""
        return bool(self.target_wcs.wcs.name == NOMINAL)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.positions)

    def residual_at(self, x: Any, y: Any, neighbours: int = 5) -> Floats:
        """Local misalignment to expect at target pixels (x, y): any shape, NaN if unknown.

        The median held-out offset of the nearest matched sources.
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        if self.matched == 0:
            return np.full(x.shape, np.nan)
        count = min(neighbours, self.matched)
        _, near = self._tree.query(np.stack([x, y], axis=-1), k=list(range(1, count + 1)))
        return np.median(np.hypot(*self.held_out.T)[near], axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """The record for the tile store's recipe: JSON, None where a number is unknown."""
        return {
            "method": self.method,
            "model": self.model,
            "found": list(self.found),
            "matched": self.matched,
            "rejected": self.rejected,
            "residual_before": _number(self.residual_before),
            "residual_after": _number(self.residual_after),
            "residual_held_out": _number(self.residual_held_out),
            "median_before": _number(_median(self.before)),
            "median_after": _number(_median(self.after)),
            "median_held_out": _number(_median(self.held_out)),
            "nominal": self.nominal,
            "polynomial": self.polynomial.to_dict() if self.polynomial else None,
            "local": self.local.to_dict() if self.local else None,
        }

    def __str__(self) -> str:
        if self.method == "none":
            return "not registered"
        return (
            f"{self.matched} matched sources, {self.model}"
            f"{' + local' if self.local else ''}: {self.residual_before:.2f} → "
            f"{self.residual_after:.2f} px rms (held out {self.residual_held_out:.2f})"
        )


def _median(vectors: Floats) -> float:
    return float(np.median(np.hypot(*vectors.T))) if len(vectors) else np.nan


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
