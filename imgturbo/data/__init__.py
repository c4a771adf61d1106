"""Tiles: what training reads. A store of stretched tiles, and the batches made from it.

The names load on first use: ``TileStore`` needs zarr and numpy only, ``Batch`` and ``TileLoader``
need torch, and the preparation of data (which uses the store) must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch
    from imgturbo.data.loader import TileLoader, validation_batches
    from imgturbo.data.store import Split, Tiles, TileSpec, TileStore, TileWriter

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
    "Batch": "imgturbo.data.batch",
    "Split": "imgturbo.data.store",
    "TileLoader": "imgturbo.data.loader",
    "TileSpec": "imgturbo.data.store",
    "TileStore": "imgturbo.data.store",
    "TileWriter": "imgturbo.data.store",
    "Tiles": "imgturbo.data.store",
    "validation_batches": "imgturbo.data.loader",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
