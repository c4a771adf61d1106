"""What a translator must beat: the input as it is, and the best affine colour map of it.

Both work on stretched images (C, H, W), valid pixels only. The affine map

    t ≈ A s + b,   A (C_t, C_s), b (C_t,)

is the least-squares optimum *on the very image that is scored*, hence an upper bound of what any
fixed recolouring could reach: beating it means that structure was translated, not only colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["affine_colour", "identity"]

_BLOCK = 1 << 20  # pixels a block of the normal equations


def identity(source: NDArray[Any], channels: int) -> NDArray[Any]:
    """The input as it is, (channels, H, W).

    Where the counts differ each output takes the input band at the same relative place in the
    order of bands (first to first, last to last), bands being listed blue to red by custom.
    """
    given = len(source)
    if given == channels:
        return source
    nearest = np.round(np.linspace(0, given - 1, channels)).astype(int)
    return source[nearest]


def affine_colour(
    source: NDArray[np.float32], target: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Best affine colour map of ``source`` (C_s, H, W) onto ``target`` (C_t, H, W)."""
    s, t = source[:, valid], target[:, valid]
    ones = len(source) + 1
    gram, moment = np.zeros((ones, ones)), np.zeros((ones, len(target)))
    for first in range(0, s.shape[1], _BLOCK):
        block = s[:, first : first + _BLOCK].astype(np.float64)
        design = np.concatenate([block, np.ones_like(block[:1])])
        gram += design @ design.T
        moment += design @ t[:, first : first + _BLOCK].T.astype(np.float64)
    # Least squares, not an inverse: a constant band makes the Gram matrix singular.
    coefficients = np.linalg.lstsq(gram, moment, rcond=1e-12)[0].astype(np.float32)
    a, b = coefficients[:-1].T, coefficients[-1]
    return np.tensordot(a, source, axes=1) + b[:, None, None]
