"""What training reads: a store of stretched tiles, a prior or a simulator, and their batches.

The names load on first use: ``TileStore`` needs zarr and numpy only, ``Batch`` and the sources
need torch, and the preparation of data (which uses the store) must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch
    from imgturbo.data.choice import open_source
    from imgturbo.data.loader import StoreSource, validation_batches
    from imgturbo.data.online import SimulatorSource
    from imgturbo.data.prior import PriorSource
    from imgturbo.data.source import Source
    from imgturbo.data.store import Split, Tiles, TileSpec, TileStore, TileWriter

__all__ = [
    "Batch",
    "PriorSource",
    "SimulatorSource",
    "Source",
    "Split",
    "StoreSource",
    "TileSpec",
    "TileStore",
    "TileWriter",
    "Tiles",
    "open_source",
    "validation_batches",
]

_HOME = {
    "Batch": "imgturbo.data.batch",
    "PriorSource": "imgturbo.data.prior",
    "SimulatorSource": "imgturbo.data.online",
    "Source": "imgturbo.data.source",
    "Split": "imgturbo.data.store",
    "StoreSource": "imgturbo.data.loader",
    "TileSpec": "imgturbo.data.store",
    "TileStore": "imgturbo.data.store",
    "TileWriter": "imgturbo.data.store",
    "Tiles": "imgturbo.data.store",
    "open_source": "imgturbo.data.choice",
    "validation_batches": "imgturbo.data.loader",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
