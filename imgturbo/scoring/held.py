"""Arrays of a large field: kept in a file rather than in the memory, and gone through by pieces.

An array of more than 64 MB lies in a scratch file without a name, in the folder for temporary files
(TMPDIR). The system brings in the pages that are touched, and :func:`forget` lets go of them; an
array of less is an ordinary one. :func:`pieces` cuts an image into parts of at most 1536 pixels a
side, each with its surroundings, so that what looks at a neighbourhood sees it whole. An image no
larger than that is one piece. Pieces begin at multiples of 192 pixels, which hold whole boxes of 48
and of 64, so that a background by boxes has the same boxes in a piece as in the whole.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError

__all__ = ["HALO", "Piece", "at_places", "forget", "held", "pieces", "sampled", "strips"]

Array = NDArray[np.float64]
Window = tuple[slice, slice]

HALO = 192
"""Pixels around a piece that a background by boxes wants: three boxes of 64, four of 48."""

_LARGE = 1 << 26  # bytes of an array that goes into a file
_SIDE = 1536  # pixels of a piece, at most
_STRIP = 1 << 21  # pixels of a strip of rows
_SAMPLE = 1 << 22  # pixels of which a level or a noise is measured
_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def held(shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """An array of zeros; a large one lies in a scratch file, which goes with it.

    Raises:
        ImgturboError: the folder for temporary files has no room.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _LARGE:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="imgturbo-") as file:
        try:
            _make_room(file.fileno(), size)
        except OSError as error:
            raise ImgturboError(
                f"{tempfile.gettempdir()}: no room for {size / 1e9:.1f} GB of scratch "
                f"({error.strerror}); set TMPDIR to a folder that has it"
            ) from None
        pages = mmap.mmap(file.fileno(), size)
    _maps.add(pages)
    return np.frombuffer(pages, dtype).reshape(shape)


def _make_room(number: int, size: int) -> None:
    """A full disk shows here, as an error; where it is written to later, it would be a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(number, 0, size)
    else:
        os.ftruncate(number, size)


def forget() -> None:
    """Let go of the memory that holds pages of scratch files; what is in them stays in them."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for pages in list(_maps):
            pages.madvise(mmap.MADV_DONTNEED)


class Piece(NamedTuple):
    """A part of an image.

    Attributes:
        core: its pixels, which are of no other piece.
        wide: those and their surroundings, as far as the image goes.
        inner: the core within ``wide``.
    """

    core: Window
    wide: Window
    inner: Window


def pieces(shape: tuple[int, ...], halo: int = 0) -> Iterator[Piece]:
    """The pieces of an image (H, W), each with ``halo`` pixels about it.

    Example:
        >>> [piece.core[1] for piece in pieces((100, 2000), 8)]
        [slice(0, 1152, None), slice(1152, 2000, None)]
    """
    for rows in _parts(shape[0]):
        for cols in _parts(shape[1]):
            core = rows, cols
            wide = tuple(
                slice(max(0, part.start - halo), min(side, part.stop + halo))
                for part, side in zip(core, shape, strict=True)
            )
            inner = tuple(
                slice(part.start - about.start, part.stop - about.start)
                for part, about in zip(core, wide, strict=True)
            )
            yield Piece(core, (wide[0], wide[1]), (inner[0], inner[1]))
            forget()


def _parts(side: int) -> list[slice]:
    number = max(1, math.ceil(side / _SIDE))
    step = side if number == 1 else math.ceil(side / number / HALO) * HALO
    return [slice(first, min(side, first + step)) for first in range(0, side, max(1, step))]


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image (H, W), some million pixels at a time."""
    tall = max(1, _STRIP // max(1, shape[1]))
    for top in range(0, max(1, shape[0]), tall):
        yield slice(top, min(shape[0], top + tall))
        forget()


def sampled(data: NDArray[Any], valid: NDArray[np.bool_]) -> Array:
    """Valid pixels (C, n) of an image (C, H, W), evenly thinned to some four million."""
    step = max(1, valid.size // _SAMPLE)
    while math.gcd(step, valid.shape[1]) > 1 and step > 1:  # else whole columns would be left out
        step += 1
    known = valid.reshape(-1)[::step]
    found = np.stack([plane.reshape(-1)[::step][known] for plane in data]).astype(np.float64)
    forget()
    return found


def at_places(
    shape: tuple[int, ...],
    x: Array,
    y: Array,
    halo: int,
    measure: Callable[[Window, Array, Array], Array],
) -> Array:
    """What is measured of sources, a row each, (N, …), a piece of the image at a time.

    Args:
        shape: (H, W).
        x, y: places (N,).
        halo: pixels about a source that the measurement looks at.
        measure: of a window of the image, and of the places within it of the sources there.
    """
    col, row = (
        np.clip(np.rint(of), 0, side - 1) for of, side in zip((x, y), shape[::-1], strict=True)
    )
    out: Array | None = None
    for piece in pieces(shape, halo):
        rows, cols = piece.core
        here = (row >= rows.start) & (row < rows.stop) & (col >= cols.start) & (col < cols.stop)
        chosen = np.flatnonzero(here)
        if out is not None and not chosen.size:
            continue
        top, left = piece.wide[0].start, piece.wide[1].start
        found = np.asarray(measure(piece.wide, x[chosen] - left, y[chosen] - top))
        if out is None:
            out = np.full((len(x), *found.shape[1:]), np.nan)
        out[chosen] = found
    assert out is not None  # an image has a pixel
    return out
