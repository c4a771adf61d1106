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

__all__ = ["affine_colour", "affine_map", "identity"]

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
    a, b = (of.astype(np.float32) for of in affine_map(source, target, valid))
    return np.tensordot(a, source, axes=1) + b[:, None, None]


def affine_map(
    source: NDArray[np.floating], target: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A (C_t, C_s) and b (C_t,) of the module's page; arguments as of :func:`affine_colour`."""
    ones = len(source) + 1
    gram, moment = np.zeros((ones, ones)), np.zeros((ones, len(target)))
    tall = max(1, _BLOCK // max(1, valid.shape[1]))
    for top in range(0, len(valid), tall):
        rows = slice(top, top + tall)
        known = valid[rows]
        s, t = (image[:, rows][:, known].astype(np.float64) for image in (source, target))
        design = np.concatenate([s, np.ones_like(s[:1])])
        gram += design @ design.T
        moment += design @ t.T
    # Least squares, not an inverse: a constant band makes the Gram matrix singular.
    coefficients: NDArray[Any] = np.linalg.lstsq(gram, moment, rcond=1e-12)[0]
    return coefficients[:-1].T, coefficients[-1]
