from .batch import Batch
from .choice import open_source
from .loader import StoreSource, validation_batches
from .observed import ObservationSource
from .online import SimulatorSource
from .prior import PriorSource
from .source import Source
from .store import Split, Tiles, TileSpec, TileStore, TileWriter

__all__ = [
    "Batch",
    "ObservationSource",
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
