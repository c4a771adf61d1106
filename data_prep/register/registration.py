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
from data_prep.register.neighbours import tempered
from data_prep.register.polynomial import Polynomial, excess, rms

__all__ = ["Registration"]

Floats = NDArray[np.float64]

_CHANCE = 2.5  # standard deviations; what noise alone shows by that much is no misalignment
_TINY = 1e-12


@dataclass(frozen=True)
class Registration:
    """Source onto target: both WCS, after which one reprojection puts source pixels on target's.

    ``before``, ``after`` and ``held_out`` are (N, 2) residual vectors observed − predicted of the N
    matched sources, in target pixels: with the coordinates as given, with the fitted map, and with
    a map fitted to other sources only (cross-validation). The last is the honest one; ``after``
    is always a little better than the map deserves. ``noise`` (N,) is what the sky's noise adds to
    each along an axis: faint sources jump about where the images are aligned perfectly. The three
    ``residual_…`` are what the vectors exceed their noise by, so they speak of the images; in them
    a source counts by its ``share`` (N,) of the common frame, for sources cluster.
    """

    source_wcs: WCS
    target_wcs: WCS
    method: str
    model: str
    found: tuple[int, int]  # sources detected in source and target
    rejected: int  # pairs that were near but that their neighbours contradict
    positions: Floats  # (N, 2) x, y in target pixels
    before: Floats
    after: Floats
    held_out: Floats
    noise: Floats
    share: Floats
    formal: float = np.nan  # rms distance by which noise alone misplaces the map
    polynomial: Polynomial | None = None
    local: LocalShift | None = None

    @classmethod
    def without_sources(
        cls,
        source: WCS,
        target: WCS,
        method: str,
        model: str,
        found: tuple[int, int] = (0, 0),
        error: float = np.nan,
        polynomial: Polynomial | None = None,
    ) -> Registration:
        """A registration that rests on no matched source; ``error``: rms pixels, if known."""
        none, no = np.zeros((0, 2)), np.zeros(0)
        vectors = (none, none, none, none, no, no)
        return cls(source, target, method, model, found, 0, *vectors, error, polynomial)

    @property
    def matched(self) -> int:
        """Number of sources that the map rests on."""
        return len(self.positions)

    def _misalignment(self, vectors: Floats) -> float:
        if not self.matched:
            return np.nan
        vectors = tempered(self.positions, vectors, self.noise)
        return float(np.sqrt(2) * excess(vectors, self.noise, self.share))

    @property
    def residual_before(self) -> float:
        """Rms misalignment of the images before, target pixels; NaN if unknown."""
        if self.matched == 0 and self.polynomial is not None:
            return float(np.hypot(*self.polynomial.coefficients[0]))  # a shift
        return self._misalignment(self.before)

    @property
    def residual_after(self) -> float:
        """Rms misalignment left at the sources that the map was fitted to, target pixels."""
        return self._misalignment(self.after)

    @property
    def residual_held_out(self) -> float:
        """Rms misalignment left where the map was not fitted to (5-fold): the error of the map.

        What the noise of the positions makes of any map, and what residuals show beyond it more
        surely than by chance; NaN if unknown.
        """
        if self.matched == 0:
            return self.formal
        shown = self._misalignment(self.held_out)
        if np.isnan(shown):
            return self.formal
        formal = float(np.nan_to_num(self.formal))
        beyond = max(shown**2 - formal**2, 0.0)
        sure = max(1 - (_CHANCE * self._scatter(formal) / max(beyond, _TINY)) ** 2, 0.0)
        return float(np.sqrt(formal**2 + sure * beyond))

    def _scatter(self, formal: float) -> float:
        """Standard deviation of what residuals show, squared, where the map is right but for noise.

        |v|²/2 of a Gaussian vector has the deviation of its mean, s²; and vectors count by
        ``share``/s².
        """
        variance = self.noise**2 + formal**2 / 2
        weight = self.share / np.maximum(variance, _TINY)
        return float(2 * np.linalg.norm(weight / weight.sum() * variance))

    @property
    def nominal(self) -> bool:
        """True where the coordinates are made up: pictures without a WCS."""
        return bool(self.target_wcs.wcs.name == NOMINAL)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.positions)

    def residual_at(self, x: Any, y: Any, neighbours: int = 8) -> Floats:
        """Local misalignment to expect at target pixels (x, y): any shape, NaN if unknown.

        As ``residual_held_out``, of the nearest matched sources.
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        if self.matched == 0:
            return np.full(x.shape, self.formal)
        count = min(neighbours, self.matched)
        _, near = self._tree.query(np.stack([x, y], axis=-1), k=list(range(1, count + 1)))
        vectors = tempered(self.positions, self.held_out, self.noise)
        square, variance = np.sum(vectors**2, axis=1), 2 * self.noise**2
        weight = 1 / (variance + self.residual_held_out**2 + 1e-8)
        total = (weight * (square - variance))[near].sum(-1) / weight[near].sum(-1)
        return np.fmax(np.sqrt(np.maximum(total, 0)), self.formal)

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
            "noise": _number(rms(self.noise[:, None])),
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
        if self.method == "correlation":
            return (
                f"too few sources ({self.found[0]} and {self.found[1]}), shifted by correlation: "
                f"{self.residual_before:.2f} px, ± {self.formal:.2f}"
            )
        return (
            f"{self.matched} matched sources ({self.rejected} rejected), {self.model}"
            f"{' + local' if self.local else ''}: {self.residual_before:.2f} → "
            f"{self.residual_after:.2f} px rms (held out {self.residual_held_out:.2f})"
        )


def _median(vectors: Floats) -> float:
    return float(np.median(np.hypot(*vectors.T))) if len(vectors) else np.nan


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
