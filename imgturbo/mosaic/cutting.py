"""Which windows of an image hold what cut-outs round positions depend on.

A cut-out is n × n pixels of the output, its middle within half a pixel of its position. What it
depends on is a window of the input with a halo h ≥ r round a core, origins multiples of the stride,
as in :mod:`imgturbo.mosaic.windows`, so that a cut-out is that part of the translated whole. All
windows have one extent (but for a remainder at the far edges),

    E = L + 2h,        L = ⌈n / zoom⌉ + s, rounded up to s, or as much as a window may hold,

so they go through the network in stacks, wherever the positions are. A window begins on the
stride's grid and belongs to every cut-out that it covers: positions beside each other share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from imgturbo.mosaic.windows import Window

__all__ = ["Axis", "Cutout", "cover", "cut"]

Extent = tuple[slice, slice]
"""What is read along an axis, and what of it is answered for."""


@dataclass(eq=False)
class Cutout:
    """A square of the output round a position.

    Attributes:
        number: of the position in its table, from 0.
        rows, cols: of the output; they may reach beyond the image.
        size: (H, W) of the output.
        windows: numbers of those that it is made of, when they are known.
    """

    number: int
    rows: slice
    cols: slice
    size: tuple[int, int]
    windows: list[int] = field(default_factory=list)

    @property
    def inside(self) -> tuple[slice, slice]:
        """The part of it that lies in the image."""
        rows, cols = (
            slice(max(0, part.start), min(length, part.stop))
            for part, length in zip((self.rows, self.cols), self.size, strict=True)
        )
        return rows, cols

    @property
    def is_off(self) -> bool:
        """Whether no pixel of it lies in the image."""
        return any(part.start >= part.stop for part in self.inside)

    @property
    def is_whole(self) -> bool:
        """Whether all of it lies in the image."""
        return self.inside == (self.rows, self.cols)

    def place(self, rows: slice, cols: slice) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Of a block of the output: what lies in the cut-out, in the block and in the cut-out."""
        block, own = [], []
        for part, mine, whole in zip(
            (rows, cols), self.inside, (self.rows, self.cols), strict=True
        ):
            first, last = max(part.start, mine.start), min(part.stop, mine.stop)
            last = max(first, last)
            block.append(slice(first - part.start, last - part.start))
            own.append(slice(first - whole.start, last - whole.start))
        return (block[0], block[1]), (own[0], own[1])


def cut(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], side: int, size: tuple[int, int]
) -> list[Cutout]:
    """A cut-out of ``side`` pixels round each place (x, y) of the output that is a number."""
    found = []
    for number, place in enumerate(zip(y, x, strict=True)):
        if np.isfinite(place).all():
            first = [floor(middle + 1 - side / 2) for middle in place]
            rows, cols = (slice(start, start + side) for start in first)
            found.append(Cutout(number, rows, cols, size))
    return found


@dataclass(frozen=True)
class Axis:
    """Windows along one axis of the input.

    Args:
        length: of the input.
        side: of a cut-out, in pixels of the output.
        halo: pixels that a core needs on each side, unless the image ends there.
        stride: of the network.
        most: the largest extent of a window.
        zoom: pixels of the output across one of the input.
    """

    length: int
    side: int
    halo: int
    stride: int
    most: int
    zoom: Fraction

    @property
    def core(self) -> int:
        """L, of a window that does not touch the image's ends."""
        wanted = ceil(self.side / self.zoom) + self.stride
        room = max(1, (self.most - 2 * self._halo) // self.stride)
        return min(-(-wanted // self.stride), room) * self.stride

    @property
    def _halo(self) -> int:
        return -(-self.halo // self.stride) * self.stride

    def extents(self, first: int, last: int) -> Iterator[Extent]:
        """Windows that cover the output's pixels from ``first`` to before ``last``."""
        extent = self.core + 2 * self._halo
        if extent >= self.length:
            yield slice(0, self.length), slice(0, self.length)
            return
        end = -(-(self.length - extent) // self.stride) * self.stride
        start = floor(first / self.zoom) // self.stride * self.stride
        stop = min(self.length, ceil(last / self.zoom))
        while start < stop:
            origin = min(max(0, start - self._halo), end)
            seen = slice(origin, min(origin + extent, self.length))
            core = slice(
                0 if origin == 0 else origin + self._halo,
                self.length if seen.stop == self.length else seen.stop - self._halo,
            )
            yield seen, core
            start = core.stop


def cover(cutouts: Sequence[Cutout], rows: Axis, cols: Axis) -> list[Window]:
    """The windows that cut-outs are made of, each once, equal ones together, from the top down.

    Each cut-out is told which are its own.
    """
    wanted: dict[tuple[int, int], tuple[Window, list[Cutout]]] = {}
    for cutout in cutouts:
        inside = cutout.inside
        for y, core_rows in rows.extents(inside[0].start, inside[0].stop):
            for x, core_cols in cols.extents(inside[1].start, inside[1].stop):
                window = Window(0, 0, y, x, core_rows, core_cols)
                wanted.setdefault(window.origin, (window, []))[1].append(cutout)
    found = sorted(wanted.values(), key=lambda one: (one[0].shape, one[0].origin))
    for number, (_, owners) in enumerate(found):
        for cutout in owners:
            cutout.windows.append(number)
    return [window for window, _ in found]
