"""Tiles: what training reads. A store of stretched tiles, and the batches made from it.

The names load on first use: ``TileStore`` needs zarr and numpy only, ``Batch`` and ``TileLoader``
need torch, and the preparation of data (which uses the store) must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgturbo.tiles.batch import Batch
    from imgturbo.tiles.loader import TileLoader, validation_batches
    from imgturbo.tiles.store import Split, Tiles, TileSpec, TileStore, TileWriter

__all__ = [
    "Batch",
    "Split",
    "TileLoader",
    "TileSpec",
    "TileStore",
    "TileWriter",
    "Tiles",
    "validation_batches",
]

_HOME = {
    "Batch": "imgturbo.tiles.batch",
    "Split": "imgturbo.tiles.store",
    "TileLoader": "imgturbo.tiles.loader",
    "TileSpec": "imgturbo.tiles.store",
    "TileStore": "imgturbo.tiles.store",
    "TileWriter": "imgturbo.tiles.store",
    "Tiles": "imgturbo.tiles.store",
    "validation_batches": "imgturbo.tiles.loader",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
