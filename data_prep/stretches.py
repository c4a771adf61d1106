"""The stretches of both sides, fitted to training sky alone, on one flux scale for all fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.split import Areas
from data_prep.staging import Staged
from imgturbo.config import PrepareConfig
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

__all__ = ["fit_stretches", "flux_factors", "side_of"]

_STRETCH_PIXELS = 1 << 22  # of all fields together, plenty for a percentile of 99.9


def flux_factors(piece: Staged, staged: Sequence[Staged]) -> dict[str, NDArray[np.float64]]:
    """What a field's fluxes are multiplied by, (C,) a side, to be on the store's flux scale.

    The store's scale is the first field's of that side. The survey has seen that fields in other
    units, or with other zero points, can be brought to it.
    """
    found = {}
    for side in piece.sides:
        first = next(other for other in staged if side in other.sides)
        pairs = zip(piece.image(side).scales, first.image(side).scales, strict=True)
        factors = np.array([own.factor_to(ours) for own, ours in pairs], float)
        found[side] = np.where(np.abs(factors - 1) < 1e-6, 1.0, factors)
    return found


def fit_stretches(
    staged: Sequence[Staged],
    factors: Sequence[dict[str, NDArray[np.float64]]],
    areas: Sequence[Areas],
    excluded: Sequence[NDArray[np.bool_]],
    config: PrepareConfig,
    out: Path,
) -> dict[str, Stretch]:
    """A stretch a side, from training pixels of all fields together.

    Raises:
        ImgturboError: no training sky is left.
    """
    stretches = {}
    for side in ("source", "target"):
        here = [i for i, piece in enumerate(staged) if side in piece.sides]
        if not here:
            continue
        facts = staged[here[0]].sides[side]
        kind = config.stretch.kind
        if kind == "auto":
            kind = "linear" if facts["unit"] == "display" else "asinh"
        if kind == "linear" and facts["unit"] == "display":
            stretches[side] = Stretch.linear(len(facts["bands"]))
            continue
        share = max(1, _STRETCH_PIXELS // len(here))
        parts = [
            _training_pixels(staged[i], side, areas[i], excluded[i], share)
            * factors[i][side][:, None].astype(np.float32)
            for i in here
        ]
        stretches[side] = _fitted(np.concatenate(parts, axis=1), kind, side, config, out)
    return stretches


def _fitted(
    pixels: NDArray[np.float32], kind: str, side: str, config: PrepareConfig, out: Path
) -> Stretch:
    """The stretch of pixels (C, n)."""
    if pixels.shape[1] == 0:
        raise ImgturboError(
            f"{out}: no training sky is left on the {side} side to fit its stretch; "
            "hold less out in 'prepare.split', set a smaller 'prepare.split.guard', or add a "
            "field with 'split: train'"
        )
    fitted = Stretch.fit(pixels, None, config.stretch.softening, config.stretch.percentile)
    if kind == "linear":
        bright = fitted.softening * np.sinh(fitted.scale)
        fitted = Stretch(fitted.offset, np.full(len(fitted), np.inf), bright)
    return fitted


def _training_pixels(
    piece: Staged, side: str, areas: Areas, excluded: NDArray[np.bool_], share: int
) -> NDArray[np.float32]:
    """Up to about ``share`` evenly spread training pixels (C, n)."""
    mask = np.zeros(excluded.shape, bool)
    for y0, y1, x0, x1 in areas.train:
        mask[y0:y1, x0:x1] = True
    mask &= ~excluded & piece.seen(side)
    if (wide := piece.factor(side)) > 1:
        mask = np.logical_and.reduce([mask[y::wide, x::wide] for y, x in np.ndindex(wide, wide)])
    index = np.flatnonzero(mask)
    index = index[:: max(1, len(index) // share)]
    return np.stack([plane.reshape(-1)[index] for plane in piece.data(side)])


def side_of(side: str, staged: Sequence[Staged], stretches: dict[str, Stretch]) -> Side | None:
    """What a side is; None where no field has it."""
    for piece in staged:
        if side in piece.sides:
            facts = piece.sides[side]
            return Side(
                names=tuple(facts["bands"]),
                unit=facts["unit"],
                stretch=stretches[side],
                pixel_scale=piece.pixel_scale(side),
                zeropoints=tuple(facts["zeropoints"]),
            )
    return None
