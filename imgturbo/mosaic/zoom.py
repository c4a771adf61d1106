"""From the pixels that a network reads to those that it writes, where these are finer or coarser.

With zoom s an output has s pixels across one of the input; both grids begin at the same place. What
is true of a pixel is true of all that lie in it, and of one that it lies in if it is true of all
the others there too: so holes grow to whole coarse pixels, and flags are never lost.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["flags_on", "mask_on"]


def mask_on(valid: npt.NDArray[np.bool_], zoom: Fraction) -> npt.NDArray[np.bool_]:
    """Where all of an output pixel was measured, given where the input (h, w) was."""
    return ~_any_in(~valid, zoom).astype(bool)


def flags_on(flags: npt.NDArray[np.uint8], zoom: Fraction) -> npt.NDArray[np.uint8]:
    """The flags (h, w) of the input's pixels on those of the output."""
    return _any_in(flags, zoom)


def _any_in(bits: npt.NDArray[Any], zoom: Fraction) -> npt.NDArray[Any]:
    """The bits that any pixel of the input has that an output pixel lies in or holds."""
    if zoom == 1:
        return bits
    bits = bits.repeat(zoom.numerator, 0).repeat(zoom.numerator, 1)
    coarse = zoom.denominator
    for axis in (0, 1):
        bits = np.bitwise_or.reduceat(bits, np.arange(0, bits.shape[axis], coarse), axis)
    return bits
