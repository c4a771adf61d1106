"""What a tile store is made of: its columns, what it says of itself, and rows in memory.

Layout, for images with tiles of T pixels, under ``train/`` and ``validation/``::

    source        (N, C, T, T)  float32     target        (N, C', T, T)  float32
    source_valid  (N, T, T)     bool        target_valid  (N, T, T)      bool
    has_source    (N,)          bool        has_target    (N,)           bool
    paired        (N,)          bool        field         (N,)  int32, index into attrs["fields"]
    sky           (N, 2)        float64     ra, dec in degrees (pixel x, y without a WCS)
    position      (N, 2)        int32       y, x of the first pixel in the field's grid
    residual      (N,)          float32     registration residual in pixels, NaN where unknown

A table of numbers is the same without the T axes: source (N, C), source_valid (N,). Its fields are
files, and a row's position is (number of the row in its file, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgturbo.side import Side

__all__ = ["DTYPES", "HEAVY", "SPLITS", "SplitName", "TileSpec", "Tiles"]

SplitName = Literal["train", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "validation")


@dataclass(frozen=True)
class TileSpec:
    """What a store holds, before any tile is written.

    Attributes:
        tile: side of a tile in pixels; None for a table of numbers.
        source, target: what the two sides are; None for a store without that side.
        fields: names of the patches of sky that the rows' ``field`` points into.
        recipe: everything needed to make the same store again; must be JSON.
    """

    tile: int | None
    source: Side | None
    target: Side | None
    fields: tuple[str, ...]
    recipe: dict[str, Any]

    def shape(self, side: str) -> tuple[int, ...]:
        """Shape of one row of an array, ``(C, T, T)`` for ``source`` and ``target``."""
        spatial = () if self.tile is None else (self.tile, self.tile)
        if side in ("source", "target"):
            description: Side | None = getattr(self, side)
            return (len(description) if description else 0, *spatial)
        if side in ("source_valid", "target_valid"):
            return spatial
        return (2,) if side in ("sky", "position") else ()


@dataclass(frozen=True)
class Tiles:
    """Some rows in memory, to be written; a side left None is absent from all of them."""

    source: NDArray[np.float32] | None
    target: NDArray[np.float32] | None
    source_valid: NDArray[np.bool_] | None
    target_valid: NDArray[np.bool_] | None
    sky: NDArray[np.float64]
    position: NDArray[np.int32]
    residual: NDArray[np.float32]
    field: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.field)

    def columns(self) -> dict[str, NDArray[Any] | None]:
        """Every array of the layout by name; None for what an absent side leaves empty."""
        columns: dict[str, NDArray[Any] | None] = {
            f.name: getattr(self, f.name) for f in fields(self)
        }
        n = len(self)
        columns["has_source"] = np.full(n, self.source is not None)
        columns["has_target"] = np.full(n, self.target is not None)
        columns["paired"] = np.full(n, self.source is not None and self.target is not None)
        return columns


DTYPES = {
    "source": "float32",
    "target": "float32",
    "source_valid": "bool",
    "target_valid": "bool",
    "has_source": "bool",
    "has_target": "bool",
    "paired": "bool",
    "sky": "float64",
    "position": "int32",
    "residual": "float32",
    "field": "int32",
}
HEAVY = ("source", "target", "source_valid", "target_valid")
"""Columns that are read by rows; the others are small."""
