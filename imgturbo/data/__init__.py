"""What training reads: a store of stretched tiles, a prior or a simulator, and their batches.

The names (see ``__init__.pyi``) load on first use: ``TileStore`` needs zarr and numpy only,
``Batch`` and the sources need torch, and the preparation of data (which uses the store) must not
load torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
