"""The symmetries of the sky acting on tiles.

Every array of one sample moves by the same element of the group (``imgturbo.symmetries``), masks
included, without interpolation.

The group's action is albumentations' (Buslaev et al. 2020, arXiv:1809.06839) on arrays of any
dtype and channel count. Each element is reached through its transposition and quarter turns: its
OpenCV flips take neither bool arrays nor arbitrary numbers of channels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.symmetries import Element

__all__ = ["apply_symmetry"]

_TURNS = ("e", "r90", "r180", "r270")


@cache
def _geometry() -> Any:
    """albumentations' functional geometry, kept from asking the network for its newest version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from albumentations.augmentations.geometric import functional

    return functional


def apply_symmetry(arrays: Sequence[NDArray[Any]], element: Element) -> list[NDArray[Any]]:
    """Move arrays (..., T, T) by one element of the group; returns views where possible."""
    transposed, turns = element
    moved = []
    for array in arrays:
        last = np.moveaxis(array, (-2, -1), (0, 1))  # albumentations: rows, columns, channels
        if transposed:
            last = _geometry().d4(last, "t")
        last = _geometry().d4(last, _TURNS[turns])
        moved.append(np.moveaxis(last, (0, 1), (-2, -1)))
    return moved
