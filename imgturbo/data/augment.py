"""The symmetries of the sky: the dihedral group D4 acting on tiles.

A sky has no preferred up or handedness, so the eight elements t^a r^k (a transposition or none,
then k quarter turns) are all equally likely views of it; ``flips`` is the subgroup {e, r², h, v}
for detectors whose x and y differ, and ``mirror``, {e, h}, is that of photographs, which have an up
and no handedness. Every array of one sample moves by the same element, masks
included, without interpolation.

The group's action is albumentations' (Buslaev et al. 2020, arXiv:1809.06839) on arrays of any
dtype and channel count. Each element is reached through its transposition and quarter turns: its
OpenCV flips take neither bool arrays nor arbitrary numbers of channels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["SYMMETRIES", "apply_symmetry"]

SYMMETRIES: dict[Literal["none", "mirror", "flips", "d4"], tuple[tuple[bool, int], ...]] = {
    "none": ((False, 0),),
    "mirror": ((False, 0), (True, 3)),
    "flips": ((False, 0), (False, 2), (True, 1), (True, 3)),
    "d4": tuple((transpose, turns) for transpose in (False, True) for turns in range(4)),
}
"""Elements of each group as (transposed first, then quarter turns)."""

_TURNS = ("e", "r90", "r180", "r270")


@cache
def _geometry() -> Any:
    """albumentations' functional geometry, kept from asking the network for its newest version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from albumentations.augmentations.geometric import functional

    return functional


def apply_symmetry(arrays: Sequence[NDArray[Any]], element: tuple[bool, int]) -> list[NDArray[Any]]:
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
