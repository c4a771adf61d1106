"""Windows over an image: who computes which pixel, and what it must see to compute it right.

A generator with receptive field r and stride s is seam-free (law 1) when every output pixel is
computed from a window that holds all input within r of it, and whose origin is a multiple of s (the
pixel-unshuffle grid and the down-sampling grid then fall where they fall in the whole image). Along
one axis of length N, windows of extent E with a halo h ≥ r on each side (h rounded up to s) have

    step ≤ E − 2h,   origins o_k ≡ 0 (mod s),   cores [o_k + h, o_{k+1} + h),

the first core starting at 0 and the last one ending at N: no halo is needed where the image itself
ends, because there the window's border is the image's border. Windows keep one extent (the last may
be up to s − 1 shorter), so a sweep has one shape or nearly so: the allocator and the convolution
library then reuse the same buffers, and equal windows can be stacked into one batch.

The price of a halo is (E / (E − 2h))² network evaluations a pixel, the price of a large E is
memory. `choose_windows` counts both for every number of windows down and across: few windows that
span the image where it is narrow, and hardly ever squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt

from imgturbo.errors import ImgturboError

__all__ = ["Window", "batches", "choose_windows", "plan"]

SMALLEST = 256  # below this the cost of a call, not of a halo, is what counts
SPARED = 0.005  # of the computation, that a larger window must spare to be worth its memory


@dataclass(frozen=True)
class Window:
    """What is read (`rows`, `cols`, halo included) and what is answered for (`core_*`).

    Slices have explicit, non-negative ends in pixels of the whole image; `row` and `col` count
    windows down and across.
    """

    row: int
    col: int
    rows: slice
    cols: slice
    core_rows: slice
    core_cols: slice

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of what is read."""
        return (self.rows.stop - self.rows.start, self.cols.stop - self.cols.start)

    @property
    def origin(self) -> tuple[int, int]:
        """(y, x) of the first pixel read: multiples of the generator's stride."""
        return (self.rows.start, self.cols.start)

    @property
    def crop(self) -> tuple[slice, slice]:
        """Where the core lies within what was read."""
        y, x = self.origin
        return (
            slice(self.core_rows.start - y, self.core_rows.stop - y),
            slice(self.core_cols.start - x, self.core_cols.stop - x),
        )

    def zoomed(self, zoom: Fraction, size: tuple[int, int]) -> Window:
        """The same window on the grid of an output, ``zoom`` times as fine, (H, W) pixels large.

        Where a window begins, a pixel of both grids begins: its origin is a multiple of the stride.
        """
        if zoom == 1:
            return self
        height, width = size

        def on(pixels: slice, length: int) -> slice:
            ends = (min(ceil(end * zoom), length) for end in (pixels.start, pixels.stop))
            return slice(*ends)

        return replace(
            self,
            rows=on(self.rows, height),
            cols=on(self.cols, width),
            core_rows=on(self.core_rows, height),
            core_cols=on(self.core_cols, width),
        )


def plan(
    height: int, width: int, window: int | tuple[int, int], halo: int, stride: int = 1
) -> list[Window]:
    """Aligned, balanced windows, row by row, whose cores partition the image exactly.

    Args:
        height, width: of the image, in pixels.
        window: largest extent of what the network sees at once, halo included; one number, or one
            down and one across.
        halo: pixels needed on each side of a core; rounded up to a multiple of `stride`.
        stride: of the generator; every origin is a multiple of it.

    Raises:
        ImgturboError: a window that must be cut but leaves no core inside its halo.
    """
    if height < 1 or width < 1:
        raise ImgturboError(f"an image of {height} x {width} pixels has nothing to translate")
    down, across = (window, window) if isinstance(window, int) else window
    vertical = _axis(height, down, halo, stride)
    horizontal = _axis(width, across, halo, stride)
    return [
        Window(row, col, rows, cols, core_rows, core_cols)
        for row, (rows, core_rows) in enumerate(vertical)
        for col, (cols, core_cols) in enumerate(horizontal)
    ]


def _axis(size: int, window: int, halo: int, stride: int) -> list[tuple[slice, slice]]:
    """(extent, core) of each window along an axis of `size` pixels."""
    if size <= window:
        return [(slice(0, size), slice(0, size))]
    halo = _round_up(halo, stride)
    extent = window // stride * stride
    if extent < 2 * halo + stride:
        raise ImgturboError(
            f"a window of {window} pixels leaves no core inside a halo of {halo} pixels; "
            f"use a window of at least {2 * halo + stride}, or a smaller overlap (which blends)"
        )
    # Fewest windows first, then the smallest extent with which that many still cover the axis.
    count = ceil((size - 2 * halo) / (extent - 2 * halo))
    step = _round_up(ceil((size - 2 * halo) / count), stride)
    count = ceil((size - 2 * halo) / step)
    extent = min(step + 2 * halo, size)
    last = _round_up(size - extent, stride)
    origins = [0]
    if count > 1:
        origins = [k * (last // stride) // (count - 1) * stride for k in range(count)]
    cuts = [0, *(origin + halo for origin in origins[1:]), size]
    return [
        (slice(origin, min(origin + extent, size)), slice(start, stop))
        for origin, (start, stop) in zip(origins, pairwise(cuts), strict=True)
    ]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def choose_windows(
    height: int, width: int, halo: int, stride: int, bytes_per_pixel: float, budget: float
) -> tuple[int, int]:
    """Extents down and across that cost least, of those that `budget` bytes allow.

    Args:
        height, width: of the image, in pixels.
        halo: pixels on each side.
        stride: of the generator.
        bytes_per_pixel: what the network holds at its peak for one input pixel.
        budget: bytes that one window may take; the smallest one is taken whatever it needs.
    """
    halo = _round_up(halo, stride)
    # A core no wider than its halos would cost more than four evaluations a pixel.
    smallest = _round_up(max(SMALLEST, 4 * halo + stride), stride)
    down, computed_down = _choices(height, halo, stride, smallest)
    across, computed_across = _choices(width, halo, stride, smallest)
    area = np.multiply.outer(down, across)
    computed = np.multiply.outer(computed_down, computed_across)
    fits = area <= max(budget / max(bytes_per_pixel, 1.0), float(area.min()))
    least = float(computed[fits].min())
    good = fits & (computed <= (1 + SPARED) * least)
    row, col = np.unravel_index(np.where(good, area, np.inf).argmin(), area.shape)
    return int(down[row]), int(across[col])


def _choices(
    size: int, halo: int, stride: int, smallest: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Extents for one window along an axis, for two, and so on, and the pixels computed in all."""
    extents, computed = [float(size)], [float(size)]
    most = max(1, (size - 2 * halo) // max(1, smallest - 2 * halo) + 1)
    for count in range(2, most + 1):
        extent = _round_up(ceil((size - 2 * halo) / count), stride) + 2 * halo
        if extent >= extents[-1]:
            continue
        windows = _axis(size, max(extent, smallest), halo, stride)
        extents.append(float(max(extent, smallest)))
        computed.append(float(sum(seen.stop - seen.start for seen, _ in windows)))
        if extent <= smallest:
            break
    return np.array(extents), np.array(computed)


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Consecutive windows of one row and one shape, at most `size` at a time."""
    group: list[Window] = []
    for window in windows:
        same = group and (window.row, window.shape) == (group[0].row, group[0].shape)
        if group and (not same or len(group) == size):
            yield group
            group = []
        group.append(window)
    if group:
        yield group
