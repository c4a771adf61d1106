"""Where tiles lie, and what is in them.

A tile at (y, x) is the window [y, y + T) × [x, x + T) of a field's grid. Tiles are laid every
``stride`` pixels from the first pixel of each rectangle of the division (:mod:`data_prep.split`).
A tile is kept where the measured part of it, on every side that the field has, is at least
``min_valid``; a training tile, moreover, only where it touches no pixel of the exclusion. One that
reaches into the guard about the validation sky is slid out of it, by as little as will do and no
further than the guard is wide, so that the guard costs its own sky and not a row of tiles.

Counts over windows come from a summed-area table (Crow 1984): S(y, x) = Σ_{i<y, j<x} m(i, j), so
that any window costs four look-ups whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

    def where(self, keep: Callable[[NDArray[np.int32]], NDArray[np.bool_]]) -> Windows:
        """Those tiles of both kinds that ``keep`` says True of, from their positions (n, 2)."""
        return Windows(*(p[keep(p)] for p in (self.train, self.validation)))

    def __len__(self) -> int:
        return len(self.train) + len(self.validation)


def lay_tiles(
    valids: Sequence[NDArray[np.bool_]],
    areas: Areas,
    excluded: NDArray[np.bool_],
    config: TileConfig,
    guard: int = 0,
    step: int = 1,
) -> Windows:
    """Choose the tiles of a field.

    Args:
        valids: masks (H, W) of the sides that the field has.
        areas: rectangles of training and of validation.
        excluded: (H, W), True where no training tile may reach.
        config: size, stride and least valid fraction.
        guard: pixels by which a training tile may be slid away from the exclusion.
        step: tiles begin at multiples of so many pixels, those of the coarser side.
    """
    size = config.size
    train = _positions(areas.train, config, step)
    train = _slid(train, excluded, areas.train, size, guard, step)
    chosen = {"train": train, "validation": _positions(areas.validation, config, step)}
    least = config.min_valid * size * size - 1e-6  # a product of decimals is never exact
    for name, positions in chosen.items():
        for valid in valids:
            positions = positions[window_counts(valid, positions, size) >= least]
        chosen[name] = positions
    return Windows(**chosen)


def _positions(rects: Sequence[Rect], config: TileConfig, step: int) -> NDArray[np.int32]:
    """Corners of all tiles that lie within one of the rectangles, each tile once."""
    stride = config.stride or config.size
    found = [np.empty((0, 2), np.int32)]
    for rect in rects:
        top, left = (-(-first // step) * step for first in (rect.y0, rect.x0))
        y = np.arange(top, rect.y1 - config.size + 1, stride, dtype=np.int32)
        x = np.arange(left, rect.x1 - config.size + 1, stride, dtype=np.int32)
        found.append(np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2))
    return np.unique(np.concatenate(found), axis=0)


def _slid(
    positions: NDArray[np.int32],
    excluded: NDArray[np.bool_],
    rects: Sequence[Rect],
    size: int,
    guard: int,
    step: int,
) -> NDArray[np.int32]:
    """The tiles that touch no excluded pixel, the others moved a little where that frees them."""
    table = _summed(excluded)
    clear = _counts(table, positions, size) == 0
    chosen, blocked = [positions[clear]], positions[~clear]
    ways = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    ways.sort(key=lambda way: abs(way[0]) + abs(way[1]))
    for distance in range(step, guard + 1, step):
        for way in ways:
            moved = blocked + np.array(way, np.int32) * distance
            free = np.zeros(len(moved), bool)
            for rect in rects:
                y, x = moved.T
                free |= (
                    (y >= rect.y0)
                    & (y + size <= rect.y1)
                    & ((x >= rect.x0) & (x + size <= rect.x1))
                )
            free[free] = _counts(table, moved[free], size) == 0
            chosen.append(moved[free])
            blocked = blocked[~free]
        if not len(blocked):
            break
    return np.unique(np.concatenate(chosen), axis=0)


def window_counts(
    mask: NDArray[np.bool_], positions: NDArray[np.int32], size: int
) -> NDArray[np.int64]:
    """How many pixels of each window of ``size`` × ``size`` are True, (n,)."""
    return _counts(_summed(mask), positions, size)


def _summed(mask: NDArray[np.bool_]) -> NDArray[Any]:
    height, width = mask.shape
    # 32 bits hold any count up to 46 000 × 46 000 pixels, and halve the memory.
    table = np.zeros((height + 1, width + 1), np.int32 if mask.size < 2**31 else np.int64)
    np.cumsum(mask, axis=0, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def _counts(table: NDArray[Any], positions: NDArray[np.int32], size: int) -> NDArray[np.int64]:
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
