"""Smooth joins where windows overlap by less than the receptive field.

Law 1 makes an exact crop seam-free when the overlap covers the receptive field. Where memory does
not allow that, each window k carries a weight along each axis,

    w_k(y) = ρ_k(y) / Σ_j ρ_j(y),    ρ_k(y) = ½ − ½ cos(π t),

with t rising from 0 to 1 over the pixels it shares with the window before, and falling likewise
where it meets the next: a partition of unity by construction, Σ_k w_k = 1, with a continuous first
derivative. The weight of a pixel is the product over the two axes, which again sums to one.

`Blender` adds weighted windows up in row-major order and hands out each pixel as soon as no later
window can touch it. It keeps only what is still open: a strip as high as the overlap and as wide as
the image, and a strip as wide as the overlap and as high as a window. Neither grows with the
image's height.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from imgturbo.mosaic.windows import Window

__all__ = ["Blender", "axis_weights"]

Array = npt.NDArray[np.float64]


def axis_weights(extents: Sequence[slice]) -> list[Array]:
    """w_k over each extent along one axis: in [0, 1], summing to one at every pixel.

    Args:
        extents: explicit slices in ascending order that together cover the axis.
    """
    ramps = []
    for k, extent in enumerate(extents):
        ramp = np.ones(extent.stop - extent.start)
        if k > 0:
            ramp *= _rise(extent, extents[k - 1].stop - extent.start)
        if k + 1 < len(extents):
            ramp *= _rise(extent, extent.stop - extents[k + 1].start)[::-1]
        ramps.append(ramp)
    total = np.zeros(max(extent.stop for extent in extents))
    for extent, ramp in zip(extents, ramps, strict=True):
        total[extent] += ramp
    return [ramp / total[extent] for extent, ramp in zip(extents, ramps, strict=True)]


def _rise(extent: slice, overlap: int) -> Array:
    """ρ over an extent whose first `overlap` pixels are shared; never quite 0, so Σ ρ > 0."""
    ramp = np.ones(extent.stop - extent.start)
    overlap = min(max(overlap, 0), len(ramp))
    t = (np.arange(overlap) + 0.5) / max(overlap, 1)
    ramp[:overlap] = 0.5 - 0.5 * np.cos(np.pi * t)
    return ramp


class Blender:
    """Adds windows of `channels` planes, in row-major order, and releases finished rectangles.

    A sweep may begin at any row of windows: first give the rows that `reaching` names with
    ``quiet=True``, so that their share is known, though their own pixels are not wanted.
    """

    def __init__(self, windows: Sequence[Window], channels: int) -> None:
        self.extents_y = [w.rows for w in windows if w.col == 0]
        self.extents_x = [w.cols for w in windows if w.row == 0]
        self.weights_y = axis_weights(self.extents_y)
        self.weights_x = axis_weights(self.extents_x)
        self.channels = channels
        self.width = self.extents_x[-1].stop
        self._above = self._strip(slice(0, 0))  # open rows that earlier rows of windows reach into
        self._below = self._strip(slice(0, 0))  # the same, for the row of windows after this one
        self._left = np.zeros((channels, 0, 0))  # open columns that earlier windows reach into

    def reaching(self, row: int) -> range:
        """Rows of windows before `row` that share pixels with it."""
        start = self.extents_y[row].start
        return range(sum(extent.stop <= start for extent in self.extents_y[:row]), row)

    def _strip(self, rows: slice) -> Array:
        return np.zeros((self.channels, max(0, rows.stop - rows.start), self.width))

    def _open(self, extents: Sequence[slice], k: int) -> int:
        """First pixel of extent k that the next window can still touch."""
        return extents[k + 1].start if k + 1 < len(extents) else extents[k].stop

    def add(
        self, window: Window, planes: npt.NDArray[np.floating], quiet: bool = False
    ) -> Iterator[tuple[Array, slice, slice]]:
        """Add planes (C, h, w) of `window`; yield (planes, rows, cols) that are now final."""
        y0, x0 = window.origin
        open_y = self._open(self.extents_y, window.row)
        open_x = self._open(self.extents_x, window.col)
        if window.col == 0:
            self._begin_row(window, open_y)
        weight = self.weights_y[window.row][:, None] * self.weights_x[window.col]
        total = planes * weight
        total[:, :, : self._left.shape[2]] += self._left
        self._left = total[:, :, open_x - x0 :].copy()
        done = total[:, :, : open_x - x0]
        cols = slice(x0, open_x)
        # From here on columns `cols` of this row of windows are complete; only rows are open.
        above = self._above[:, : done.shape[1], cols]
        done[:, : above.shape[1]] += above
        self._below[:, :, cols] += done[:, open_y - y0 :]
        if not quiet:
            yield done[:, : open_y - y0], slice(y0, open_y), cols

    def _begin_row(self, window: Window, open_y: int) -> None:
        self._above = self._below if window.row > 0 else self._strip(slice(0, 0))
        self._below = self._strip(slice(open_y, window.rows.stop))
        self._left = np.zeros((self.channels, window.shape[0], 0))
