"""One window of an image as the network wants it, and what is doubtful about it.

    flux  →  the training's sky level, if asked for  →  y = stretch(flux)  →  small holes filled

Beside y go the mask of what was measured and the flags of what may be wrong in the prediction
(:mod:`imgturbo.sky.flags`). More is read than the window, so that neither depends on where windows
end (law 1): what fills a hole, and whether one is near.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imgturbo.mosaic.background import Background
from imgturbo.mosaic.holes import FARTHEST, MARGIN, fill_small, influence, near
from imgturbo.mosaic.windows import Window
from imgturbo.nets import Generator
from imgturbo.sky import Stretch
from imgturbo.sky.flags import Flag

__all__ = ["Piece", "Reading", "strips"]

_STRIP = 128  # rows
_BELOW = 10.0  # σ below the sky, where no training pixel was

Flux = Callable[[slice, slice], npt.NDArray[np.floating]]
Where = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Piece:
    """What is read of a window (h, w) with the core (h', w').

    Attributes:
        values: (C, h, w) stretched, small holes filled, 0 where else nothing was measured.
        valid: (h, w) where every band was measured.
        flags: (h', w') of :class:`imgturbo.sky.flags.Flag`, of the core.
    """

    values: npt.NDArray[np.float32]
    valid: Where
    flags: npt.NDArray[np.uint8]


class Reading:
    """Called with a window, it reads it.

    Args:
        flux: ``(rows, cols) → (C, h, w)``, in the unit of the network's input, NaN where a band was
            not measured.
        size: (H, W) of the image.
        generator: on its device.
        source, target: stretches of the network's sides; None: values are stretched already.
        softening: of the stretches, in σ of the training sky.
        background: the image's sky beside the training's; None: not compared.
        exact: windows hold all that their cores depend on, holes too.
    """

    def __init__(
        self,
        flux: Flux,
        size: tuple[int, int],
        generator: Generator,
        source: Stretch | None,
        target: Stretch | None,
        softening: float,
        background: Background | None,
        exact: bool,
    ) -> None:
        self._flux, self._size, self._generator = flux, size, generator
        self._source, self._target, self._softening = source, target, softening
        self._background = background
        self._farther = 0 if exact else FARTHEST

    @cached_property
    def reach(self) -> int:
        """How far a hole is seen, in pixels; measured when the first one is met."""
        return influence(self._generator, self._source, self._target, self._softening)

    def __call__(self, window: Window) -> Piece:
        """The window, and the flags of its core."""
        rows, cols = (
            slice(
                max(0, min(seen.start - MARGIN, core.start - self._farther)),
                min(length, max(seen.stop + MARGIN, core.stop + self._farther)),
            )
            for seen, core, length in zip(
                (window.rows, window.cols),
                (window.core_rows, window.core_cols),
                self._size,
                strict=True,
            )
        )
        flux = self._flux(rows, cols)
        values = self._stretched(flux)
        valid = np.all(np.isfinite(values), axis=0)
        origin = (rows.start, cols.start)
        core = _within((window.core_rows, window.core_cols), origin)
        flags = np.zeros(valid[core].shape, np.uint8)
        if not valid.all():
            flags[near(~valid, self.reach)[core]] |= Flag.NEAR.value
        flags[self._out_of_range(values[:, *core])] |= Flag.RANGE.value
        if self._background is not None:
            other = self._background.other(window.core_rows, window.core_cols)
            if other is not None:
                flags[other] |= Flag.SKY.value
        fill_small(values, valid)
        seen = _within((window.rows, window.cols), origin)
        return Piece(np.ascontiguousarray(values[:, *seen]), valid[seen], flags)

    def _stretched(self, flux: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(C, h, w) float32."""
        shift = None if self._background is None else self._background.shift
        values = np.empty(flux.shape, np.float32)
        for rows in strips(flux):
            part = flux[:, rows]
            if shift is not None and shift.any():
                part = part - shift[:, None, None]
            values[:, rows] = part if self._source is None else self._source(part)
        values[~np.isfinite(values)] = np.nan
        return values

    def _out_of_range(self, values: npt.NDArray[np.float32]) -> Where:
        """Beyond y = 1, below which 99.9 % of the training's pixels were, or far below its sky."""
        if self._source is None:
            return np.zeros(values.shape[1:], bool)
        asinh = np.isfinite(self._source.softening)
        lowest = np.where(asinh, -np.arcsinh(_BELOW / self._softening) / self._source.scale, -1.0)
        with np.errstate(invalid="ignore"):
            beyond = (values > 1 + 1e-4) | (values < lowest[:, None, None])
        return np.asarray(beyond.any(0))


def strips(array: npt.NDArray[np.floating]) -> list[slice]:
    """Rows of an array (C, h, w), some at a time: float64 of few, not of a whole window."""
    return [slice(top, top + _STRIP) for top in range(0, array.shape[1], _STRIP)]


def _within(place: tuple[slice, slice], origin: tuple[int, int]) -> tuple[slice, slice]:
    y, x = (
        slice(extent.start - first, extent.stop - first)
        for extent, first in zip(place, origin, strict=True)
    )
    return y, x
