from .batch import Batch
from .loader import TileLoader, validation_batches
from .store import Split, Tiles, TileSpec, TileStore, TileWriter

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
