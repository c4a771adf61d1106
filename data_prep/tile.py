"""Where tiles lie, and what is in them.

A tile at (y, x) is the window [y, y + T) × [x, x + T) of a field's grid. Tiles are laid every
``stride`` pixels from the first pixel of each rectangle of the division (:mod:`data_prep.split`).
A tile is kept where the measured part of it, on every side that the field has, is at least
``min_valid``; a training tile, moreover, only where it touches no pixel of the exclusion.

Counts over windows come from a summed-area table (Crow 1984): S(y, x) = Σ_{i<y, j<x} m(i, j), so
that any window costs four look-ups whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.split import Areas, Rect
from imgturbo.config import TileConfig
from imgturbo.sky.stretch import Stretch

__all__ = ["Windows", "cut", "lay_tiles", "window_counts"]


@dataclass(frozen=True)
class Windows:
    """First pixels (n, 2) of the tiles of a field, y then x."""

    train: NDArray[np.int32]
    validation: NDArray[np.int32]


def lay_tiles(
    valids: Sequence[NDArray[np.bool_]],
    areas: Areas,
    excluded: NDArray[np.bool_],
    config: TileConfig,
) -> Windows:
    """Choose the tiles of a field.

    Args:
        valids: masks (H, W) of the sides that the field has.
        areas: rectangles of training and of validation.
        excluded: (H, W), True where no training tile may reach.
        config: size, stride and least valid fraction.
    """
    size = config.size
    train = _positions(areas.train, config)
    train = train[window_counts(excluded, train, size) == 0]
    chosen = {"train": train, "validation": _positions(areas.validation, config)}
    least = config.min_valid * size * size - 1e-6  # a product of decimals is never exact
    for name, positions in chosen.items():
        for valid in valids:
            positions = positions[window_counts(valid, positions, size) >= least]
        chosen[name] = positions
    return Windows(**chosen)


def _positions(rects: Sequence[Rect], config: TileConfig) -> NDArray[np.int32]:
    """Corners of all tiles that lie within one of the rectangles, each tile once."""
    step = config.stride or config.size
    found = [np.empty((0, 2), np.int32)]
    for rect in rects:
        y = np.arange(rect.y0, rect.y1 - config.size + 1, step, dtype=np.int32)
        x = np.arange(rect.x0, rect.x1 - config.size + 1, step, dtype=np.int32)
        found.append(np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2))
    return np.unique(np.concatenate(found), axis=0)


def window_counts(
    mask: NDArray[np.bool_], positions: NDArray[np.int32], size: int
) -> NDArray[np.int64]:
    """How many pixels of each window of ``size`` × ``size`` are True, (n,)."""
    height, width = mask.shape
    # 32 bits hold any count up to 46 000 × 46 000 pixels, and halve the memory.
    table = np.zeros((height + 1, width + 1), np.int32 if mask.size < 2**31 else np.int64)
    np.cumsum(mask, axis=0, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    y, x = positions[:, 0], positions[:, 1]
    count = table[y + size, x + size] - table[y, x + size] - table[y + size, x] + table[y, x]
    return count.astype(np.int64)


def cut(
    data: NDArray[np.float32],
    valid: NDArray[np.bool_],
    positions: NDArray[np.int32],
    size: int,
    stretch: Stretch,
    batch: int = 128,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Tiles of one side, stretched, a batch at a time.

    Args:
        data: fluxes (C, H, W), NaN where not measured; may be a memory map.
        valid: (H, W).
        positions: first pixels (n, 2).
        size: side of a tile.
        stretch: of this side.
        batch: tiles at a time.

    Yields:
        tiles (b, C, T, T) float32, 0 where not valid, and masks (b, T, T).
    """
    windows = np.lib.stride_tricks.sliding_window_view(data, (size, size), axis=(1, 2))
    masks = np.lib.stride_tricks.sliding_window_view(valid, (size, size))
    for first in range(0, len(positions), batch):
        y, x = positions[first : first + batch].T
        mask = np.array(masks[y, x])
        tiles = np.where(mask, stretch(windows[:, y, x]), 0)  # (C, b, T, T)
        yield np.ascontiguousarray(np.moveaxis(tiles, 0, 1), np.float32), mask
