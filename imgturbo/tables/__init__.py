"""Tables of numbers: rows with named columns and units, read, written, and sent through a bundle.

    with open_table("events.csv") as table:                CSV, TSV, ECSV, FITS tables, HDF5
        for block in table.blocks(["E", "pt"]):            bounded blocks of rows, never all of them
            block.numbers                                  (n, 2) float64, NaN where there is none

Names load on first use, so that whoever reads a table needs no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
