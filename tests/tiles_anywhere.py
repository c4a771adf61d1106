"""Tiles of which only the pixels matter: where each lies, and how well, is nothing special."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.data import Tiles, TileWriter
from imgturbo.data.layout import SplitName


def anywhere(n: int) -> dict[str, Any]:
    """What a row of a tile store says besides its pixels and masks, of n tiles."""
    return {
        "sky": np.zeros((n, 2)),
        "position": np.zeros((n, 2), np.int32),
        "residual": np.zeros(n, np.float32),
        "field": np.zeros(n, np.int32),
    }


def append(
    writer: TileWriter,
    split: SplitName,
    z: NDArray[np.float32],
    x: NDArray[np.float32],
    valid: NDArray[np.bool_],
    paired: bool,
    **rows: Any,
) -> None:
    """Tiles of both sides under one mask: pairs, or each side by itself; ``rows`` say more."""
    rows = anywhere(len(z)) | rows
    if paired:
        writer.append(split, Tiles(z, x, valid, valid, **rows))
    else:
        writer.append(split, Tiles(z, None, valid, None, **rows))
        writer.append(split, Tiles(None, x, None, valid, **rows))
